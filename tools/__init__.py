"""What works on the repository and is shipped to nobody: setup, import contracts, generated documents."""
