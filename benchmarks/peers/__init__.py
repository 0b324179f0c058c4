"""Other systems at the same work: NeMo Curator, diffusers."""
