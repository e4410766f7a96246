"""The journal: the append-only file that is the only way from a process to the server, online, offline and after a crash."""
