"""Experiments in YAML, a folder per job."""
