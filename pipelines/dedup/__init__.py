"""Which clips are copies of which: what a clip looks like, who may be alike, who is."""
