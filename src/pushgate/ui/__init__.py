"""A page of all jobs: one file, or on loopback."""
