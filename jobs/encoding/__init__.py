"""Caching of latents and text embeddings."""
