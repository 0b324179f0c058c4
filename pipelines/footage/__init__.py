"""What a user typed → sources, here or in S3, and their files."""
