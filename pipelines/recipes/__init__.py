"""Scores → kept or rejected, by rules in YAML."""
