"""The companion of a run: a process of its own that watches, sends what the journals hold, and outlives a killed run.

It is started by `larder.init` as `python -m larder.companion FOLDER`, with a socket as its standard input: a byte
wakes it, the end of the stream says that the process which started it is gone.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from larder import config, guard
from larder.contract import errors
from larder.journal import format, spool
from larder.journal import shipper as shipping
from larder.journal.writer import Writer

FAST = 0.1
"""Seconds between looks while there is something to send."""
SLOW = 0.5
"""Seconds between looks when nothing comes."""
BEAT = 10.0
"""Seconds of silence after which the server hears that the run lives, and is asked whether it shall stop."""
DEAF = 5.0
"""Seconds after which a process that was asked to stop and still works is asked harder."""
PATIENCE = 30.0
"""The longest pause between attempts to reach a server that does not answer."""


def main(arguments: list[str] | None = None) -> int:
    """Serves one folder until its run has ended and the server has it all."""
    folder = Path((sys.argv[1:] if arguments is None else arguments)[0])
    _detach()
    with shipping.locked(folder, wait=float("inf")) as held:
        if not held:
            return 0
        companion = Companion(folder)
        try:
            companion.serve()
        finally:
            companion.close()
    return 0


class Companion:
    """Holds the lock of the folder. One thread sends, another watches, since reading a big repository takes time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = shipping.read_info(folder)
        self.settings = config.load(home=folder.parent.parent)
        self.offline = self.info.get("mode") == "offline"
        self.linger = float(os.environ.get("LARDER_LINGER") or 5.0)
        self._parent_gone = False
        self._asked: list[tuple[signal.Signals, float]] = []
        self._delay = 0.0
        self._failed: list[float] = []
        self._told = ("", "")
        self._watch = Watch(folder, self.info, say=_say)
        self._shipper = shipping.Shipper(folder, _Later(self.settings), say=_say, progress=self._progress)
        self._last_progress = 0.0
        self._others: threading.Thread | None = None

    def serve(self) -> None:
        """Until all is done, or nothing more can be."""
        self._watch.start()
        last_sent = time.monotonic()
        while True:
            if (self.folder / shipping.MOVED).exists():
                if self._moved:
                    return
                self._wait(FAST)  # the process asks the server right now; it takes the mark away where that failed
                continue
            over = self._over()
            if over:
                self._watch.close()
            try:
                if self.offline:
                    sent = False
                else:
                    sent = self._shipper.ship(hold_ending=True)
                    if over:
                        self._let_children_end()
                        sent = self._shipper.ship() or sent
                        self._shipper.close_dead()
                    elif sent:
                        last_sent = time.monotonic()
                    elif time.monotonic() - last_sent > BEAT:
                        self._shipper.beat()
                        last_sent = time.monotonic()
                    self._reached()
            except shipping.Refused as error:
                if self._moved:
                    return
                (self.folder / "refused").write_text(f"{error}\n", encoding="utf-8")
                self._tell("refused", str(error))
                return
            except errors.Denied as error:
                self._tell("denied", str(error))
                if over:
                    return
                self._wait(PATIENCE)
                continue
            except errors.LarderError as error:
                self._tell("unreachable", str(error))
                if over and self._tired():
                    return
                self._delay = min(max(2 * self._delay, 0.5), 1.0 if over else PATIENCE)
                self._wait(self._delay)
                continue
            if self._shipper.stop:
                self._interrupt()
            if over and (self.offline or not self._shipper.pending) and not self._children():
                return
            self._wait(FAST if sent else min(max(FAST, self._delay + 0.05), SLOW))
            self._delay = 0.0 if sent else min(self._delay + 0.05, SLOW)

    def close(self) -> None:
        """Removes the folder when the server has all of it."""
        self._watch.close()
        done = not self.offline and not (self.folder / "refused").exists() and not self._shipper.pending
        moved = self._moved
        self._shipper.close()
        if moved:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif done:
            shipping.remove(self.folder)

    @property
    def _moved(self) -> bool:
        """Whether an agent has the run now. Its process marks the folder before it asks for that, and then ends."""
        return (self.folder / shipping.MOVED).exists() and not shipping.alive(self.folder)

    # -- the run's process

    def _over(self) -> bool:
        """Whether the main process has ended, with a last word or without; then there is an end in some journal."""
        main = self._shipper.main
        if main is None:
            return self._parent_gone and not shipping.alive(self.folder)
        if self._shipper.ended:
            return True
        if main.alive:
            return False
        # Its last words may still be on the way from the kernel's point of view; a moment, then it is dead.
        time.sleep(0.1)
        if self._shipper.ended or (self._shipper.main or main).alive:
            return self._shipper.ended
        if not self._shipper.agent:
            _say("the process has gone without a word")
            # The end is the last word of a journal, so the observers are done first.
            self._watch.stop()
            shipping.end_killed(self._shipper, None if self._watch.writer.closed else self._watch.writer)
        return True

    def _children(self) -> bool:
        return shipping.alive(self.folder) and (self._shipper.main is None or not self._shipper.main.alive)

    def _let_children_end(self) -> None:
        """A run that has ended takes no more points, so other processes of it get a moment to end as well."""
        until = time.monotonic() + 1.0
        while shipping.alive(self.folder) and time.monotonic() < until:
            main = self._shipper.main
            if main is not None and main.alive:
                return
            time.sleep(0.02)
        self._shipper.ship(hold_ending=True)

    def _interrupt(self) -> None:
        """Somebody asked the run to stop: what Ctrl-C does, and SIGTERM for one that does not hear it.

        A script that a shell started in the background ignores SIGINT. An agent stops its own runs.
        """
        main = self._shipper.main
        pid = self.info.get("pid")
        if self._shipper.agent or main is None or not main.alive or not isinstance(pid, int):
            return
        if self._asked and (len(self._asked) > 1 or time.monotonic() - self._asked[0][1] < DEAF):
            return
        number = signal.SIGTERM if self._asked else signal.SIGINT
        self._asked.append((number, time.monotonic()))
        _say(f"asked to stop, sending {number.name} to process {pid}")
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)

    # -- the server

    def _reached(self) -> None:
        if self._failed:
            self._failed.clear()
            _say(f"{self.settings.url} answers again")
        self._tell("ok", "")
        if self._others is None and not self.offline:
            # What earlier runs on this machine could not send, for the same server; they must not hold up this one.
            self._others = threading.Thread(target=self._send_others, name="larder-sync", daemon=True)
            self._others.start()

    def _send_others(self) -> None:
        try:
            shipping.sync(
                self.settings.home,
                self.settings.url,
                only=lambda info: info.get("url") == self.settings.url,
                skip=[self.folder],
                patience=0.0,
                report=_say,
            )
        except Exception as error:  # the edge of a thread that is only a courtesy
            _say(f"older runs stay where they are: {guard.describe(error)}")

    def _tired(self) -> bool:
        now = time.monotonic()
        self._failed.append(now)
        return now - self._failed[0] >= self.linger

    def _tell(self, state: str, message: str) -> None:
        """Leaves word for the process, which asks at its end."""
        if self._told == (state, message) and state == "ok" and not self._shipper.lost:
            return
        if self._told != (state, message) and state != "ok":
            _say(message)
        self._told = (state, message)
        document = {"state": state, "message": message, "time": time.time(), "lost": self._shipper.lost}
        draft = self.folder / f"state.{os.getpid()}"
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps(document), encoding="utf-8")
            os.replace(draft, self.folder / "state.json")

    def _progress(self, _: int) -> None:
        now = time.monotonic()
        if now - self._last_progress > 1.0:
            self._last_progress = now
            with contextlib.suppress(OSError):
                os.utime(self.folder / "lock")

    def _wait(self, seconds: float) -> None:
        if self._parent_gone:
            time.sleep(seconds)
            return
        if select.select([0], [], [], seconds)[0]:
            try:
                woken = os.read(0, 4096)
            except OSError:
                woken = b""
            self._parent_gone = not woken


class Watch:
    """Lets the observers of `larder.capture` look at a run from a thread, into a journal of its own in the folder.

    Each looks once, then those that sample look again and again, and once more at the end. `only` names the sources
    to observe; the others are not mentioned. `info` is the document `run.json`; its `pid` is whose tree is measured.
    Used by the companion, and by an agent for each run that it executes. The thread starts with `start`; `stop` and
    `close` may be called more than once, from any thread.
    """

    def __init__(
        self,
        folder: Path,
        info: Mapping[str, Any],
        *,
        only: Collection[str] | None = None,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._info = dict(info)
        self._only = only
        self._say = say
        self._record = Record(folder, self._info)
        self._stopping = threading.Event()
        self._seen = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="larder-watch", daemon=True)

    @property
    def writer(self) -> Writer:
        """Its journal."""
        return self._record.writer

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the looking, after the last look; the journal stays open."""
        if self._thread.ident is None:
            return
        self._seen.wait(20.0)
        self._stopping.set()
        self._thread.join(2.0)

    def close(self) -> None:
        """Ends the looking and the journal."""
        if not self._record.writer.closed:
            self.stop()
            self._record.writer.close()

    def _watch(self) -> None:
        try:
            observers = [each for each in self._observers() if self._look(each)]
            self._seen.set()
            samplers = [observer for observer in observers if observer.interval is not None]
            pause = 1.0  # a short run shall have a curve, too
            while samplers:
                over = self._stopping.wait(pause)
                samplers = [observer for observer in samplers if self._look(observer)]
                if over:
                    return
                pause = float(os.environ.get("LARDER_SAMPLE_SECONDS") or 5.0)
        except Exception as error:  # the edge of the thread
            self._say(f"nothing more is observed: {guard.describe(error)}")
        finally:
            self._seen.set()

    def _observers(self) -> list[Any]:
        try:
            from larder import capture

            found = list(capture.observers(self._info))
        except Exception as error:  # without observers the run is still recorded
            self._record.source("observers", f"failed: {guard.describe(error)}")
            return []
        return [each for each in found if self._only is None or each.name in self._only]

    def _look(self, observer: Any) -> bool:
        try:
            observer.observe(self._record)
        except Exception as error:  # the edge to each observer: one that fails leaves the others at work
            self._record.source(observer.name, f"failed: {guard.describe(error)}")
            self._say(f"{observer.name}: {guard.describe(error)}")
            return False
        return True


class Record:
    """Where observers put what they see: a journal of the companion's own. None of it raises for a full disk."""

    def __init__(self, folder: Path, info: dict[str, Any]) -> None:
        self._folder = folder
        # Another machine of a distributed job has a companion of its own; its curves get names of their own.
        self._prefix = f"rank.{info['rank']}/" if info.get("rank") else ""
        self._step = -1
        self._secondary = bool(self._prefix)
        self.writer = Writer(folder, shipping.companion_opening(info, {}))

    def fact(self, name: str, document: Any) -> None:
        """A document about the run; the last of a name stays."""
        if not self._secondary:
            self._say(format.FACT, name, document)

    def points(self, values: Mapping[str, float]) -> None:
        """A point of each series, now."""
        self._step += 1
        self._say(format.POINTS, self._step, {self._prefix + name: float(value) for name, value in values.items()})

    def artifact(
        self,
        name: str,
        kind: str,
        format: str,
        files: "Mapping[str, Path | bytes]",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Files under a name: path in the artifact to path on disk or bytes; read before this returns."""
        if self._secondary:
            return
        stored = []
        for path, content in files.items():
            digest, size = spool.store(self._folder, content)
            stored.append({"path": path, "hash": digest, "size": size})
        document = {"name": name, "kind": kind, "format": format, "files": stored, "metadata": dict(metadata or {})}
        self._say(_ARTIFACT, {**document, "time": time.time_ns() // 1000})

    def source(self, name: str, state: str) -> None:
        """What became of a source."""
        self.fact("sources", {name: state})

    def _say(self, kind: int, *content: Any) -> None:
        if not self.writer.closed:
            self.writer.record(kind, *content)


_ARTIFACT = format.ARTIFACT


class _Later:
    """A transport that is made, with all that HTTP needs, when the first call goes out."""

    def __init__(self, settings: config.Config) -> None:
        self.url = settings.url
        self._settings = settings
        self._transport: Any = None

    def call(self, endpoint: Any, body: Any = None, **path: object) -> Any:
        return self._made().call(endpoint, body, **path)

    def upload(self, endpoint: Any, source: Any, progress: Callable[[int], None] | None = None, **path: object) -> Any:
        return self._made().upload(endpoint, source, progress, **path)

    def _made(self) -> Any:
        if self._transport is None:
            from larder.transport import Transport

            # The loop of the companion tries again by itself.
            self._transport = Transport(self._settings.url, self._settings.token, retries=0)
        return self._transport


def _detach() -> None:
    """Leaves the process that started us: nothing of it is held open, no signal meant for it comes here."""
    if os.fork():
        os._exit(0)
    with contextlib.suppress(PermissionError):
        os.setsid()
    os.closerange(3, 65536)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A stop at the end of the machine: what is in the journals stays there.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # blocked by our starter until now
    with contextlib.suppress(OSError):
        fcntl.fcntl(0, fcntl.F_SETFD, fcntl.FD_CLOEXEC)


def _say(message: str) -> None:
    # Standard output is the log file in the folder of the run.
    sys.stdout.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {message}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
