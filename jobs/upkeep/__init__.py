"""What `rushes verify` and `rushes clean` are made of: what a manifest names, what lies there, and where the
two differ."""
