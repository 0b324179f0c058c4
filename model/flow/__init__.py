"""Rectified flow: the path, conditions, guidance and the sampler."""
