"""The trainer: Ray Train starts the workers, DeepSpeed shards the optimiser, and everything else is a
function of the step number."""
