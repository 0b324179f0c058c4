"""Text encoders: text → token embeddings, by name."""
