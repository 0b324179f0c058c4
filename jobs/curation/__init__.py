"""What `rushes curate` and `rushes inspect` are made of: steps without Ray, the Ray graph, and the commit."""
