"""Clip → text: captioners behind one small interface, looked up by name."""
