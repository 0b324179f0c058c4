"""Captioners: a file each."""
