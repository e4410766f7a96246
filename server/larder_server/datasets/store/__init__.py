"""Datasets in SQL."""
