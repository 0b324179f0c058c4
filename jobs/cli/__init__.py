"""The command line: what a user typed → a checked config, a run with its folder, and an exit code."""
