"""Comparisons: runs side by side, what differs between them, and why one may be better. It has no tables."""
