"""How far a long piece of work has come: told to whoever wants to hear, or drawn on a terminal."""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, NamedTuple

PATIENCE = 1.0
"""Seconds before anything is shown: what is done by then needs no bar."""

_PAUSE = 0.1


class Progress(NamedTuple):
    """A moment of a piece of work. `total` is 0 while nobody knows it; `files` and the bytes count what is done."""

    what: str
    done: int
    total: int
    files: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes a second so far."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that it will still take at this rate; None when that cannot be said."""
        if not self.total or not self.rate:
            return None
        return max(0, self.total - self.done) / self.rate

    def line(self) -> str:
        """In one line for people."""
        parts = [self.what]
        if self.total:
            parts.append(f"{min(100, 100 * self.done // self.total)} %")
        parts += [f"{self.files:,} files", _size(self.done), f"{_size(self.rate)}/s"]
        left = self.left
        if left is not None:
            parts.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
        return " · ".join(parts)


Hear = Callable[[Progress], None] | Literal[False] | None
"""What a caller gives for `progress`: a function that hears of it, False for silence, None for a bar on a terminal."""


class Meter:
    """Counts what is done. Safe between threads; tells at most ten times a second, and once at the end."""

    def __init__(self, what: str, hear: Hear = None, *, total: int = 0) -> None:
        self.total = total
        self.done = 0
        self.files = 0
        self._what = what
        self._bar = hear is None and _terminal()
        self._hear = hear if callable(hear) else None
        self._began = self._told = time.monotonic()
        self._drawn = False
        self._lock = threading.Lock()

    def __enter__(self) -> "Meter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, count: int, files: int = 0) -> None:
        """So many bytes, and files, more."""
        with self._lock:
            self.done += count
            self.files += files
        if self._hear is None and not self._bar:
            return
        now = time.monotonic()
        if now - self._told >= _PAUSE:
            self._told = now
            self._tell(now)

    def close(self) -> None:
        """The work has ended."""
        if self._hear is not None:
            self._hear(self._moment(time.monotonic()))
        if self._drawn:
            self._drawn = False
            _write("\r\x1b[K")

    def _moment(self, now: float) -> Progress:
        return Progress(self._what, self.done, self.total, self.files, now - self._began)

    def _tell(self, now: float) -> None:
        if self._hear is not None:
            self._hear(self._moment(now))
        elif now - self._began >= PATIENCE:
            self._drawn = True
            _write(f"\r\x1b[K{self._moment(now).line()}")


def _terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there may be none, or one that is closed
        return False


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        pass


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
