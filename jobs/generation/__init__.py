"""From a trained checkpoint and a sentence to a video file."""
