"""What a process that decodes files of strangers may reach: its own file, its own folder, libraries, and
nothing else."""
