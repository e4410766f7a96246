"""Which fit is the outermost, over the frameworks that call one another: a pipeline, a search, a wrapper, a booster.

The counts are of the whole process, not of a thread: an estimator may fit its parts in threads of its own. The price:
of fits that a user runs in parallel threads, those that begin while another is under way are taken for its parts.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOST = 20
"""Fits of one kind in one run that are recorded in full: thousands of small models in a loop are too many."""

_lock = threading.Lock()
_under_way = 0
_quiet = 0
_counts: dict[tuple[int, str], int] = {}


@contextmanager
def under_way() -> Iterator[None]:
    """A fit: those within it are parts of it."""
    global _under_way
    with _lock:
        _under_way += 1
    try:
        yield
    finally:
        with _lock:
            _under_way -= 1


@contextmanager
def quiet() -> Iterator[None]:
    """Fits that say nothing worth keeping, such as those of the folds of a cross-validation."""
    global _quiet
    with _lock:
        _quiet += 1
    try:
        with under_way():
            yield
    finally:
        with _lock:
            _quiet -= 1


def is_outermost() -> bool:
    """Whether a fit that begins now is nobody's part."""
    return _under_way == 0


def is_quiet() -> bool:
    """Whether even the progress of a fit that begins now shall not be recorded."""
    return _quiet > 0


def counted(run: object, kind: str) -> bool:
    """Count one more fit of a kind; whether it is among those recorded in full."""
    with _lock:
        key = (id(run), kind)
        _counts[key] = _counts.get(key, 0) + 1
        return _counts[key] <= MOST
