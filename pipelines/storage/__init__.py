"""Named immutable objects in a folder or in S3, and tables as parquet."""
