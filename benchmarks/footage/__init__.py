"""Footage whose truth is known by construction, and footage that is broken on purpose."""
