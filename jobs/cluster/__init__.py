"""Ray: a local one or a cluster that is there, rows through Ray Data, and what failed on a worker."""
