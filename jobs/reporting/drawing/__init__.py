"""What the sections of a report are drawn with: charts, thumbnails, videos."""
