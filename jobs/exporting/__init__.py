"""What `rushes export` is made of: which files are to be, and the making of one."""
