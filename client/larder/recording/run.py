"""The live run that `larder.init` makes: each method appends records to the journal of this process."""

import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from larder import config, guard, params
from larder.contract.values import Param
from larder.journal import format
from larder.journal.writer import Writer
from larder.recording import companion, end, facts, values
from larder.recording.place import SCRIPT, STARTED, Place

if TYPE_CHECKING:
    from larder.checkpoints import Checkpoint
    from larder.recording.dry import DrySteps

Function = TypeVar("Function", bound=Callable[..., Any])

_time_ns = time.time_ns


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


class Run:
    """A live run. Made by `larder.init`; methods may be called from any thread and never raise."""

    def __init__(
        self,
        place: Place,
        project: str,
        name: str,
        url: str,
        *,
        folder: Path | None = None,
        opening: Any = None,
        undecided: bool = False,
    ) -> None:
        self.id = place.id
        self.name = name
        self.project = project
        self.role = place.role
        self.rank = place.rank
        self.url = f"{url}/runs/{place.id}"
        self.overrides: dict[str, Param] = {}
        self.wraps = False
        """Whether this process only starts the script, as `larder run` does."""
        self.folder = folder
        self._place = place
        self._mode = place.mode
        self._server = url
        self._opening = opening
        self._idle = place.mode == "disabled"
        self._over = False
        self._step = -1
        self._shapes: dict[tuple[str, ...], Callable[..., bytes]] = {}
        # The last record of points of each set of names, as it was written: what a checkpoint tells of its moment.
        self._latest: dict[Any, bytes] = {}
        self._checkpoint: Any = None
        self._dry: DrySteps | None = None
        # Ranks log the same names; only the first rank's are the run's own, so that nothing is there twice.
        self._prefix = f"rank.{place.rank}/" if place.rank else ""
        self._values: dict[str, Any] = {}
        self._lost_before = 0
        self._companion: companion.Companion | None = None
        self._environment: dict[str, str | None] = {}
        self._pid = os.getpid()
        self.params: MutableMapping[str, Any] = Params(
            lambda values: self.record_params(values, source="code"), self._values
        )
        self._writer: Writer | _Unopened = _Unopened(self, undecided=undecided)
        if not self._idle and not undecided:
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
                if self._dry is not None:
                    self._dry.take(step)
                self._latest[pack] = payload = pack(_time_ns() // 1000, step, metrics.values())
                self._writer.append(payload)
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
        self._keep(name, "figure", form, {f"{values.stem(name)}.{form}": content}, {}, step)

    @_quiet
    def log_image(self, name: str, image: Any, step: int | None = None) -> None:
        """Keeps an image: a path, an image of PIL, or an array of bytes or of floats from 0 to 1."""
        from larder import media

        form, content = media.image(image)
        self._keep(name, "image", form, {f"{values.stem(name)}.{form}": content}, {}, step)

    @_quiet
    def log_table(self, name: str, frame: Any, step: int | None = None) -> None:
        """Keeps a table: a data frame, a list of rows, or a mapping of columns.

        Cells may be images, of PIL or as arrays: the page of the run shows them beside the other values, and sorts the
        rows by any column, such as the loss of each sample.
        """
        import tempfile

        from larder import serial

        with tempfile.TemporaryDirectory(prefix="larder-") as scratch:
            saved = serial.table(frame, name, Path(scratch))
            self._keep(name, "table", saved.format, saved.files, saved.metadata, step)

    @_quiet
    def log_text(self, name: str, text: str, step: int | None = None) -> None:
        """Keeps a text."""
        self._keep(name, "text", "text", {f"{values.stem(name)}.txt": str(text).encode("utf-8", "replace")}, {}, step)

    @_quiet
    def set_tags(self, *tags: str) -> None:
        """Adds tags."""
        self._say(format.TAGS, [values.printable(tag, "tag") for tag in tags], [])

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
        self.name = values.printable(name, "name")
        self._say(format.SET, "name", self.name)

    # -- checkpoints, and going on elsewhere

    @property
    def step(self) -> int:
        """The step that comes next: 0 at the start, and the one after the checkpoint in a run that continues."""
        return self._step + 1

    @property
    def checkpoint(self) -> "Checkpoint | None":
        """What this run continues from, as `larder.init` was asked to; None when it begins anew."""
        return cast("Checkpoint | None", self._checkpoint)

    @_quiet
    def log_checkpoint(
        self,
        value: Any,
        name: str = "checkpoint",
        step: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Keeps a state to continue from: a path, a folder, a state dict, a model, bytes, or any object.

        It is that of the last logged step, unless `step` says otherwise, and knows the last value of each metric. Of
        the ranks of a distributed job only the first one's is kept.
        """
        if self.rank:
            return
        import tempfile

        from larder import serial

        metrics = self._last_values()
        with tempfile.TemporaryDirectory(prefix="larder-") as scratch:
            saved = serial.save(value, name, Path(scratch))
            given = {
                **saved.metadata,
                **(metadata or {}),
                "metrics": {**metrics, **(metadata or {}).get("metrics", {})},
            }
            at = max(0, self._step) if step is None else step
            self._keep(name, "checkpoint", saved.format, saved.files, given, at)

    def move_to(self, queue: str = "default", needs: Any = None) -> None:
        """Goes on with an agent of that queue: sends what is recorded, puts this run into the queue, ends this process.

        `needs` is written as on the command line: `"gpus=1,memory=8GB"`. The script begins anew there, so that what
        stands before this call happens twice; on an agent the call does nothing. Where the run cannot be moved, it
        says why, and the script goes on here.
        """
        if self._idle or self._place.agent:
            return
        from larder.recording import move

        with guard.guarded("Run.move_to"):
            place = move.move(self, queue, needs)
            self._over = self._idle = True
            self._restore()
            guard.say(f"run {self.name} goes on in the queue {queue}: {place}")
            raise SystemExit(0)

    @_quiet
    def expect(self, steps: int) -> None:
        """Says how many steps there will be, so that the run's page can tell when it is going to end."""
        self.record_fact("progress", {"steps": int(steps)})

    @_quiet
    def on_stop(self, callback: Callable[[], object]) -> None:
        """Calls back when somebody asks this run to stop: the moment to keep a last checkpoint. Then the process ends.

        An agent waits 30 seconds, unless it was started with another grace. To be called in the main thread.
        """
        from larder.recording import stop

        stop.listen(self, callback)

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
                self._say(
                    format.PARAMS, {values.key(name): params.recorded(name, value) for name, value in flat.items()}
                )
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

    def _start(self, given: Any, sources: Mapping[str, bool], overrides: dict[str, Param]) -> None:
        """What comes right after the opening: overrides and parameters, the way for children, capture, companion."""
        self.overrides = overrides
        if self.overrides:
            self._values.update(self.overrides)
            if not self._idle and (self.role == "main" or self._place.script) and not self.rank:
                self._say(
                    format.PARAMS,
                    {values.key(name): params.recorded(name, value) for name, value in self.overrides.items()},
                )
        if given is not None:
            self.record_params(given, source="init")
        if self._idle:
            return
        end.watch(self)
        if self._place.script:
            os.environ[SCRIPT] = str(os.getpid())
        end.watch_worker()
        if "LARDER_DRY_STEPS" in os.environ:
            with guard.guarded("LARDER_DRY_STEPS"):
                from larder.recording import dry

                limit = dry.asked()
                self._dry = dry.DrySteps(limit, lambda: self.set_tags("dry")) if limit else None
        if self.role == "main":
            self._say(format.FACT, "command", facts.command())
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
        opening = {**self._opening, "time": values.now(), "role": self.role}
        for _ in range(3):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileNotFoundError):  # the companion of an earlier process has just removed the folder
                writer = Writer(self.folder, opening)
                break
        else:
            writer = Writer(self.folder, opening)
        if opening.get("restarted"):
            # Said once: what its own children write later belongs to this start.
            os.environ[STARTED] = "1"
            self._opening = {**self._opening, "restarted": False}
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
            for name, value in values.flat(metrics, ""):
                try:
                    found[self._prefix + values.key(name)] = values.number(value)
                except Exception as error:
                    guard.warn(f"metric {name[:100]!r}", guard.describe(error))
            if not found:
                return
            names = tuple(found)
            pack = format.points(names)
            whole = None if step is None else values.whole(step)
            with self._lock:
                whole = self._step + 1 if whole is None else whole
                if self._dry is not None:
                    self._dry.take(whole)
                payload = pack(_time_ns() // 1000, whole, found.values())
                self._latest.pop(names, None)
                if len(self._latest) >= 2000:
                    del self._latest[next(iter(self._latest))]
                self._latest[names] = payload
                self._writer.append(payload)
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
        name = values.artifact_name(name)
        stored = []
        for path, content in files.items():
            digest, size = spool.store(self.folder, content)
            stored.append({"path": path, "hash": digest, "size": size})
        document = {
            "name": name,
            "kind": kind,
            "format": form,
            "files": stored,
            "step": None if step is None else values.whole(step),
            "metadata": dict(metadata),
            "time": values.now(),
        }
        self._say(format.ARTIFACT, document)

    def _finish_with(self, error: BaseException | None) -> None:
        if error is None:
            self.finish()
        elif isinstance(error, KeyboardInterrupt):
            self.finish("stopped", reason="KeyboardInterrupt")
        elif isinstance(error, SystemExit):
            status, reason = end.exit_status(error.code)
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
        if self._mode == "disabled":
            return
        if isinstance(self._writer, _Unopened) and not self._writer.undecided:
            return
        with guard.guarded("capture"):
            capture = sys.modules.get("larder.capture")
            if capture is not None:
                capture.stop(self)
        with guard.guarded("imports"):
            self._tell_imports()
        self._idle = True
        writer = self._writer
        if isinstance(writer, _Unopened):
            writer.give_up()
            return
        if self.role != "main" or os.getpid() != self._pid:
            if self._place.script and os.getpid() == self._pid and not self.rank:
                # The agent ends the run; what the script says of its own end is for it to know.
                self._say(format.FACT, "exit", {"status": status, "exit_status": exit_status, "reason": reason})
            if not writer.settle():
                _tell_lost(self.lost_records, self.name, writer.path)
            writer.close()
            return
        writer.settle()
        lost = self.lost_records
        ending = {
            "status": status,
            "time": values.now(),
            "exit_status": exit_status,
            "reason": reason,
            "lost_records": lost,
        }
        if exit_status is None and status == "completed":
            ending["exit_status"] = 0
        self._say(format.END, ending)
        size = writer.size
        writer.close()
        if lost:
            _tell_lost(lost, self.name, writer.path)
        from larder.recording import wait

        if self._mode == "offline":
            wait.leave(self.name, writer, "")
            return
        if self._companion is None:
            self._accompany()
        wait.Wait(self.name, writer, size, self._companion, self._accompany).run()

    def _accompany(self) -> "companion.Companion | None":
        """Starts the companion process, unless an agent or another process of the run here does its work already."""
        assert self.folder is not None
        if self._place.supervised:
            return None
        if self.role == "main" or not companion.is_locked(self.folder / "lock"):
            with guard.guarded("companion"):
                self._companion = companion.Companion(self.folder)
        return self._companion

    def _hand_over(self) -> list[bytes]:
        """The end of a run that has said nothing yet, for the one that takes its place; answers what it would say."""
        held: list[bytes] = []
        if isinstance(self._writer, _Unopened):
            held, self._writer.held = self._writer.held, []
            with guard.guarded("capture"):
                capture = sys.modules.get("larder.capture")
                if capture is not None:
                    capture.stop(self)
            self._over = self._idle = True
            self._restore()
        return held

    def _tell_imports(self) -> None:
        """What an agent may import in advance the next time that this is executed."""
        is_script = (self.role == "main" and not self.wraps) or self._place.script or self._place.wrapped
        if is_script and os.getpid() == self._pid and not self.rank:
            imported = facts.imports(sys.modules)
            if imported["modules"]:
                self._say(format.FACT, "imports", imported)

    def _last_values(self) -> dict[str, float]:
        from larder.journal import reader

        with self._lock:
            payloads = list(self._latest.values())
        found: dict[str, float] = {}
        for _, _, _, points in sorted(map(reader.decode, payloads), key=lambda record: record[1]):
            found.update(points)
        return found

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
        self._writer = _Unopened(self, undecided=isinstance(self._writer, _Unopened) and self._writer.undecided)
        self._lock = self._writer.lock
        self._environment = {}


class _Unopened:
    """Stands where a writer will be when a forked child first has something to say.

    Undecided, it keeps what comes before the script has said whether it continues from a checkpoint: the first words
    of the journal must tell. Points are of a script that does not ask.
    """

    lost = 0
    closed = False

    def __init__(self, run: Run, *, undecided: bool = False) -> None:
        self._run = run
        self.lock = threading.RLock()
        self.undecided = undecided
        self.held: list[bytes] = []

    def append(self, payload: bytes) -> bool:
        return self._opened().append(payload)

    def record(self, kind: int, *content: Any) -> bool:
        with self.lock:
            if self.undecided and self._run._writer is self:
                self.held.append(format.encode((kind, time.time_ns() // 1000, *content)))
                return True
        return self._opened().record(kind, *content)

    def give_up(self) -> None:
        """The end of a process that never said whether it continues: its words decide nothing for the others."""
        if self.held:
            self._run.role = "companion"
            self._opened().close()

    def _opened(self) -> "Writer | _Unopened":
        with self.lock:
            current = self._run._writer
            if current is not self:
                return current
            writer = self._run._open()
            for payload in self.held:
                writer.append(payload)
            self.held = []
            return writer

    def close(self) -> None:
        """There is nothing to close."""


def _tell_lost(lost: int, name: str, journal: Path) -> None:
    guard.say(f"{lost} records of {name} were lost: they could not be written to {journal}")


def _arrived(run: str, project: str, name: str) -> Run:
    """A run that comes out of a pickle: the one that this process records, else one that takes nothing."""
    from larder import recording  # by the door that user code takes: what begins runs stands above this module

    found = recording.current()
    if found is not None and found.id == run:
        return found
    return Run(Place(id=run, mode="disabled"), project, name, config.DEFAULT_URL)
