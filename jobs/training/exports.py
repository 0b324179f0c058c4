"""Names of files in a training run's folder, and of the perceptual distances. Light."""

METRICS = "metrics.jsonl"
EXPORT = "export"
PIPELINE = "pipeline.json"
LORA = "lora"
SETTINGS = "settings.json"
UNREAD = "unread.json"

PERCEPTUAL = ("efficientnet", "lpips")
