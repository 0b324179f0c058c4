"""Measurements of a clip → its scores; each file here is one family of scores."""
