"""Names of files in a training run's folder."""

METRICS = "metrics.jsonl"
EXPORT = "export"
PIPELINE = "pipeline.json"
