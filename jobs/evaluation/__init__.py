"""Evaluation of the video compression network."""
