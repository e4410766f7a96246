"""Scripts that are measured in processes of their own; each prints one JSON line and imports nothing of `bench`."""
