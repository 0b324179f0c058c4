"""Weights on disk: safetensors, several files, model cards, and where two states differ."""
