"""The wait at the end of a run, and what is said of records that stay on this machine."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from larder import guard
from larder.journal import format
from larder.journal.writer import Writer
from larder.recording import companion
from larder.recording.companion import Companion

_PATIENCE = 2.0
"""Seconds that `finish` waits for a server that does not answer."""


class Wait:
    """The wait at the end, for the server to have all that was written; it is worth as long as something moves."""

    def __init__(
        self,
        name: str,
        writer: Writer,
        end: int,
        companion: Companion | None,
        accompany: Callable[[], Companion | None],
    ) -> None:
        self._name = name
        self._folder = writer.path.parent
        self._companion = companion
        self._accompany = accompany
        self._writer = writer
        self._end = end
        self._ack = writer.path.with_suffix(format.ACK)
        self._began = time.time()
        self._limit = float(os.environ.get("LARDER_FINISH_TIMEOUT") or 300.0)
        self._restarted = False
        self._refused = False

    def run(self) -> None:
        """Returns when it is over; says so when something is left."""
        try:
            why = self._wait()
        except KeyboardInterrupt:
            why = "interrupted; "
        if self._companion is not None:
            self._companion.wake()
        lost = int(self._state().get("lost") or 0)
        if lost:
            guard.say(f"the server did not take {lost} records of {self._name}; see {self._folder / 'companion.log'}")
        if why is not None:
            leave(self._name, self._writer, why, refused=self._refused)

    def _wait(self) -> str | None:
        pause = 0.001
        moved_at, moved = time.monotonic(), -1
        began = moved_at
        if self._companion is not None:
            self._companion.wake()
        while not self._done():
            state = self._state()
            now = time.monotonic()
            if state.get("state") == "refused":
                self._refused = True
                return f"the server refuses this run ({state.get('message')}); "
            if state.get("state") == "denied":
                return f"the server refuses the token ({state.get('message')}); "
            if (
                state.get("state") == "unreachable"
                and float(state.get("time") or 0) > self._began
                and now - began > _PATIENCE
            ):
                return f"{state.get('message')}; start a server with `larder up`; "
            progress = self._progress()
            if progress != moved:
                moved, moved_at = progress, now
            if now - moved_at > 3.0 and not companion.is_locked(self._folder / "lock") and not self._done():
                if self._restarted:
                    return "the companion process has died; "
                self._restarted = True
                moved_at = now
                self._companion = self._accompany()
            if now - began > self._limit or now - moved_at > max(30.0, self._limit / 5):
                return "the server is slow; "
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)
        return None

    def _done(self) -> bool:
        # The companion removes the folder when the server has all of it.
        return format.acknowledged(self._ack) >= self._end or not self._writer.path.exists()

    def _state(self) -> dict[str, Any]:
        try:
            document = json.loads((self._folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def _progress(self) -> int:
        """A number that changes when something moves: acknowledged bytes, and the clock of an upload under way."""
        total = 0
        with suppress(OSError):
            total = (self._folder / "lock").stat().st_mtime_ns
            total += sum(format.acknowledged(path) for path in self._folder.glob(f"*{format.ACK}"))
        return total


def leave(name: str, writer: Writer, why: str, *, refused: bool = False) -> None:
    """Says what stays on this machine."""
    left = 0
    with suppress(OSError):
        left = format.count(writer.path, format.acknowledged(writer.path.with_suffix(format.ACK)))
    rest = f"in {writer.path.parent}" if refused else "in the journal; `larder sync` will send them"
    guard.say(f"{why}{left} records of {name} are {rest}")
