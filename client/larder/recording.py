"""A live run: what user code says is appended to a journal and returns at once; nothing here talks to the server.

Nothing here raises into user code either, but for an interrupt: what fails is a warning, and the work goes on. Modules
that only some calls need are imported by those calls, so that `init` costs a training script little.
"""

import atexit
import json
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar, cast

from larder import config, guard, params
from larder.contract import ids
from larder.contract.values import Param
from larder.journal import format
from larder.journal.writer import Writer

Function = TypeVar("Function", bound=Callable[..., Any])

MODES = ("online", "offline", "disabled")
LONGEST_NAME = 500
_PATIENCE = 2.0
"""Seconds that `finish` waits for a server that does not answer."""

_time_ns = time.time_ns


def init(
    project: str | None = None,
    name: str | None = None,
    params: Any = None,
    *,
    tags: Sequence[str] = (),
    notes: str = "",
    kind: str = "train",
    parent: Any = None,
    resume: str | None = None,
    capture: Mapping[str, bool] | Literal[False] | None = None,
) -> "Run":
    """Begins a run, or joins the one that the environment names: that of an agent, of a parent process, of a rank.

    `params` may be a mapping, a dataclass, a namespace or an OmegaConf configuration; values that were changed for a
    clone are put into it. `capture` switches sources off by name, or all with False. `resume` goes on with a run that
    did not complete; what completed stays as it is, and a new run with it as parent goes on from it. In a notebook, running the cell again finishes the run and begins a new one.
    """
    global _run
    if _run is not None and not _run.finished:
        _run.finish()
    sources = {"all": False} if capture is False else dict(capture or {})
    try:
        run = _begin(project, name, tags, notes, kind, parent, resume, sources)
    except Exception as error:  # the edge to user code: without a journal the work goes on unrecorded
        guard.warn("init", f"nothing is recorded, {guard.describe(error)}")
        run = Run(
            _Place(id=resume or ids.new_id(), mode="disabled"), project or "default", name or "", config.DEFAULT_URL
        )
    _run = run
    with guard.guarded("init"):
        run._start(params, sources)
    return run


def current() -> "Run | None":
    """The run that this process records, or None. A child of a process that records joins its run."""
    if _run is None and _is_inherited():
        init()
    return _run if _run is not None and not _run.finished else None


class Params(MutableMapping[str, Any]):
    """The parameters of a run by flat name; setting one records it. An override of a clone wins over what is set."""

    def __init__(self, record: Callable[[Mapping[str, Any]], Any], values: dict[str, Any]) -> None:
        self._record = record
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._record({name: value})

    def __delitem__(self, name: str) -> None:
        raise TypeError("what was recorded does not change: a parameter cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Params({self._values!r})"


def _quiet(function: Function) -> Function:
    """A method of a live run: does nothing after the end, and warns where it would raise."""
    source = f"Run.{function.__name__}"

    def quietly(self: "Run", *args: Any, **kwargs: Any) -> Any:
        if self._idle:
            if self._mode != "disabled":
                guard.warn(source, f"{self.name} has finished and takes no more; call larder.init again")
            return None
        try:
            return function(self, *args, **kwargs)
        except Exception as error:  # the edge between our recording and the user's work
            guard.warn(source, guard.describe(error))
            return None

    quietly.__name__, quietly.__doc__, quietly.__wrapped__ = function.__name__, function.__doc__, function  # type: ignore[attr-defined]
    return cast(Function, quietly)


class _Place:
    """Who this process is in which run."""

    def __init__(
        self,
        *,
        id: str,
        mode: str = "online",
        role: str = "main",
        rank: int = 0,
        attempt: int = 0,
        resumed: bool = False,
    ) -> None:
        self.id = id
        self.mode = mode
        self.role = role
        self.rank = rank
        self.attempt = attempt
        self.resumed = resumed
        # An agent watches this process and says how it ended, if the process does not.
        self.agent = attempt > 0

    @property
    def folder(self) -> str:
        # Attempts of a run on one machine are kept apart: what a zombie left must not pass for the new attempt's.
        return f"{self.id}.{self.attempt}" if self.attempt else self.id


class Run:
    """A live run. Made by `larder.init`; methods may be called from any thread and never raise."""

    def __init__(
        self, place: _Place, project: str, name: str, url: str, *, folder: Path | None = None, opening: Any = None
    ) -> None:
        self.id = place.id
        self.name = name
        self.project = project
        self.role = place.role
        self.rank = place.rank
        self.url = f"{url}/runs/{place.id}"
        self.overrides: dict[str, Param] = {}
        self.folder = folder
        self._place = place
        self._mode = place.mode
        self._server = url
        self._opening = opening
        self._idle = place.mode == "disabled"
        self._over = False
        self._step = -1
        self._shapes: dict[tuple[str, ...], Callable[..., bytes]] = {}
        # Ranks log the same names; only the first rank's are the run's own, so that nothing is there twice.
        self._prefix = f"rank.{place.rank}/" if place.rank else ""
        self._values: dict[str, Any] = {}
        self._lost_before = 0
        self._companion: _Companion | None = None
        self._environment: dict[str, str | None] = {}
        self._pid = os.getpid()
        self.params: MutableMapping[str, Any] = Params(
            lambda values: self.record_params(values, source="code"), self._values
        )
        self._writer: Writer | _Unopened = _Unopened(self)
        if not self._idle:
            self._open()
        self._lock: threading.RLock | Any = self._writer.lock

    # -- what user code says

    def log(self, metrics: Mapping[str, Any], step: float | None = None) -> None:
        """Points of series, by name; nested mappings join their names with `/`. Steps count by themselves."""
        try:
            if self._idle:
                return self._log_idle()
            # The fast path: names that were seen together before, values that know how to become floats.
            pack = self._shapes.get(tuple(metrics)) if type(metrics) is dict else None
            if pack is None or (step is not None and type(step) is not int):
                return self._log_unseen(metrics, step)
            with self._lock:
                if step is None:
                    step = self._step + 1
                self._writer.append(pack(_time_ns() // 1000, step, metrics.values()))
                self._step = step
        except struct.error:
            self._log_unseen(metrics, step)
        except Exception as error:  # the edge between our recording and the user's work
            guard.warn("Run.log", guard.describe(error))
        return None

    @_quiet
    def log_artifact(
        self,
        name: str,
        value: Any,
        kind: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        step: int | None = None,
    ) -> None:
        """Keeps an object, or the file or folder at a path, under a name; the bytes are copied before this returns."""
        import tempfile

        from larder import serial

        with tempfile.TemporaryDirectory(prefix="larder-") as scratch:
            saved = serial.save(value, name, Path(scratch))
            self._keep(
                name, kind or saved.kind, saved.format, saved.files, {**saved.metadata, **(metadata or {})}, step
            )

    @_quiet
    def log_figure(self, name: str, figure: Any, step: int | None = None) -> None:
        """Keeps a figure of matplotlib or plotly."""
        from larder import media

        form, content = media.figure(figure)
        self._keep(name, "figure", form, {f"{_stem(name)}.{form}": content}, {}, step)

    @_quiet
    def log_image(self, name: str, image: Any, step: int | None = None) -> None:
        """Keeps an image: a path, an image of PIL, or an array of bytes or of floats from 0 to 1."""
        from larder import media

        form, content = media.image(image)
        self._keep(name, "image", form, {f"{_stem(name)}.{form}": content}, {}, step)

    @_quiet
    def log_table(self, name: str, frame: Any, step: int | None = None) -> None:
        """Keeps a table: a data frame, a list of rows, or a mapping of columns."""
        import tempfile

        from larder import serial

        with tempfile.TemporaryDirectory(prefix="larder-") as scratch:
            saved = serial.table(frame, name, Path(scratch))
            self._keep(name, "table", saved.format, saved.files, saved.metadata, step)

    @_quiet
    def log_text(self, name: str, text: str, step: int | None = None) -> None:
        """Keeps a text."""
        self._keep(name, "text", "text", {f"{_stem(name)}.txt": str(text).encode("utf-8", "replace")}, {}, step)

    @_quiet
    def set_tags(self, *tags: str) -> None:
        """Adds tags."""
        self._say(format.TAGS, [_printable(tag, "tag") for tag in tags], [])

    @_quiet
    def remove_tags(self, *tags: str) -> None:
        """Takes tags away."""
        self._say(format.TAGS, [], list(map(str, tags)))

    @_quiet
    def set_notes(self, text: str) -> None:
        """Replaces the notes."""
        self._say(format.SET, "notes", str(text).encode("utf-8", "replace").decode())

    @_quiet
    def set_name(self, name: str) -> None:
        """Renames the run."""
        self.name = _printable(name, "name")
        self._say(format.SET, "name", self.name)

    # -- what capture and integrations say

    def record_params(self, found: Any, source: str = "argparse") -> dict[str, Any]:
        """Records parameters, nested or flat, and answers the values to use: overrides win, and are put into `found`."""
        try:
            flat = params.flat(found)
            for name in flat.keys() & self.overrides.keys():
                value = params.revived(self.overrides[name], flat[name])
                if value != flat[name] or type(value) is not type(flat[name]):
                    flat[name] = value
                    params.put(found, name, value)
            self._values.update(flat)
            if flat and not self._idle and not self.rank:
                self._say(format.PARAMS, {_key(name): params.recorded(name, value) for name, value in flat.items()})
        except Exception as error:  # the edge between our recording and the user's work
            guard.warn(f"parameters of {source}", guard.describe(error))
            return dict(found) if isinstance(found, Mapping) else {}
        return flat

    @_quiet
    def record_fact(self, name: str, document: Any) -> None:
        """A document about the run; the last of a name stays."""
        if not self.rank:
            self._say(format.FACT, name, document)

    def console(self, stream: str, text: str) -> None:
        """A whole line of output."""
        if self._idle:
            return
        try:
            self._say(format.CONSOLE, stream, text, self.rank)
        except Exception as error:  # as in log
            guard.warn("console", guard.describe(error))

    @_quiet
    def source(self, name: str, state: str) -> None:
        """What became of a source of capture: active, off, absent, or failed and why."""
        if not self.rank:
            self._say(format.FACT, "sources", {name: state})

    # -- the end

    @property
    def finished(self) -> bool:
        """Whether nothing more is recorded."""
        return self._over

    @property
    def lost_records(self) -> int:
        """Records of this process that could not be written down."""
        return self._lost_before + self._writer.lost

    def finish(self, status: str = "completed", *, reason: str = "", exit_status: int | None = None) -> None:
        """Ends the run and waits until the server has it all, or cannot be reached; what is left stays for `larder sync`."""
        if self._over:
            return
        try:
            self._finish(str(status), reason, exit_status)
        except Exception as error:  # as in log
            guard.warn("Run.finish", guard.describe(error))
        finally:
            self._over = self._idle = True
            self._restore()

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish_with(error)

    def __repr__(self) -> str:
        return f"<Run {self.name} of {self.project}: {self.url}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Handed to a worker, or held by a model that is pickled: what travels is the name of the run.
        return _arrived, (self.id, self.project, self.name)

    def _repr_html_(self) -> str:
        """The card in a notebook."""
        import html

        name, project, link = (html.escape(text) for text in (self.name, self.project, self.url))
        state = "not recorded" if self._mode == "disabled" else "finished" if self._over else "recording"
        if self._mode == "offline":
            state += ", offline"
        return (
            '<div style="border:1px solid #8884;border-radius:6px;padding:8px 12px;max-width:40em;font-family:sans-serif">'
            f'<a href="{link}" target="_blank" rel="noopener"><b>{name}</b></a> <span style="opacity:.7">{project} · {state}'
            f'</span><br><code style="font-size:85%">{html.escape(self.id)}</code></div>'
        )

    # -- inside

    def _start(self, given: Any, sources: dict[str, bool]) -> None:
        """What comes right after the opening: overrides and parameters, the way for children, capture, companion."""
        self.overrides = _overrides() if _joins_given(self._place) else {}
        if self.overrides:
            self._values.update(self.overrides)
            if not self._idle and self.role == "main":
                self._say(
                    format.PARAMS, {_key(name): params.recorded(name, value) for name, value in self.overrides.items()}
                )
        if given is not None:
            self.record_params(given, source="init")
        if self._idle:
            return
        _watch_exit()
        _watch_worker()
        if self.role == "main":
            self._say(format.FACT, "command", _command())
            self._show_children()
        self._accompany()
        with guard.guarded("capture"):
            try:
                from larder import capture

                capture.start(self, sources)
            except Exception as error:
                self.source("capture", f"failed: {guard.describe(error)}")
                raise
        if self.role == "main":
            where = "offline, `larder sync` sends it" if self._mode == "offline" else self.url
            guard.say(f"run {self.name} · {where}")

    def _open(self) -> Writer:
        """This process's own journal."""
        assert self.folder is not None
        opening = {**self._opening, "time": _now(), "role": self.role}
        for _ in range(3):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileNotFoundError):  # the companion of an earlier process has just removed the folder
                writer = Writer(self.folder, opening)
                break
        else:
            writer = Writer(self.folder, opening)
        self._writer = writer
        return writer

    def _say(self, kind: int, *content: Any) -> None:
        self._writer.record(kind, *content)

    def _log_idle(self) -> None:
        if self._mode != "disabled":
            guard.warn("Run.log", f"{self.name} has finished and takes no more; call larder.init again")

    def _log_unseen(self, metrics: Mapping[str, Any], step: Any) -> None:
        """Names that come together for the first time, nested ones, values of other kinds, bad ones."""
        try:
            found: dict[str, float] = {}
            for name, value in _flat_metrics(metrics, ""):
                try:
                    found[self._prefix + _key(name)] = _number(value)
                except Exception as error:
                    guard.warn(f"metric {name[:100]!r}", guard.describe(error))
            if not found:
                return
            names = tuple(found)
            pack = format.points(names)
            whole = None if step is None else _whole(step)
            with self._lock:
                whole = self._step + 1 if whole is None else whole
                self._writer.append(pack(_time_ns() // 1000, whole, found.values()))
                self._step = whole
                if not self._prefix and names == tuple(metrics) and len(self._shapes) < 1000:
                    self._shapes[names] = pack
        except Exception as error:  # as in log
            guard.warn("Run.log", guard.describe(error))

    def _keep(
        self,
        name: str,
        kind: str,
        form: str,
        files: Mapping[str, "Path | bytes"],
        metadata: Mapping[str, Any],
        step: int | None,
    ) -> None:
        from larder.journal import spool

        if self.folder is None:
            return
        name = _artifact_name(name)
        stored = []
        for path, content in files.items():
            digest, size = spool.store(self.folder, content)
            stored.append({"path": path, "hash": digest, "size": size})
        document = {
            "name": name,
            "kind": kind,
            "format": form,
            "files": stored,
            "step": None if step is None else _whole(step),
            "metadata": dict(metadata),
            "time": _now(),
        }
        self._say(format.ARTIFACT, document)

    def _finish_with(self, error: BaseException | None) -> None:
        if error is None:
            self.finish()
        elif isinstance(error, KeyboardInterrupt):
            self.finish("stopped", reason="KeyboardInterrupt")
        elif isinstance(error, SystemExit):
            status, reason = _exit_status(error.code)
            self.finish("completed" if status == 0 else "failed", reason=reason, exit_status=status)
        else:
            with guard.guarded("traceback"):
                import traceback

                text = "".join(traceback.format_exception(error))
                self.record_fact(
                    "exception", {"type": type(error).__name__, "message": str(error), "traceback": text[-20_000:]}
                )
            self.finish("failed", reason=guard.describe(error)[:1000], exit_status=1)

    def _finish(self, status: str, reason: str, exit_status: int | None) -> None:
        if self._mode == "disabled" or isinstance(self._writer, _Unopened):
            return
        with guard.guarded("capture"):
            capture = sys.modules.get("larder.capture")
            if capture is not None:
                capture.stop(self)
        self._idle = True
        writer = self._writer
        if self.role != "main" or os.getpid() != self._pid:
            writer.close()
            return
        lost = self.lost_records
        ending = {"status": status, "time": _now(), "exit_status": exit_status, "reason": reason, "lost_records": lost}
        if exit_status is None and status == "completed":
            ending["exit_status"] = 0
        self._say(format.END, ending)
        end = writer.size
        writer.close()
        if lost:
            guard.say(f"{lost} records of {self.name} were lost: they could not be written to {writer.path}")
        assert self.folder is not None
        if self._mode == "offline":
            self._leave(writer, "")
            return
        if self._companion is None:
            self._accompany()
        _Wait(self, writer, end).run()

    def _leave(self, writer: Writer, why: str, *, refused: bool = False) -> None:
        """Says what stays on this machine."""
        left = 0
        with suppress(OSError):
            left = format.count(writer.path, format.acknowledged(writer.path.with_suffix(format.ACK)))
        rest = f"in {writer.path.parent}" if refused else "in the journal; `larder sync` will send them"
        guard.say(f"{why}{left} records of {self.name} are {rest}")

    def _accompany(self) -> None:
        """Starts the companion process, unless another process of the run on this machine has one already."""
        assert self.folder is not None
        if self.role != "main" and _is_locked(self.folder / "lock"):
            return
        with guard.guarded("companion"):
            self._companion = _Companion(self.folder)

    def _show_children(self) -> None:
        assert self.folder is not None
        values = {
            "LARDER_RUN": self.id,
            "LARDER_MAIN": f"{os.getpid()}:{self.id}",
            "LARDER_HOME": str(self.folder.parent.parent),
            "LARDER_URL": self._server,
        }
        self._environment = {name: os.environ.get(name) for name in values}
        os.environ.update(values)

    def _restore(self) -> None:
        if os.getpid() != self._pid:
            return
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._environment = {}

    def _forked(self) -> None:
        """In a forked child: the journal and the companion are the parent's."""
        if self._idle:
            return
        if isinstance(self._writer, Writer):
            self._writer.abandon()
        if self._companion is not None:
            self._companion.abandon()
            self._companion = None
        if self.role == "main":
            self.role = "child"
        self._writer = _Unopened(self)
        self._lock = self._writer.lock
        self._environment = {}


class _Unopened:
    """Stands where a writer will be when a forked child first has something to say."""

    lost = 0
    closed = False

    def __init__(self, run: Run) -> None:
        self._run = run
        self.lock = threading.RLock()

    def append(self, payload: bytes) -> bool:
        return self._opened().append(payload)

    def record(self, kind: int, *content: Any) -> bool:
        return self._opened().record(kind, *content)

    def _opened(self) -> "Writer | _Unopened":
        with self.lock:
            current = self._run._writer
            return self._run._open() if current is self else current

    def close(self) -> None:
        """There is nothing to close."""


class _Companion:
    """The companion process as its starter sees it: the other end of a socket."""

    def __init__(self, folder: Path) -> None:
        import signal
        import socket

        environment = {name: value for name, value in os.environ.items() if name not in _OURS}
        here = Path(__file__).resolve().parent.parent
        if here.name not in ("site-packages", "dist-packages"):
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(here), os.environ.get("PYTHONPATH", "")]))
        if not sys.executable:
            raise OSError("there is no Python interpreter to run the companion with; `larder sync` sends the journal")
        # A socket, not a pipe: writing to a dead companion must not raise a signal that the user code may have armed.
        self._socket, other = socket.socketpair()
        # What is meant for us, such as Ctrl-C or the end of a notebook's kernel, must not end it before it has left us.
        ours = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        log = os.open(folder / "companion.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            # -P: a module in the user's folder must not stand in for one of the standard library.
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-m", "larder.companion", str(folder)],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, other.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setpgroup=0,
                setsigmask=ours,
            )
        finally:
            os.close(log)
            other.close()
        # It forks away from us at its start. What we have started ends then, and is not left behind as a zombie: whoever
        # waits for our children, as the kernel of a notebook does, would wait for it. The thread inherits that no signal
        # comes to it: who blocks a signal in the main thread, to wait for it there, shall not die of it here.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=_reap, args=(pid,), name="larder-companion", daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def wake(self) -> None:
        """Asks for attention now."""
        import socket

        with suppress(OSError):
            self._socket.send(b"!", socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)

    def abandon(self) -> None:
        """What a forked child does with it."""
        self._socket.close()


def _reap(process: int) -> None:
    with suppress(OSError):
        os.waitpid(process, 0)


class _Wait:
    """The wait at the end, for the server to have all that was written; it is worth as long as something moves."""

    def __init__(self, run: Run, writer: Writer, end: int) -> None:
        assert run.folder is not None
        self._run = run
        self._folder = run.folder
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
        if self._run._companion is not None:
            self._run._companion.wake()
        lost = int(self._state().get("lost") or 0)
        if lost:
            guard.say(
                f"the server did not take {lost} records of {self._run.name}; see {self._folder / 'companion.log'}"
            )
        if why is not None:
            self._run._leave(self._writer, why, refused=self._refused)

    def _wait(self) -> str | None:
        pause = 0.001
        moved_at, moved = time.monotonic(), -1
        began = moved_at
        if self._run._companion is not None:
            self._run._companion.wake()
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
            if now - moved_at > 3.0 and not _is_locked(self._folder / "lock") and not self._done():
                if self._restarted:
                    return "the companion process has died; "
                self._restarted = True
                moved_at = now
                self._run._accompany()
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


# -- beginning -------------------------------------------------------------------------------------------------------

_OURS = ("LARDER_RUN", "LARDER_MAIN", "LARDER_HOOK", "LARDER_CONSOLE", "LARDER_PARAMS")
_run: Run | None = None
_joined: set[str] = set()


def _begin(
    project: str | None,
    name: str | None,
    tags: Sequence[str],
    notes: str,
    kind: str,
    parent: Any,
    resume: str | None,
    sources: Mapping[str, bool],
) -> Run:
    settings = _settings()
    if resume and not ids.is_id(resume):
        from larder.runs import get

        resume = get(resume).id  # by the last characters, as lists show it, or by its address
    place = _place(resume)
    project = project or os.environ.get("LARDER_PROJECT") or "default"
    if place.mode == "disabled":
        return Run(place, project, name or _name(place.id), settings.url)
    folder = settings.runs / place.folder
    info = _info(folder)
    if resume:
        asked = _asked(settings, resume)
        if asked.get("completed"):
            place, parent = _Place(id=ids.new_id(), mode=place.mode), resume
            guard.say(f"{asked['name']} is completed and stays as it is; a new run with it as parent goes on from it")
        elif not info:
            place.attempt = int(asked.get("attempt") or 0)
        folder = settings.runs / place.folder
        # What an earlier process, such as the kernel of a notebook before its restart, has not sent yet counts too.
        info = {**asked, **info, "last_step": max(asked.get("last_step", -1), _last_unsent_step(folder))}
    project = _printable(str(info.get("project") or project), "project")
    name = _printable(str(info.get("name") or name or _name(place.id)), "name")
    opening = {
        "project": project,
        "name": name,
        "kind": kind,
        "parent": str(getattr(parent, "id", parent)) if parent is not None else None,
        "host": os.uname().nodename,
        "resumed": place.resumed,
    }
    run = Run(place, project, name, settings.url, folder=folder, opening=opening)
    run._step = int(info.get("last_step", -1))
    run._values.update(info.get("params") or {})
    if place.role == "main" or not info:
        _write_info(folder, run, settings.url, kind, sources)
    if place.role == "main":
        if resume and not place.resumed:
            run.record_params(info["params"], source="resume")
        if tags:
            run.set_tags(*([tags] if isinstance(tags, str) else tags))
        if notes:
            run.set_notes(notes)
    return run


def _place(resume: str | None) -> _Place:
    """Which run this process is in, as what: told by the environment."""
    env = os.environ
    mode = env.get("LARDER_MODE") or "online"
    if mode not in MODES:
        raise ValueError(f"LARDER_MODE is {mode!r}, and may be {', '.join(MODES)}")
    world = int(env.get("WORLD_SIZE") or 1)
    rank = int(env.get("RANK") or 0) if world > 1 else 0
    given = env.get("LARDER_RUN", "")
    attempt = int(env.get("LARDER_ATTEMPT") or 0)
    if resume:
        return _Place(id=resume, mode=mode, resumed=True)
    if given and given not in _joined:
        if not ids.is_id(given):
            raise ValueError(f"LARDER_RUN is {given!r}, which is not the id of a run")
        main, _, of = env.get("LARDER_MAIN", "").partition(":")
        if of == given and main != str(os.getpid()):
            return _Place(id=given, mode=mode, role="rank" if rank else "child", rank=rank, attempt=attempt)
        _joined.add(given)
        # The same process under the same name is a script that has executed itself anew.
        return _Place(
            id=given, mode=mode, role="rank" if rank else "main", rank=rank, attempt=attempt, resumed=of == given
        )
    if world > 1 and env.get("RANK"):
        shared = _shared_id()
        if shared not in _joined:
            _joined.add(shared)
            again = int(env.get("TORCHELASTIC_RESTART_COUNT") or 0) > 0
            return _Place(id=shared, mode=mode, role="rank" if rank else "main", rank=rank, resumed=again)
    run = ids.new_id()
    _joined.add(run)
    return _Place(id=run, mode=mode, rank=0)


def _shared_id() -> str:
    """The same id in every rank of a distributed job, from what only they share."""
    import hashlib

    env = os.environ
    parts = [env.get("MASTER_ADDR", ""), env.get("MASTER_PORT", ""), env.get("TORCHELASTIC_RUN_ID", "")]
    if env.get("LOCAL_WORLD_SIZE", env.get("WORLD_SIZE")) == env.get("WORLD_SIZE"):
        # All on this machine, started by one launcher: the next job at the same port has another.
        parts.append(str(os.getppid()))
        with suppress(OSError, IndexError):
            parts.append(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[19])
    text = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-8{text[17:20]}-{text[20:32]}"


def _is_inherited() -> bool:
    """Whether a process above this one records."""
    main, _, run = os.environ.get("LARDER_MAIN", "").partition(":")
    return bool(run) and run == os.environ.get("LARDER_RUN") and main != str(os.getpid())


def _arrived(run: str, project: str, name: str) -> Run:
    """A run that comes out of a pickle: the one that this process records, else one that takes nothing."""
    found = current()
    if found is not None and found.id == run:
        return found
    return Run(_Place(id=run, mode="disabled"), project, name, config.DEFAULT_URL)


def _joins_given(place: _Place) -> bool:
    """Whether overrides of the environment are meant for this run: the first that takes the given name does."""
    return bool(os.environ.get("LARDER_PARAMS")) and os.environ.get("LARDER_RUN", place.id) == place.id


def _overrides() -> dict[str, Param]:
    try:
        document = json.loads(os.environ.get("LARDER_PARAMS") or "{}")
    except ValueError as error:
        guard.warn("LARDER_PARAMS", guard.describe(error))
        return {}
    if not isinstance(document, dict):
        return {}
    # What was masked when it was recorded is no value to run with.
    return {str(name): params.plain(value) for name, value in document.items() if value != params.MASK}


def _settings() -> config.Config:
    try:
        return config.load()
    except Exception as error:  # a damaged file of settings does not stop the work
        guard.warn("config", guard.describe(error))
        return config.Config(config.DEFAULT_URL, "", config.home())


def _info(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _asked(settings: config.Config, run: str) -> dict[str, Any]:
    """What the server knows of a run that is resumed here for the first time; nothing when it does not answer soon."""
    try:
        from larder.contract import runs
        from larder.transport import Transport

        transport = Transport(settings.url, settings.token, retries=0, timeout=3.0, connect_timeout=1.0)
        known = transport.call(runs.GET, run_id=run)
        steps = [summary.last_step for name, summary in known.metrics.items() if not name.startswith("system/")]
        return {
            "project": known.project,
            "name": known.name,
            "params": known.params,
            "last_step": max(steps, default=-1),
            "attempt": known.attempt,
            "completed": known.status is runs.RunStatus.COMPLETED,
        }
    except Exception as error:  # resuming works without
        guard.warn("resume", f"the server cannot be asked for the last step, {guard.describe(error)}")
        return {}


def _last_unsent_step(folder: Path) -> int:
    """The largest step of the points that wait in a folder; -1 when there is none."""
    from larder.journal import reader

    last = -1
    for journal in reader.journals(folder):
        with guard.guarded("resume"):
            if journal.role != "companion":
                for _, record in journal.records(journal.acknowledged):
                    if record[0] == format.POINTS:
                        last = max(last, record[2])
        journal.close()
    return last


def _write_info(folder: Path, run: Run, url: str, kind: str, sources: Mapping[str, bool]) -> None:
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    spec = getattr(main, "__spec__", None)
    document = {
        "run": run.id,
        "project": run.project,
        "name": run.name,
        "kind": kind,
        "url": url,
        "attempt": run._place.attempt,
        "agent": run._place.agent,
        "mode": run._mode,
        "role": run.role,
        "rank": run.rank,
        "pid": os.getpid(),
        "started": _now(),
        "cwd": _cwd(),
        "argv": list(getattr(sys, "orig_argv", sys.argv)),
        "executable": sys.executable,
        "script": os.path.abspath(script) if script else "",
        "module": getattr(spec, "name", "") or "",
        "python": sys.version.split()[0],
        "prefix": sys.prefix,
        "sys_path": list(sys.path),
        "capture": dict(sources),
    }
    draft = folder / f"run.json.{os.getpid()}"
    draft.write_text(json.dumps(document, default=str), encoding="utf-8", errors="replace")
    os.replace(draft, folder / "run.json")


_SHOWN = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONHASHSEED", "RANK", "LOCAL_RANK", "WORLD_SIZE", "VIRTUAL_ENV",
          "CONDA_DEFAULT_ENV", "SLURM_JOB_ID", "TZ", "LANG")  # fmt: skip


def _command() -> dict[str, Any]:
    """How this process was started; of the environment only what is known to hold no secret."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    return {
        "argv": list(sys.argv),
        "executable": sys.executable,
        "python": sys.version.split()[0],
        "cwd": _cwd(),
        "module": getattr(spec, "name", "") or "",
        "script": os.path.abspath(getattr(main, "__file__", "") or "") if getattr(main, "__file__", None) else "",
        "env": {name: os.environ[name] for name in _SHOWN if name in os.environ},
    }


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


_FIRST = ("amber", "brisk", "calm", "crisp", "dusty", "early", "fair", "fresh", "gentle", "golden", "hidden", "keen",
          "late", "light", "lively", "mellow", "merry", "mild", "noble", "plain", "proud", "quick", "quiet", "rapid",
          "ripe", "salty", "sharp", "silver", "spicy", "steady", "sunny", "sweet")  # fmt: skip
_SECOND = ("almond", "apple", "barley", "basil", "bean", "berry", "bread", "cherry", "clove", "cocoa", "fennel", "fig",
           "ginger", "grape", "hazel", "honey", "lemon", "lentil", "maple", "mint", "nutmeg", "oat", "olive", "orange",
           "peach", "pear", "pepper", "plum", "quince", "rye", "sage", "thyme")  # fmt: skip


def _name(run: str) -> str:
    """A name that can be spoken, the same in every process of a run."""
    number = int(run.replace("-", "")[-8:], 16)
    return f"{_FIRST[number % 32]}-{_SECOND[number // 32 % 32]}-{number // 1024 % 1000}"


# -- the end of the process ------------------------------------------------------------------------------------------

_failure: BaseException | None = None
_exit: tuple[Any] | None = None
_watching = False


def _watch_exit() -> None:
    """Learns how the process ends: an exception that nobody caught, `sys.exit`, or the last line."""
    global _watching
    if _watching:
        return
    _watching = True
    before, exit_before = sys.excepthook, sys.exit

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
        global _failure
        _failure = error
        return before(kind, error, trace)

    def leave(status: Any = None, /) -> Any:
        global _exit
        _exit = (status,)
        exit_before(status)

    sys.excepthook = excepthook
    leave.__doc__ = exit_before.__doc__
    sys.exit = leave
    os.register_at_fork(after_in_child=_after_fork)
    atexit.register(_at_exit)


def _watch_worker() -> None:
    """A worker of multiprocessing ends without what is registered with `atexit`, but not without its finalizers."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _at_exit, exitpriority=100)


def _at_exit() -> None:
    run = _run
    if run is None or run.finished:
        return
    notebook = sys.modules.get("larder.capture.notebook")
    if notebook is not None and notebook.is_restart():
        run.finish("stopped", reason="the kernel was restarted")  # so that it can be resumed
        return
    error = _failure or sys.exc_info()[1]
    # A later hook that does not call ours leaves its trace here; in a notebook every failed cell does.
    if error is None and not hasattr(sys, "ps1") and "IPython" not in sys.modules:
        error = getattr(sys, "last_value", None)
    if error is None and _exit is not None:
        error = SystemExit(*_exit)
    run._finish_with(error)


def _after_fork() -> None:
    if _run is not None:
        if not _run.finished:
            _joined.discard(_run.id)  # `init` joins the run of the parent, as in a spawned child
        _run._forked()


def _exit_status(code: Any) -> tuple[int, str]:
    if code is None:
        return 0, ""
    if isinstance(code, int):
        return code, "" if code == 0 else f"exit status {code}"
    return 1, str(code)[:1000]


# -- values ----------------------------------------------------------------------------------------------------------


def _now() -> int:
    return _time_ns() // 1000


def _flat_metrics(metrics: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _flat_metrics(value, f"{path}{key}/")
        else:
            yield f"{path}{key}", value


def _number(value: Any) -> float:
    if isinstance(value, int | float):
        return float(value)
    item = getattr(value, "item", None)
    if callable(item):
        value = item()
    if isinstance(value, str | bytes) or value is None:
        raise TypeError(f"a {type(value).__name__} is no number")
    return float(value)


def _whole(step: Any) -> int:
    item = getattr(step, "item", None)
    if callable(item):
        step = item()
    if isinstance(step, int):
        return int(step)
    number = _number(step)
    if not number.is_integer():
        raise ValueError(f"a step is a whole number, not {number}")
    return int(number)


def _key(name: str) -> str:
    text = str(name)
    if not text or len(text) > LONGEST_NAME or not text.isprintable():
        raise ValueError(f"a name is 1 to {LONGEST_NAME} printable characters, not {text[:60]!r}")
    return text


def _printable(text: str, what: str) -> str:
    cleaned = "".join(character if character.isprintable() else " " for character in str(text)).strip()[:LONGEST_NAME]
    if not cleaned:
        raise ValueError(f"the {what} is empty")
    return cleaned


def _artifact_name(name: str) -> str:
    text = _key(name)
    if text.startswith("/") or "\\" in text or any(part in ("", ".", "..") for part in text.split("/")):
        raise ValueError(f"{text!r} names no place inside the run")
    return text


def _stem(name: str) -> str:
    return str(name).rsplit("/", 1)[-1]


def _is_locked(path: Path) -> bool:
    """Whether somebody holds the lock of a folder."""
    import fcntl

    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
