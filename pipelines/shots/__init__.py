"""Signals → shots → clips: what is seen in pictures (evidence, TransNetV2), and what is decided from it
(detectors)."""
