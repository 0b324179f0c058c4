"""The video compression network, its training, and published ones behind the same interface."""
