"""Data versions: named, immutable trees of files, deduplicated by content."""
