"""What holds for runs, decided without database, network or files."""
