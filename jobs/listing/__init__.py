"""What `rushes inspect`, `rushes clips`, `rushes passport` and `rushes export` find in a dataset, and how
they show it.

All of it reads the newest manifest and its tables: no footage, no Ray, no models.
"""
