"""One decode of a video → all its measurements."""
