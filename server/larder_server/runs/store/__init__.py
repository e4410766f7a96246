"""Runs in SQL: each file speaks about its own tables, in the transaction of the context."""
