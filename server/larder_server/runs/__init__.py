"""Runs: one execution of some code, or the draft of one, with its parameters, metrics, console and artifacts."""
