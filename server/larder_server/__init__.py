"""The server of Larder: one process over a database and an object store."""
