"""The workflow: jobs as a graph with fingerprints."""
