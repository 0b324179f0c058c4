"""From a dataset to training batches: shapes, windows, and the planner that says what every step holds."""
