"""What the process prints, line by line, read off the streams that stay what they are."""

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from larder import guard
from larder.integrations import active

SOURCE = "console"

LONGEST = 64 * 1024
"""Characters of one line that are kept."""

QUIET = 1.0
"""Seconds after which a line that nothing ended is recorded as it stands, and between looks at a progress bar."""

SLOWEST = 60.0
"""Seconds to which the time between two recorded states of one progress bar grows."""


class Lines:
    """Text in, whole lines out; of what carriage returns overwrite only the last state is kept.

    Calls come from any thread, and from signal handlers and `write` itself in the middle of a call: those wait in
    line until the outer call has done its work.
    """

    def __init__(self, write: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget what was not written yet, and whoever was about to write it: the start of a forked child."""
        self._lock = threading.RLock()
        self._busy = False
        self._later: list[str] = []
        self._rest = ""
        self._since = 0.0
        self._progress = False
        self._pause = QUIET

    def feed(self, text: str) -> None:
        """Take some output; every line that it completes is written."""
        with self._lock:
            if self._busy:
                self._later.append(text)
                return
            self._busy = True
            try:
                self._take(text)
                # What writing itself prints is taken once; what that prints in turn could go on for ever.
                later, self._later = self._later, []
                for each in later:
                    self._take(each)
            finally:
                self._busy = False

    def tick(self) -> None:
        """Write the line that nothing has ended for a while."""
        with self._lock:
            if self._busy or not self._rest or self._clock() - self._since < self._pause:
                return
            self._busy = True
            try:
                text = _visible(self._rest)
                self._since = self._clock()
                if self._progress:
                    self._pause = min(2 * self._pause, SLOWEST)
                else:
                    self._rest = ""
                if text:
                    self._write(text)
            finally:
                self._busy = False

    def close(self) -> None:
        """Write what is left."""
        with self._lock:
            text, self._rest = _visible(self._rest), ""
            if text:
                self._write(text)

    def _take(self, text: str) -> None:
        if not self._rest:
            self._since = self._clock()
        if "\n" not in text and "\r" not in text and not self._progress and len(text) + len(self._rest) < LONGEST:
            self._rest += text
            return
        *lines, rest = (self._rest + text).split("\n")
        self._rest = ""
        for line in lines:
            self._write(_visible(line))
        if lines:
            self._progress, self._pause = False, QUIET
        if "\r" in rest:
            self._progress = True
            rest = rest[max(0, rest.rfind("\r", 0, -1)) :]
        if len(rest) > LONGEST:
            self._write(_visible(rest))
            rest = ""
        self._rest = rest


def _visible(line: str) -> str:
    shown = line.rstrip("\r").rsplit("\r", 1)[-1]
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} … and {len(shown) - LONGEST} more characters"


class Console:
    """Listens to `sys.stdout` and `sys.stderr`.

    Only `write` of the stream objects is extended, so that whoever holds one already, such as a logging handler, is
    heard too, and the streams keep their type, encoding, descriptor and manners. What is written past them, to the
    descriptor or to `buffer`, is not heard.
    """

    def __init__(self, run: active.Recorder) -> None:
        self._run = run
        self._lines: dict[str, Lines] = {}
        self._streams: dict[str, tuple[Any, Callable[..., Any]]] = {}
        self._inside = threading.local()
        self._stopped = threading.Event()
        self._over = False
        self._renewed = False
        self._hears: list[Callable[[str, str], None]] = []

    def start(self) -> None:
        """Begin to listen."""
        for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
            if stream is not None:
                self._lines[name] = Lines(self._writer(name))
                self._extend(name, stream)
        self._watch()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def renew(self) -> None:
        """Listen again to streams whose `write` somebody has put back as it was, as IPython does after each cell."""
        for name, (stream, write) in list(self._streams.items()):
            self._renewed = True
            if getattr(stream, "__dict__", {}).get("write") is not write:
                self._extend(name, stream)

    def hear(self, listener: Callable[[str, str], None]) -> None:
        """Also hand all text, as it is written, to `listener(stream, text)`."""
        self._hears.append(listener)

    def stop(self) -> None:
        """Write what is left, and listen no more."""
        if self._over:
            return
        self._over = True
        self._stopped.set()
        for stream, write in self._streams.values():
            if getattr(stream, "__dict__", {}).get("write") is write:
                del stream.write
        for lines in self._lines.values():
            lines.close()

    def _writer(self, name: str) -> Callable[[str], None]:
        return lambda text: self._run.console(name, text)

    def _extend(self, name: str, stream: Any) -> None:
        original = stream.write
        lines = self._lines[name]
        hears = self._hears
        inside = self._inside

        def write(text: str) -> Any:
            if self._renewed:
                # Somebody may have wrapped us, and we them: the text is taken once.
                if getattr(inside, name, False):
                    return original(text)
                setattr(inside, name, True)
                try:
                    written = original(text)
                finally:
                    setattr(inside, name, False)
            else:
                written = original(text)
            if not self._over:
                try:
                    lines.feed(text)
                    for hear in hears:
                        hear(name, text)
                except Exception as error:  # the edge to the user's `print`
                    guard.warn(SOURCE, guard.describe(error))
                    active.failed(SOURCE, error)
            return written

        stream.write = write
        self._streams[name] = (stream, write)

    def _watch(self) -> None:
        threading.Thread(target=self._tick, name="larder-console", daemon=True).start()

    def _tick(self) -> None:
        while not self._stopped.wait(QUIET / 2):
            with active.watched(SOURCE):
                for lines in self._lines.values():
                    lines.tick()

    def _after_fork(self) -> None:
        # The child has no thread but the one that forked, and a lock may have been held by another.
        if not self._over:
            for lines in self._lines.values():
                lines.reset()
            self._stopped = threading.Event()
            self._watch()


_console: Console | None = None


def begin(run: active.Recorder) -> str:
    """Listen to the streams of this process, unless a parent process records them."""
    global _console
    if os.environ.get("LARDER_CONSOLE") == "off":
        return "off"
    end()
    _console = Console(run)
    _console.start()
    return "active"


def end() -> None:
    """Listen no more."""
    global _console
    if _console is not None:
        _console.stop()
        _console = None


def renew() -> None:
    """Listen again to streams that were put back as they were."""
    if _console is not None:
        _console.renew()


def hear(listener: Callable[[str, str], None]) -> bool:
    """Hand all text to `listener` too; whether there is a console to listen to."""
    if _console is None:
        return False
    _console.hear(listener)
    return True
