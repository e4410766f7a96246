"""Revisions in order; each is final once released."""
