"""What a machine sees in one picture or two: ImageNet classes, colours, optical flow, camera motion."""
