"""A span of a source → the clip's mp4: its own packets where that works, encoded anew where it doesn't; and
clips as files."""
