"""`python -m larder.cli` is `larder`."""

from larder.cli import main

main()
