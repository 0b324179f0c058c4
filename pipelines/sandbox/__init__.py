"""Sandbox for decoding untrusted files: a process can access its input file, its output folder and libraries,
and nothing else."""
