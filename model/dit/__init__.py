"""The diffusion transformer: tokens, attention, its network, and what it costs."""
