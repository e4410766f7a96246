"""A dry run: some steps of a script, and then a clean end."""

import os
from collections.abc import Callable

STEPS = "LARDER_DRY_STEPS"
"""Environment: the number of distinct steps that a script may log."""


class DryEnd(SystemExit):
    """Ends the script without an error; `except Exception` lets it pass."""


class DrySteps:
    """Counts the distinct steps that are logged; the one after the last allowed ends the script."""

    def __init__(self, limit: int, mark: Callable[[], object]) -> None:
        self._limit = limit
        self._mark = mark
        self._seen: set[int] = set()

    def take(self, step: int) -> None:
        """A point of this step is about to be logged; raises DryEnd when it is one too many."""
        if step in self._seen:
            return
        if len(self._seen) >= self._limit:
            self._mark()
            raise DryEnd(0)
        self._seen.add(step)


def asked() -> int:
    """How many steps the environment allows; 0 when this is no dry run."""
    text = os.environ.get(STEPS, "")
    if text and (not text.isascii() or not text.isdigit() or int(text) < 1):
        raise ValueError(f"{STEPS} is {text!r}, and is a number of steps, 1 or more")
    return int(text or 0)
