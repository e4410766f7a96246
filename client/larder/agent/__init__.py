"""The agent leases queued runs, brings back their code, executes them and reports; it never sees a database."""
