"""A dataset: its tables, manifests, shards, finished work and cached latents."""
