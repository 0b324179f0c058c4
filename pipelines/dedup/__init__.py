"""Duplicate detection: signatures of clips, candidate pairs, and the comparison of each pair."""
