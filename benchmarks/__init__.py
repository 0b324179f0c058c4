"""Measured comparisons: each module prints one table and writes `results/<name>.json`. Run one with `make
bench BENCH=<name>`."""
