"""Evaluation: distances of videos from their originals, retrieval, and how the video compression network does
on held-out clips."""
