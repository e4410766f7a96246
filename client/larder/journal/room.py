"""Whoever finds the disk full waits for room before anything is lost."""

import time
from collections.abc import Iterator
from pathlib import Path

from larder import guard

PATIENCE = 30.0
"""Seconds for which the end of a process, or an artifact, waits: neither can wait in memory as a record does."""


def tries(what: str, place: Path, *, patience: float | None = None) -> Iterator[bool]:
    """A turn for each try, with a pause between them; whether it is the last. Warns once of `what` waits."""
    seconds = PATIENCE if patience is None else patience
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield False
        guard.warn(what, f"waits up to {seconds:.0f} s for room on the disk, {place}")
        time.sleep(0.05)
    yield True
