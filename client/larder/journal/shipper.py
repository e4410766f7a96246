"""Sends the journals of a run's folder, packed into columns, and remembers how far the server has them.

Promises: one shipper at a time works on a folder (it holds the lock of the folder); a stretch is sent again until the
server has acknowledged it, and the server stores it once; nothing that a journal holds can stop the shipper for ever.
"""

import dataclasses
import fcntl
import json
import os
import shutil
import socket
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from larder import config
from larder.contract import errors, objects, runs
from larder.journal import format, reader
from larder.journal.writer import Writer

MAX_POINTS = 200_000
MAX_BYTES = 4 << 20
"""What a batch holds at most of packed points, and of everything else."""

MOVED = "moved"
"""The file in a run's folder that says: an agent goes on with this run, nothing more is sent from here."""

_READ = 8 << 20
_KILLED = "the process ended without a word (killed?)"


class Calls(Protocol):
    """What the shipper uses of a transport."""

    url: str

    def call(self, endpoint: Any, body: Any = None, **path: object) -> Any:
        """Does what the endpoint says."""
        ...

    def upload(self, endpoint: Any, source: Any, progress: Callable[[int], None] | None = None, **path: object) -> Any:
        """Sends the bytes of a file."""
        ...


class Refused(errors.LarderError):
    """The server wants nothing more of this run."""

    code = "refused"


@dataclass
class Packed:
    """A stretch of a journal as one batch; `held` says that it stops before the end of the run."""

    batch: runs.Batch
    end: int
    records: int
    held: bool = False


@dataclass(frozen=True, kw_only=True)
class SyncReport:
    """What `sync` did: runs sent whole, runs whose process still lives, runs that the server refuses, with the
    reasons of the last two kinds of trouble by folder, and the records that could not be sent.
    """

    sent: list[str] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    records: int = 0
    lost_records: int = 0


# -- packing: pure ---------------------------------------------------------------------------------------------------


def pack(
    data: bytes,
    offset: int,
    *,
    writer: str,
    attempt: int = 0,
    hold_ending: bool = False,
    max_records: int | None = None,
    sources: dict[str, str] | None = None,
) -> Packed:
    """The records of `data`, which begins at `offset` of the journal, as one batch; ends where a batch is full.

    `sources` gathers what each source of capture says of itself over all journals of a run.
    """
    columns: dict[str, tuple[Callable[[int], None], Callable[[int], None], Callable[[float], None]]] = {}
    arrays: dict[str, tuple[array[int], array[int], array[float]]] = {}
    rest = _Rest({} if sources is None else sources)
    decode = reader.decode
    points = size = records = 0
    held = False
    position = start = 0 if offset else len(format.MAGIC)
    for end, payload in format.frames(data, start):
        # The second byte is the kind: the head of a short array takes one.
        kind = payload[1]
        if kind == format.POINTS:
            _, time_us, step, values = decode(payload)
            for name, value in values.items():
                column = columns.get(name)
                if column is None:
                    trio = arrays[name] = array("q"), array("q"), array("d")
                    column = columns[name] = trio[0].append, trio[1].append, trio[2].append
                column[0](step)
                column[1](time_us)
                column[2](value)
            points += len(values)
        elif kind == format.END and hold_ending:
            held = True
            break
        else:
            rest.take(kind, decode(payload))
            size += len(payload)
        position = end
        records += 1
        if points >= MAX_POINTS or size >= MAX_BYTES or records == max_records or kind == format.END:
            break
    stop = offset + position if records else offset
    batch = runs.Batch(
        writer=writer,
        start=offset,
        end=stop,
        attempt=attempt,
        opening=rest.opening,
        series=[
            runs.Series(name=name, steps=_bytes(steps), times=_bytes(times), values=_bytes(values))
            for name, (steps, times, values) in arrays.items()
        ],
        console=rest.console,
        params=rest.params,
        facts=rest.facts,
        add_tags=rest.add_tags,
        remove_tags=rest.remove_tags,
        name=rest.name,
        notes=rest.notes,
        artifacts=rest.artifacts,
        ending=rest.ending,
        closed=rest.ending is not None,
    )
    return Packed(batch, stop, records, held)


class _Rest:
    """All kinds of records but points, gathered: of what can be said once, the last word counts."""

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources
        self.opening: runs.Opening | None = None
        self.console: list[runs.ConsoleLine] = []
        self.params: dict[str, runs.Param] = {}
        self.facts: dict[str, Any] = {}
        self.add_tags: list[str] = []
        self.remove_tags: list[str] = []
        self.name: str | None = None
        self.notes: str | None = None
        self.artifacts: list[runs.NewArtifact] = []
        self.ending: runs.Ending | None = None

    def take(self, kind: int, record: list[Any]) -> None:
        if kind == format.CONSOLE:
            _, time_us, stream, text, rank = record
            self.console.append(runs.ConsoleLine(time=time_us, stream=stream, text=text, rank=rank))
        elif kind == format.FACT:
            name, document = record[2], record[3]
            if name == "sources":
                # Every process of a run tells of its own sources; the run shows all of them in one document.
                for source, state in document.items():
                    if state not in ("off", "absent") or source not in self.sources:
                        self.sources[source] = state
                document = dict(self.sources)
            self.facts[name] = document
        elif kind == format.PARAMS:
            self.params.update(record[2])
        elif kind == format.TAGS:
            self._tags(record[2], record[3])
        elif kind == format.SET:
            if record[2] == "name":
                self.name = record[3]
            else:
                self.notes = record[3]
        elif kind == format.ARTIFACT:
            self.artifacts.append(msgspec.convert(record[2], runs.NewArtifact))
        elif kind == format.OPEN:
            self.opening = msgspec.convert(record[2], runs.Opening)
        elif kind == format.END:
            self.ending = msgspec.convert(record[2], runs.Ending)
        # Another kind comes from a younger version of the writer, and nothing here could say what it means.

    def _tags(self, add: list[str], remove: list[str]) -> None:
        for tag in add:
            if tag in self.remove_tags:
                self.remove_tags.remove(tag)
            if tag not in self.add_tags:
                self.add_tags.append(tag)
        for tag in remove:
            if tag in self.add_tags:
                self.add_tags.remove(tag)
            if tag not in self.remove_tags:
                self.remove_tags.append(tag)


def _bytes(column: "array[Any]") -> bytes:
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


# -- shipping --------------------------------------------------------------------------------------------------------


class Shipper:
    """Ships one folder. The caller holds its lock (`locked`)."""

    def __init__(
        self,
        folder: Path,
        calls: Calls,
        *,
        say: Callable[[str], None] = lambda message: None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.folder = folder
        self.info = read_info(folder)
        self.run = str(self.info.get("run") or folder.name.partition(".")[0])
        self.attempt = int(self.info.get("attempt") or 0)
        self.agent = bool(self.info.get("agent"))
        self.stop = False
        self.lost = 0
        self.records = 0
        self._calls = calls
        self._say = say
        self._progress = progress
        self._journals: dict[Path, reader.Journal] = {}
        self._limits: dict[str, int] = {}
        self._closed: set[str] = set()
        self._sources: dict[str, str] = _read_json(folder / "sources.json")

    def journals(self) -> list[reader.Journal]:
        """The journals of the folder, the oldest first."""
        found = []
        for path in sorted(self.folder.glob(f"*{format.SUFFIX}")):
            if path not in self._journals:
                self._journals[path] = reader.Journal(path)
            if self._journals[path].known:
                found.append(self._journals[path])
        return found

    @property
    def main(self) -> reader.Journal | None:
        """The journal of the run's main process; the newest when it was begun again."""
        return next((journal for journal in reversed(self.journals()) if journal.role == "main"), None)

    @property
    def ended(self) -> bool:
        """Whether some journal says how the run ended, and no main process has come since."""
        last = self.main
        return any(
            journal.ending() is not None
            for journal in self.journals()
            if journal.role in ("main", "agent", "companion") and (last is None or journal.writer >= last.writer)
        )

    @property
    def pending(self) -> int:
        """Bytes that the server has not acknowledged."""
        return sum(max(0, journal.size - journal.acknowledged) for journal in self.journals())

    def ship(self, *, hold_ending: bool = False) -> bool:
        """Sends all there is, the journal that ends the run last, since a run that has ended takes no more.

        Answers whether anything was sent; raises Unavailable, Denied or Refused when it cannot go on.
        """
        sent = False
        for journal in self.journals():
            # The run is made, or begun again, by the words of its main process; others do not know its kind and parent.
            if journal.role == "main" and not journal.acknowledged:
                sent = self._ship_part(journal, hold_ending=True) or sent
        for journal in sorted(self.journals(), key=lambda each: (each.ending() is not None, each.role == "main")):
            # Only what is there now: a process that writes without pause must not keep us here.
            end = journal.size
            while journal.acknowledged < end and self._ship_part(journal, hold_ending=hold_ending):
                sent = True
        return sent

    def beat(self) -> None:
        """Tells the server that the run lives, and hears whether it shall stop."""
        journal = self.main or next(iter(self.journals()), None)
        if journal is not None and journal.acknowledged:
            offset = journal.acknowledged
            self._append(journal, runs.Batch(writer=journal.writer, start=offset, end=offset, attempt=self.attempt))

    def close_dead(self) -> None:
        """Ends on the server the journals of processes that are gone and have nothing more to say."""
        for journal in self.journals():
            if journal.writer in self._closed or journal.alive or journal.size > journal.acknowledged:
                continue
            offset = journal.acknowledged
            if offset and journal.ending() is None:
                batch = runs.Batch(writer=journal.writer, start=offset, end=offset, attempt=self.attempt, closed=True)
                self._append(journal, batch)
            self._closed.add(journal.writer)

    def close(self) -> None:
        """Lets go of the files."""
        for journal in self._journals.values():
            journal.close()
        self._journals.clear()

    def _ship_part(self, journal: reader.Journal, *, hold_ending: bool) -> bool:
        offset = journal.acknowledged
        if journal.size <= offset:
            return False
        data = journal.read(offset, _READ)
        before = dict(self._sources)
        packed = pack(
            data,
            offset,
            writer=journal.writer,
            attempt=self.attempt,
            hold_ending=hold_ending,
            max_records=self._limits.get(journal.writer),
            sources=self._sources,
        )
        if not packed.records:
            return not packed.held and self._mend(journal, data, offset)
        if self._sources != before:
            write_json(self.folder / "sources.json", self._sources)
        artifacts = self._upload(packed.batch.artifacts)
        batch = dataclasses.replace(packed.batch, artifacts=artifacts)
        try:
            if not self._append(journal, batch):
                return True
        except errors.Invalid as error:
            return self._isolate(journal, packed, error)
        self.records += packed.records
        self._limits.pop(journal.writer, None)
        for artifact in artifacts:
            for file in artifact.files:
                (self.folder / "files" / file.hash).unlink(missing_ok=True)
        return True

    def _append(self, journal: reader.Journal, batch: runs.Batch) -> bool:
        """Whether the server has taken the batch; False when it has the journal up to another offset."""
        try:
            answer: runs.Acknowledged = self._calls.call(runs.APPEND, batch, run_id=self.run)
        except errors.Conflict as error:
            return self._settle(journal, batch, error)
        except errors.NotFound as error:
            raise Refused(f"the server does not know the run: {error}") from error
        self.stop = self.stop or answer.stop
        if answer.offset != journal.acknowledged:
            journal.acknowledge(answer.offset)
        return True

    def _settle(self, journal: reader.Journal, batch: runs.Batch, error: errors.Conflict) -> bool:
        """The server has another idea of the journal: go on from there. Or it wants nothing more of it."""
        question = runs.Batch(writer=batch.writer, start=0, end=0, attempt=batch.attempt)
        try:
            offset = self._calls.call(runs.APPEND, question, run_id=self.run).offset
        except errors.Conflict:
            # An offset is told to whoever may write; this attempt of the run may not.
            raise Refused(f"another attempt of this run goes on elsewhere: {error}") from error
        if offset != journal.acknowledged:
            if offset > journal.size:
                raise Refused(f"the server has {offset} bytes of a journal of {journal.size}: {error}") from error
            journal.acknowledge(offset)
            return False
        opens = batch.opening is not None and batch.opening.role == "main"
        if self.attempt or opens:
            raise Refused(str(error)) from error
        # The run has ended: what another process of it still had to say has come too late.
        if batch.end > batch.start:
            late = sum(1 for _ in journal.records(batch.start))
            self.lost += late
            self._say(f"{late} records came too late: {error}")
            journal.acknowledge(journal.size)
        return False

    def _isolate(self, journal: reader.Journal, packed: Packed, error: errors.Invalid) -> bool:
        """Somewhere in the batch is a record that the server does not take: halve it until that one is alone."""
        if packed.records > 1:
            self._limits[journal.writer] = packed.records // 2
            return True
        self.lost += 1
        self._say(f"a record was refused and left out: {error}")
        self._limits.pop(journal.writer, None)
        batch = packed.batch
        self._append(journal, runs.Batch(writer=batch.writer, start=batch.start, end=batch.end, attempt=batch.attempt))
        return True

    def _mend(self, journal: reader.Journal, data: bytes, offset: int) -> bool:
        """Nothing can be read at `offset`: a living writer is in the middle of it; of a dead one it is cut out."""
        if journal.alive or journal.size == offset:
            return False
        position = 0 if offset else len(format.MAGIC)
        if len(data) <= position:
            return False
        self.lost += 1
        following = reader.resume(data, position)
        if following is None:
            self._say(f"the last {journal.size - offset - position} bytes of {journal.path.name} were torn and cut off")
            journal.cut(offset)
            return False
        self._say(f"{following - position} damaged bytes of {journal.path.name} were left out")
        self._append(
            journal,
            runs.Batch(writer=journal.writer, start=offset, end=offset + following, attempt=self.attempt),
        )
        return True

    def _upload(self, artifacts: list[runs.NewArtifact]) -> list[runs.NewArtifact]:
        """Puts the files into the object store; answers the artifacts of which all files are there."""
        wanted = sorted({file.hash for artifact in artifacts for file in artifact.files})
        gone: set[str] = set()
        for first in range(0, len(wanted), 10_000):
            asked = objects.Hashes(hashes=wanted[first : first + 10_000])
            for name in self._calls.call(objects.MISSING, asked).hashes:
                try:
                    self._calls.upload(objects.PUT, self.folder / "files" / name, self._progress, hash=name)
                except FileNotFoundError:
                    gone.add(name)
        if not gone:
            return artifacts
        kept = [artifact for artifact in artifacts if not any(file.hash in gone for file in artifact.files)]
        self.lost += len(artifacts) - len(kept)
        self._say(f"{len(artifacts) - len(kept)} artifacts lack their bytes and were left out")
        return kept


# -- folders ---------------------------------------------------------------------------------------------------------


def read_info(folder: Path) -> dict[str, Any]:
    """What run.json says of the run; empty when it is not there or damaged."""
    return _read_json(folder / "run.json")


def read_state(folder: Path) -> dict[str, Any]:
    """What the companion has last said of the server; empty when it has said nothing."""
    return _read_json(folder / "state.json")


@contextmanager
def locked(folder: Path, *, wait: float = 0.0, living: bool = True) -> Iterator[bool]:
    """Holds the lock of a folder, waiting up to `wait` seconds; yields whether it could be had.

    Not `living`: gives up at once when a writer of the folder lives.
    """
    try:
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        yield False
        return
    try:
        until = time.monotonic() + wait
        held = False
        while not held:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
            except OSError:
                if time.monotonic() >= until or (not living and alive(folder)):
                    break
                time.sleep(0.05)
        # The holder before us may have finished and removed the folder.
        yield held and os.fstat(file).st_nlink > 0
    finally:
        os.close(file)


def alive(folder: Path) -> bool:
    """Whether a process that records into this folder still lives (its companion does not count)."""
    found = False
    for journal in reader.journals(folder):
        found = found or (journal.alive and journal.role != "companion")
        journal.close()
    return found


def end_killed(shipper: Shipper, writer: Writer | None = None) -> bool:
    """Writes the end of a run whose main process is gone without one; whether that was to be done.

    An agent's run is left alone: the agent tells how it ended, or its lease runs out and the run starts again.
    """
    main = shipper.main
    if main is None or main.alive or shipper.agent or shipper.ended:
        return False
    # one that was asked to stop and died of it has stopped
    status, reason = ("stopped", "") if shipper.stop else ("failed", _KILLED)
    ending = {"status": status, "time": main.modified, "reason": reason}
    own = writer or Writer(shipper.folder, companion_opening(shipper.info, main.opening))
    own.record(format.END, ending)
    if writer is None:
        own.close()
    return True


def companion_opening(info: dict[str, Any], opening: dict[str, Any]) -> dict[str, Any]:
    """How a companion introduces itself in a journal of its own."""
    return {
        "project": info.get("project") or opening.get("project") or "default",
        "name": info.get("name") or opening.get("name") or "",
        "time": time.time_ns() // 1000,
        "host": socket.gethostname(),
        "role": "companion",
    }


def sync(
    home: "str | os.PathLike[str] | None" = None,
    url: str | None = None,
    token: str | None = None,
    report: Callable[[str], None] | None = None,
    *,
    calls: Calls | None = None,
    only: Callable[[dict[str, Any]], bool] = lambda info: True,
    skip: Iterable[Path] = (),
    patience: float = 10.0,
) -> SyncReport:
    """Sends what dead and offline processes have left in the home folder, and ends their runs.

    A run whose process lives is left to its companion; a companion that is just finishing is waited for. `report`
    hears a line for each run. Runs that cannot be sent stay; `waiting` of the answer says why.
    """
    say = report or (lambda message: None)
    settings = config.load(url=url, token=token, home=Path(home) if home else None)
    transport = calls or config.connect(settings)
    result = SyncReport()
    records = lost = 0
    skipped = {path.absolute() for path in skip}
    for doomed in settings.runs.glob(".*"):
        # Somebody died while removing a folder that was all on the server; who is just removing one is left alone.
        if doomed.stat().st_mtime < time.time() - 60 and not any(map(_busy, reader.journals(doomed))):
            shutil.rmtree(doomed, ignore_errors=True)
    for folder in sorted(settings.runs.glob("[!.]*")):
        if not folder.is_dir() or folder.absolute() in skipped or not only(read_info(folder)):
            continue
        if alive(folder):
            result.alive.append(folder.name)
            say(f"{folder.name}: still running, its own companion sends it")
            continue
        with locked(folder, wait=patience, living=False) as held:
            if not held:
                if folder.exists():
                    result.waiting[folder.name] = "another process is sending it"
                continue
            if (folder / MOVED).exists():
                shutil.rmtree(folder, ignore_errors=True)
                continue
            shipper = Shipper(folder, transport, say=lambda message, name=folder.name: say(f"{name}: {message}"))  # type: ignore[misc]
            try:
                end_killed(shipper)
                shipper.ship()
                shipper.close_dead()
            except Refused as error:
                result.refused[folder.name] = str(error)
                say(f"{folder.name}: refused, {error}")
            except errors.Denied as error:
                result.waiting[folder.name] = str(error)
                say(f"{folder.name}: {error}")
                break
            except errors.LarderError as error:
                result.waiting[folder.name] = str(error)
                say(f"{folder.name}: {error}")
                if isinstance(error, errors.Unavailable):
                    break
            except OSError as error:  # a full disk, most likely: what is there waits until there is room
                result.waiting[folder.name] = str(error)
                say(f"{folder.name}: {error}")
            else:
                result.sent.append(folder.name)
                say(f"{folder.name}: {shipper.records} records sent")
                remove(folder)
            finally:
                records += shipper.records
                lost += shipper.lost
                shipper.close()
    return SyncReport(
        sent=result.sent,
        alive=result.alive,
        refused=result.refused,
        waiting=result.waiting,
        records=records,
        lost_records=lost,
    )


def remove(folder: Path) -> bool:
    """Removes a folder that is all on the server, and answers whether; the caller holds its lock.

    It stays when a process has begun to record into it in the meantime.
    """
    # Renamed first: a process that begins the run again finds the folder whole or not at all.
    doomed = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        os.rename(folder, doomed)
    except OSError:
        return False
    if any(_busy(journal) for journal in reader.journals(doomed)):
        os.rename(doomed, folder)
        return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True


def _busy(journal: reader.Journal) -> bool:
    try:
        return journal.alive or journal.size > journal.acknowledged
    finally:
        journal.close()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace a file by a document, at once: who reads meanwhile finds the old one or the new one."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(document), encoding="utf-8")
    os.replace(draft, path)
