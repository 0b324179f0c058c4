"""A footage URI → its sources, local or in S3, and their files."""
