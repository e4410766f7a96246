"""A folder of things that are costly to make: each is made once, shared, and removed when space is short and nobody uses it."""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from larder.journal.shipper import write_json

READY = "ready.json"
"""The file of an entry that is written last: what its maker has to say of it, and its size."""

Cancelled = Callable[[], bool]

_PAUSE = 0.05
_LOCKS = ".locks"
_MAKING = ".making"


class Interrupted(Exception):
    """Somebody asked to stop while an entry was waited for or made."""


def never() -> bool:
    """Nobody cancels."""
    return False


@dataclass(frozen=True)
class Entry:
    """An entry in use: nothing removes it before `close`, or before this process ends."""

    folder: Path
    about: dict[str, Any]
    reused: bool
    descriptor: int

    def close(self) -> None:
        """It is no longer in use here."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


class Cache:
    """Entries by key in `root`, together at most about `limit` bytes; safe between threads and between processes.

    A lock per key is held exclusively by who makes or removes the entry, and shared by all who use it. It goes with
    the process that holds it, so that a killed one leaves nothing behind that the next has to wait for.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self.root = root
        self.limit = limit

    def find(self, key: str) -> Entry | None:
        """The entry, if it is there and can be had at once."""
        if not (self.root / key / READY).is_file():
            return None
        descriptor = self._open(key)
        if _lock(descriptor, fcntl.LOCK_SH):
            found = self._read(key, descriptor, reused=True)
            if found is not None:
                return found
        os.close(descriptor)
        return None

    def get(
        self,
        key: str,
        make: Callable[[Path], dict[str, Any]],
        *,
        cancelled: Cancelled = never,
        waits: Callable[[], None] = lambda: None,
    ) -> Entry:
        """The entry, made by `make(folder)` if it is not there; what that answers is kept with it.

        `make` fills an empty folder, which is renamed when it is complete. `waits` is called once when somebody else
        is making it.
        """
        waiting = False
        while True:
            found = self.find(key)
            if found is not None:
                return found
            descriptor = self._open(key)
            made = False
            try:
                # Who uses an entry holds the lock as well, so a refusal may also mean that by now there is one.
                if _lock(descriptor, fcntl.LOCK_EX) and not (self.root / key / READY).is_file():
                    self._make(key, make)
                    made = True
                    # Changing the lock to a shared one may let a remover in between: then all begins anew.
                    if _lock(descriptor, fcntl.LOCK_SH):
                        entry = self._read(key, descriptor, reused=False)
                        if entry is not None:
                            descriptor = -1
                            with contextlib.suppress(OSError):  # it is there; to make room can wait
                                self.sweep()
                            return entry
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
            if cancelled():
                raise Interrupted
            if not made:
                if not waiting:
                    waits()
                waiting = True
                time.sleep(_PAUSE)

    def drop(self, entry: Entry) -> None:
        """Remove an entry that turned out to be damaged, as soon as only we use it; closes it."""
        try:
            if _lock(entry.descriptor, fcntl.LOCK_EX):
                self._remove(entry.folder)
        finally:
            entry.close()

    def measure(self, entry: Entry) -> None:
        """Take the size of an entry anew, after something was added to it."""
        write_json(entry.folder / READY, {"about": entry.about, "size": _size(entry.folder)})

    def sweep(self) -> None:
        """Remove the entries that were used the longest ago until the rest is within the limit."""
        entries = sorted(self._sizes(), key=lambda each: each[1])
        total = sum(size for _, _, size in entries)
        for folder, _, size in entries:
            if total <= self.limit:
                return
            descriptor = self._open(folder.name)
            try:
                if _lock(descriptor, fcntl.LOCK_EX):
                    self._remove(folder)
                    total -= size
            finally:
                os.close(descriptor)

    def _make(self, key: str, make: Callable[[Path], dict[str, Any]]) -> None:
        making = self.root / _MAKING
        making.mkdir(parents=True, exist_ok=True)
        # We hold the lock, so whatever lies there under this key is what a killed maker has left.
        for left in making.glob(f"{key}.*"):
            shutil.rmtree(left, ignore_errors=True)
        if (self.root / key).exists():
            self._remove(self.root / key)
        draft = making / f"{key}.{os.getpid()}"
        draft.mkdir()
        try:
            about = make(draft)
            document = json.dumps({"about": about, "size": _size(draft)})
            (draft / READY).write_text(document, encoding="utf-8")
            os.rename(draft, self.root / key)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _read(self, key: str, descriptor: int, *, reused: bool) -> Entry | None:
        folder = self.root / key
        try:
            about = json.loads((folder / READY).read_text(encoding="utf-8"))["about"]
            os.utime(folder / READY)
        except (OSError, ValueError, KeyError):
            return None
        return Entry(folder, about, reused, descriptor)

    def _sizes(self) -> Iterator[tuple[Path, float, int]]:
        for ready in self.root.glob(f"*/{READY}"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                yield ready.parent, ready.stat().st_mtime, int(json.loads(ready.read_text(encoding="utf-8"))["size"])

    def _remove(self, folder: Path) -> None:
        # Renamed first: an entry is whole or not there, also for one who is killed while removing.
        aside = self.root / _MAKING / f"{folder.name}.removed.{os.getpid()}.{time.monotonic_ns()}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        os.rename(folder, aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _open(self, key: str) -> int:
        locks = self.root / _LOCKS
        path = locks / key
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            locks.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _size(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total
