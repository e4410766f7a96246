"""Queues: ordered lists of waiting jobs, given out by lease. They do not know what a job is about."""
