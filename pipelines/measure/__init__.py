"""One decode of a video → everything that is measured of it."""
