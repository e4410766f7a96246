"""Recorded runs: find them, read what they hold, compare them, start copies of them.

`larder.runs(...)` searches, `larder.run(id)` answers one run, `larder.compare(a, b)` sets runs side by side.
"""

import array
import html
import json
import os
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, overload

from blake3 import blake3

from larder import config, shares
from larder import needs as needs_text
from larder.contract import comparisons, events, queues, reading
from larder.contract import runs as contract
from larder.contract.directions import lower_is_better as lower_is_better
from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Invalid, NotFound
from larder.contract.ids import is_id
from larder.transport import Transport

PAGE = 200
"""Runs asked for at once; a longer list is fetched page by page."""

_CHARTS = 50
"""Metrics asked for at once."""

SHORT = 8
"""Characters of an id's end that name a run in a list: a UUIDv7 begins with the time, so beginnings look alike."""


class Series:
    """All points of one metric, or those of a chart: `steps`, `times` (UTC µs) and `values` are lists in order."""

    def __init__(self, *, name: str, steps: list[int], times: list[int], values: list[float], total: int) -> None:
        self.name = name
        self.steps = steps
        self.times = times
        self.values = values
        self.total = total
        """Number of points in the whole series; more than `len(self)` for a chart."""

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return zip(self.steps, self.values, strict=True)

    def __repr__(self) -> str:
        return f"<Series {self.name}: {len(self)} of {self.total} points>"

    def to_pandas(self) -> Any:
        """A pandas Series indexed by step."""
        import pandas  # only here: the SDK itself needs no pandas

        return pandas.Series(self.values, index=pandas.Index(self.steps, name="step"), name=self.name)


class Metrics(Mapping[str, contract.MetricSummary]):
    """Summaries by metric name; called with a name, the whole series."""

    def __init__(self, transport: Transport, run_id: str, summaries: Mapping[str, contract.MetricSummary]) -> None:
        self._transport = transport
        self._run_id = run_id
        self._summaries = dict(sorted(summaries.items()))

    def __getitem__(self, name: str) -> contract.MetricSummary:
        return self._summaries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._summaries)

    def __len__(self) -> int:
        return len(self._summaries)

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {summary.last!r}" for name, summary in self._summaries.items()) + "}"

    def __call__(self, name: str, *, first_step: int | None = None, last_step: int | None = None) -> Series:
        """Every point of a metric, by step."""
        query = contract.MetricQuery(name=name, first_step=first_step, last_step=last_step)
        found = self._transport.call(contract.READ_METRIC, query, run_id=self._run_id)
        values = _column("d", found.values)
        return Series(
            name=name,
            steps=_column("q", found.steps),
            times=_column("q", found.times),
            values=values,
            total=len(values),
        )

    def chart(self, name: str, points: int = 1000) -> Series:
        """A metric reduced to at most `points`, its extremes kept."""
        found = self._transport.call(
            contract.CHART_METRIC, contract.ChartQuery(name=name, points=points), run_id=self._run_id
        )
        return Series(name=name, steps=found.steps, times=found.times, values=found.values, total=found.total)

    def charts(self, names: Sequence[str] | None = None, points: int = 1000) -> dict[str, Series]:
        """Several metrics, all that there are unless named, each reduced to at most `points`; asked for together."""
        wanted = list(self if names is None else names)
        return {chart.name: chart for chart in _charts(self._transport, [self._run_id], wanted, points)[self._run_id]}


class StoredArtifact:
    """An artifact of a run: its files are named by content hash, and checked against it when fetched."""

    def __init__(self, transport: Transport, run_id: str, record: contract.Artifact) -> None:
        self._transport = transport
        self._run_id = run_id
        self.record = record

    def __repr__(self) -> str:
        return f"<Artifact {self.name} version {self.version}: {self.format}, {self.size} bytes>"

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def version(self) -> int:
        return self.record.version

    @property
    def kind(self) -> str:
        return self.record.kind

    @property
    def format(self) -> str:
        return self.record.format

    @property
    def files(self) -> list[contract.ArtifactFile]:
        return self.record.files

    @property
    def size(self) -> int:
        return self.record.size

    @property
    def metadata(self) -> dict[str, Any]:
        return self.record.metadata

    @property
    def step(self) -> int | None:
        return self.record.step

    def download(self, to: str | os.PathLike[str] = ".", *, advance: Callable[[int], None] | None = None) -> Path:
        """Fetch the files into the folder `to`; answers the file when it is no folder of files, else `to`.

        Files already there with the right content are left alone. `advance` hears the bytes of each finished file.
        """
        root = Path(to).resolve()
        root.mkdir(parents=True, exist_ok=True)
        for file in self.files:
            target = _inside(root, file.path)
            if not (target.is_file() and target.stat().st_size == file.size and _hash(target) == file.hash):
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_name(f"{target.name}.{os.getpid()}.part")
                try:
                    query = contract.FileQuery(name=self.name, path=file.path, version=self.version)
                    self._transport.download(contract.READ_FILE, query, partial, run_id=self._run_id)
                    if _hash(partial) != file.hash:
                        raise Conflict(
                            f"{file.path} of {self.name} arrived damaged: its content does not have the recorded hash.",
                            hint="Fetch it again; if it stays so, the object store has lost the file.",
                        )
                    os.replace(partial, target)
                finally:
                    partial.unlink(missing_ok=True)
            if advance is not None:
                advance(file.size)
        alone = len(self.files) == 1 and self.format != "folder"
        return _inside(root, self.files[0].path) if alone else root

    def load(self) -> Any:
        """The artifact as a Python object, by its `format`; files that no format names come as a path.

        A pickle executes what its author wrote: load those of people you trust.
        """
        from larder import serial  # loads much that only this method needs

        folder = config.home() / "cache" / "artifacts" / self._run_id / f"{self.version}"
        return serial.load(self.download(_inside(folder.resolve(), self.name)), self.format)


class RecordedRun:
    """A run as the server knows it. What was recorded does not change; `refresh` asks again while it executes."""

    def __init__(self, transport: Transport, record: contract.Run, *, complete: bool = True) -> None:
        self._transport = transport
        self._complete = complete
        self.record = record

    def __repr__(self) -> str:
        return f"<Run {self.name} {self.short} of {self.project}: {self.status}>"

    def _repr_html_(self) -> str:
        return _html_table(["", ""], [[key, value] for key, value in self.card().items()])

    # -- what it is

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def short(self) -> str:
        """The end of the id, which names the run in lists."""
        return self.record.id[-SHORT:]

    @property
    def url(self) -> str:
        """The address of the run's page."""
        return f"{self._transport.url}/runs/{self.id}"

    @property
    def project(self) -> str:
        return self.record.project

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def kind(self) -> str:
        return self.record.kind

    @property
    def status(self) -> contract.RunStatus:
        return self.record.status

    @property
    def reason(self) -> str:
        """Why it ended as it did."""
        return self.record.reason

    @property
    def cause(self) -> contract.Cause:
        """Why it ended before its time, where that is known: `agent_lost`, `out_of_memory`, `failed`, …"""
        return self.record.cause

    @property
    def retries(self) -> int:
        """How often it went back to its queue."""
        return self.record.retries

    @property
    def published(self) -> bool:
        """Whether it is locked for good."""
        return self.record.published

    @property
    def needs(self) -> contract.Needs:
        """What it needs of the machine that executes it."""
        return self.record.needs

    @property
    def retry(self) -> contract.Retry:
        """How often it goes back to its queue by itself, and for which causes."""
        return self.record.retry

    @property
    def checkpoint(self) -> contract.Checkpoint | None:
        """Its own newest state to continue from."""
        if not self._complete:  # lists come without
            self.refresh()
        return self.record.checkpoint

    @property
    def exit_status(self) -> int | None:
        return self.record.exit_status

    @property
    def attempt(self) -> int:
        """How many times agents have started it."""
        return self.record.attempt

    @property
    def user(self) -> str:
        return self.record.user

    @property
    def host(self) -> str:
        return self.record.host

    @property
    def queue(self) -> str:
        return self.record.queue

    @property
    def archived(self) -> bool:
        return self.record.archived

    @property
    def created(self) -> int:
        """Times are UTC microseconds since 1970."""
        return self.record.created

    @property
    def started(self) -> int | None:
        return self.record.started

    @property
    def ended(self) -> int | None:
        return self.record.ended

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken until now; None before the start."""
        if self.record.started is None:
            return None
        end = self.record.ended if self.record.ended is not None else time.time_ns() // 1000
        return max(0.0, (end - self.record.started) / 1e6)

    @property
    def branch(self) -> str:
        return self.record.branch

    @property
    def commit(self) -> str:
        return self.record.commit

    @property
    def tags(self) -> list[str]:
        return list(self.record.tags)

    @property
    def notes(self) -> str:
        return self.record.notes

    @property
    def params(self) -> dict[str, contract.Param]:
        return dict(self.record.params)

    @property
    def metrics(self) -> Metrics:
        """Summaries by name; `run.metrics("val/mae")` is the whole series."""
        return Metrics(self._transport, self.id, self.record.metrics)

    @property
    def facts(self) -> dict[str, Any]:
        """What was recorded by itself: command, code, packages, machine, sources."""
        if not self._complete:  # lists come without facts, which are long
            self.refresh()
        return dict(self.record.facts)

    @property
    def parent(self) -> str | None:
        """The id of the run of which this is a copy or a part."""
        return self.record.parent

    def card(self) -> dict[str, str]:
        """The run in a few readable lines."""
        record = self.record
        lines = {
            "name": record.name,
            "id": record.id,
            "project": record.project,
            "status": f"{record.status}: {record.reason}" if record.reason else str(record.status),
            "user": record.user,
            "host": record.host,
            "commit": " ".join(part for part in (record.commit[:12], record.branch) if part),
            "tags": ", ".join(record.tags),
            "notes": record.notes,
            "parent": record.parent or "",
            "queue": record.queue,
            "cause": str(record.cause),
            "retries": f"{record.retries} of {record.retry.times}" if record.retries else "",
            "needs": needs_text.show(record.needs),
            "checkpoint": _shown(record.checkpoint),
            "published": "for good" if record.published else "",
            "lost records": str(record.lost_records) if record.lost_records else "",
            "address": self.url,
        }
        lines |= {f"params.{name}": f"{value}" for name, value in sorted(record.params.items())}
        for name, value in sorted(record.metrics.items()):
            if not name.startswith("system/"):
                lines[f"metrics.{name}"] = f"{value.last:.6g}"
        return {key: value for key, value in lines.items() if value}

    # -- what it holds

    def artifacts(self, *, latest: bool = True) -> list[StoredArtifact]:
        """The artifacts by name; with `latest=False`, every version."""
        found = self._transport.call(contract.LIST_ARTIFACTS, contract.ArtifactQuery(latest=latest), run_id=self.id)
        return [StoredArtifact(self._transport, self.id, record) for record in found.artifacts]

    def artifact(self, name: str, *, version: int = 0) -> StoredArtifact:
        """The newest artifact of a name, or one version of it."""
        query = contract.ArtifactQuery(name=name, latest=not version)
        found = self._transport.call(contract.LIST_ARTIFACTS, query, run_id=self.id).artifacts
        for record in found:
            if record.name == name and version in (0, record.version):
                return StoredArtifact(self._transport, self.id, record)
        known = ", ".join(artifact.name for artifact in self.artifacts())
        raise NotFound(
            f"Run {self.short} has no artifact {name!r}" + (f" of version {version}." if version else "."),
            hint=f"It has: {known}." if known else "It has no artifacts.",
        )

    def console(
        self,
        *,
        tail: int = 0,
        search: str = "",
        follow: bool = False,
        pattern: str = "",
        stream: str = "",
        rank: int | None = None,
    ) -> Iterator[contract.ConsoleLine]:
        """Console lines in order: all, or the last `tail`; `follow` waits for more until the run has ended.

        `search` keeps lines that hold a text, `pattern` those in which a regular expression (RE2) is found, both in
        whatever case; `stream` is `out` or `err`; `rank` is that of one process of a distributed job.
        """
        query = contract.ConsoleQuery(tail=tail, search=search, pattern=pattern, stream=stream, rank=rank)
        answer = self._transport.call(contract.READ_CONSOLE, query, run_id=self.id)
        ended = False
        while True:
            yield from (numbered.line for numbered in answer.lines)
            if not answer.lines and answer.complete and (ended or not follow):
                return
            if follow and not ended:
                # Asked before the next read: a run that has ended now has written all that this read will find.
                ended = self.refresh().status.final
            wait = 0.0 if ended or not follow or not answer.complete else 2.0
            answer = self._transport.call(
                contract.READ_CONSOLE, replace(query, tail=0, after=answer.last, wait=wait), run_id=self.id
            )

    def logs(self, *, tail: int = 0) -> str:
        """The console as one text."""
        return "\n".join(line.text for line in self.console(tail=tail))

    def code(self) -> reading.Code:
        """The files of the code that it executed, and what differs from the commit."""
        return self._transport.call(reading.CODE, Nothing(), run_id=self.id)

    def code_text(self, path: str) -> str:
        """The text of one file of its code."""
        return self._transport.call(reading.CODE_FILE, reading.CodeQuery(path=path), run_id=self.id).text

    def code_diff(self, against: "RecordedRun | str | None" = None) -> reading.CodeDiff:
        """How its code differs from its commit, or from that of another run."""
        other = against.id if isinstance(against, RecordedRun) else against or ""
        return self._transport.call(reading.CODE_DIFF, reading.CodeDiffQuery(against=other), run_id=self.id)

    def lineage(self) -> reading.Lineage:
        """Where it comes from, and what was made from it."""
        return self._transport.call(reading.LINEAGE, Nothing(), run_id=self.id)

    def neighbours(self) -> reading.Neighbours:
        """The runs of the project made just before and after it."""
        return self._transport.call(reading.NEIGHBOURS, Nothing(), run_id=self.id)

    def progress(self) -> reading.Progress:
        """How far it has come, and when it is expected to end."""
        return self._transport.call(reading.PROGRESS, Nothing(), run_id=self.id)

    def machine(self) -> reading.MachineLoad:
        """The series of the load of its machines, and when a GPU had nothing to do for more than ten minutes."""
        return self._transport.call(reading.MACHINE, Nothing(), run_id=self.id)

    # -- what one does with it

    def refresh(self) -> "RecordedRun":
        """Ask the server again."""
        self.record = self._transport.call(contract.GET, Nothing(), run_id=self.id)
        self._complete = True
        return self

    def clone(
        self,
        params: Mapping[str, contract.Param] | None = None,
        *,
        name: str = "",
        tags: Sequence[str] = (),
        requirements: Sequence[str] = (),
        environment: str = "",
        needs: "contract.Needs | str | Mapping[str, Any] | None" = None,
        code: "RecordedRun | str" = "",
        commit: str = "",
    ) -> "RecordedRun":
        """A draft that runs the same code with some parameters changed.

        `requirements` such as `lightgbm>=4` come on top of the recorded packages. `environment` is `recorded`,
        `inherit` (the agent's own packages) or the path of an interpreter. `needs` replaces what the original needs.
        `code` is another run, whose code is executed in place of the original's; `commit`, the whole hash of one that
        the git remote of the original has, stands for it instead.
        """
        change = contract.Clone(
            code=code.id if isinstance(code, RecordedRun) else code,
            commit=commit,
            params=dict(params or {}),
            name=name,
            tags=list(tags),
            requirements=list(requirements),
            environment=environment,
            needs=needs_text.of(needs),
        )
        return RecordedRun(self._transport, self._transport.call(contract.CLONE, change, run_id=self.id))

    def enqueue(
        self,
        queue: str = "default",
        *,
        priority: str = "",
        needs: "contract.Needs | str | Mapping[str, Any] | None" = None,
        retry: "contract.Retry | int | None" = None,
    ) -> "RecordedRun":
        """Put a draft into a queue, where an agent finds it.

        `priority` is `human` or `automatic`, unless said that of who asks. `needs` is what it needs of a machine, such
        as `"gpus=1,memory=8GB"`. `retry` says how often it goes back to its queue by itself when its agent is lost or
        hands it back (3 unless said); a `Retry` names other causes.
        """
        order = contract.Enqueue(
            queue=queue,
            priority=priority,
            needs=needs_text.of(needs),
            retry=contract.Retry(times=retry) if isinstance(retry, int) else retry,
        )
        self.record = self._transport.call(contract.ENQUEUE, order, run_id=self.id)
        return self

    def reset(self) -> "RecordedRun":
        """Make an ended run a draft again: its results go, its code and parameters stay."""
        self.record = self._transport.call(contract.RESET, Nothing(), run_id=self.id)
        return self

    def publish(self) -> "RecordedRun":
        """Lock an ended run for good: nothing of it is changed or deleted any more."""
        self.record = self._transport.call(contract.PUBLISH, Nothing(), run_id=self.id)
        return self

    def why(self) -> queues.Why:
        """Why a queued run waits, and when it is expected to start."""
        return self._transport.call(contract.WHY, Nothing(), run_id=self.id)

    def edit(
        self,
        *,
        params: Mapping[str, contract.Param] | None = None,
        needs: "contract.Needs | str | Mapping[str, Any] | None" = None,
        retry: "contract.Retry | int | None" = None,
    ) -> "RecordedRun":
        """Change what a draft will be executed with."""
        return self._change(
            contract.Change(
                params=None if params is None else dict(params),
                needs=needs_text.of(needs),
                retry=contract.Retry(times=retry) if isinstance(retry, int) else retry,
            )
        )

    def stop(self, reason: str = "") -> "RecordedRun":
        """Ask a queued or running run to stop."""
        self.record = self._transport.call(contract.STOP, contract.Stop(reason=reason), run_id=self.id)
        return self

    def wait(self, timeout: float | None = None) -> "RecordedRun":
        """Return once the run has ended; raises TimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        after = 0
        while not self.refresh().status.final:
            left = 10.0 if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"Run {self.short} is still {self.status} after {timeout:g} s.")
            query = events.EventQuery(after=after, subject=self.id, wait=min(left, 5.0))
            after = self._transport.call(events.LIST, query).last
        return self

    def set_tags(self, *tags: str) -> "RecordedRun":
        """Add tags."""
        return self._change(contract.Change(add_tags=list(tags)))

    def remove_tags(self, *tags: str) -> "RecordedRun":
        """Take tags away."""
        return self._change(contract.Change(remove_tags=list(tags)))

    def set_name(self, name: str) -> "RecordedRun":
        """Give the run another name."""
        return self._change(contract.Change(name=name))

    def set_notes(self, text: str) -> "RecordedRun":
        """Replace the notes."""
        return self._change(contract.Change(notes=text))

    def archive(self, archived: bool = True) -> "RecordedRun":
        """Hide the run from lists; `archive(False)` shows it again."""
        return self._change(contract.Change(archived=archived))

    def delete(self) -> None:
        """Delete the run with all it holds; this cannot be undone."""
        self._transport.call(contract.DELETE, Nothing(), run_id=self.id)

    def share(
        self, *, title: str = "", against: "RecordedRun | str" = "", public: bool = False, days: int = 30
    ) -> shares.SharedAddress:
        """An address that opens this run for reading: what it reached, its curve, and what changed `against` another one
        (the one that it was cloned from, unless said). With `public` nobody has to sign in, where the tenant allows it.
        """
        other = against if isinstance(against, str) else against.id
        return shares.make([self.id], title=title, against=other, public=public, days=days, transport=self._transport)

    def explain(self, other: "RecordedRun | str", *, metric: str = "") -> comparisons.Explanation:
        """Why `other` came out differently: what differs, the most likely reason first; of their main metric unless said."""
        found = get(other, transport=self._transport) if isinstance(other, str) else other
        query = comparisons.ExplainQuery(a=self.id, b=found.id, metric=metric)
        return self._transport.call(comparisons.EXPLAIN, query)

    def _change(self, change: contract.Change) -> "RecordedRun":
        self.record = self._transport.call(contract.CHANGE, change, run_id=self.id)
        return self


class RunList(Sequence[RecordedRun]):
    """Runs in the order that was asked for; `total` counts all that match, also those beyond the limit."""

    def __init__(self, runs: Sequence[RecordedRun], *, total: int) -> None:
        self._runs = list(runs)
        self.total = total

    @overload
    def __getitem__(self, index: int) -> RecordedRun: ...
    @overload
    def __getitem__(self, index: slice) -> "RunList": ...
    def __getitem__(self, index: int | slice) -> "RecordedRun | RunList":
        if isinstance(index, slice):
            return RunList(self._runs[index], total=self.total)
        return self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return f"<{len(self)} of {self.total} runs: {', '.join(run.name or run.short for run in self._runs[:5])}…>"

    def table(self) -> list[dict[str, Any]]:
        """One flat row a run: id, name, status, …, then `params.<name>` and `metrics.<name>` (the last value)."""
        rows: list[dict[str, Any]] = []
        for run in self._runs:
            record = run.record
            row: dict[str, Any] = {
                "id": record.id,
                "name": record.name,
                "project": record.project,
                "status": str(record.status),
                "user": record.user,
                "created": record.created,
                "seconds": run.seconds,
                "tags": ", ".join(record.tags),
                "notes": record.notes,
                "commit": record.commit,
                "parent": record.parent,
            }
            row |= {f"params.{name}": value for name, value in sorted(record.params.items())}
            row |= {f"metrics.{name}": value.last for name, value in sorted(record.metrics.items())}
            rows.append(row)
        return rows

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame."""
        import pandas  # only here: the SDK itself needs no pandas

        frame = pandas.DataFrame(self.table())
        if "created" in frame:
            frame["created"] = pandas.to_datetime(frame["created"], unit="us", utc=True)
        return frame

    def _repr_html_(self) -> str:
        rows = self.table()
        columns = _union(rows, leave_out=("project", "notes", "commit", "parent", "created", "seconds", "user"))
        return _html_table(columns, [[row.get(column, "") for column in columns] for row in rows])


@dataclass(frozen=True)
class Comparison:
    """Runs side by side: only the parameters and facts in which they differ, and every metric they have."""

    runs: list[RecordedRun]
    params: dict[str, list[contract.Param]]
    metrics: dict[str, list[contract.MetricSummary | None]]
    facts: dict[str, list[Any]]

    def best(self, metric: str) -> int | None:
        """Index of the run with the best last value, where the metric's name says which way is better."""
        lower = lower_is_better(metric)
        values = [(summary.last, index) for index, summary in enumerate(self.metrics[metric]) if summary is not None]
        values = [(value, index) for value, index in values if value == value]
        if lower is None or len(values) < 2:
            return None
        return (min(values) if lower else max(values, key=lambda pair: (pair[0], -pair[1])))[1]

    def warnings(self) -> list[str]:
        """Why these runs may not be compared: other data, another definition of a metric, one that goes on."""
        query = comparisons.CompareQuery(runs=[run.id for run in self.runs])
        return [one.sentence for one in self.runs[0]._transport.call(comparisons.COMPARE, query).mismatches]

    def share(self, *, title: str = "", public: bool = False, days: int = 30) -> shares.SharedAddress:
        """An address that opens this comparison for reading, until it expires or is revoked."""
        ids = [run.id for run in self.runs]
        return shares.make(ids, title=title, public=public, days=days, transport=self.runs[0]._transport)

    def table(self) -> list[dict[str, Any]]:
        """A row for each difference and each metric; the columns are `what` and the runs' short ids."""
        heads = [run.short for run in self.runs]
        rows: list[dict[str, Any]] = []
        for prefix, group in (("params", self.params), ("facts", self.facts)):
            rows += [
                {"what": f"{prefix}.{name}"} | dict(zip(heads, cells, strict=True)) for name, cells in group.items()
            ]
        for name, summaries in self.metrics.items():
            cells = [None if summary is None else summary.last for summary in summaries]
            rows.append({"what": f"metrics.{name}"} | dict(zip(heads, cells, strict=True)))
        return rows

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame indexed by `what`."""
        import pandas  # only here: the SDK itself needs no pandas

        return pandas.DataFrame(self.table()).set_index("what")

    def _repr_html_(self) -> str:
        heads = ["what", *(run.short for run in self.runs)]
        return _html_table(
            ["", *(f"{run.name} {run.short}" for run in self.runs)],
            [[row[head] for head in heads] for row in self.table()],
        )


# -- the verbs -----------------------------------------------------------------------------------------------------


def find(
    project: str | None = None,
    where: str = "",
    *,
    text: str = "",
    order_by: str = "created",
    descending: bool | None = None,
    limit: int = 100,
    archived: bool = False,
    transport: Transport | None = None,
) -> RunList:
    """Runs that match, in order. `where` is the grammar of the documentation; `text` finds names, tags and numbers."""
    transport = transport or config.connect()
    found: list[RecordedRun] = []
    total = 0
    while len(found) < limit:
        query = contract.RunQuery(
            project=project or "",
            where=where,
            text=text,
            order_by=order_by,
            descending=descending,
            limit=min(PAGE, limit - len(found)),
            offset=len(found),
            archived=archived,
        )
        page = transport.call(contract.SEARCH, query)
        total = page.total
        found += [RecordedRun(transport, record, complete=False) for record in page.runs]
        if len(page.runs) < query.limit:
            break
    return RunList(found, total=total)


def get(run_id: str, *, transport: Transport | None = None) -> RecordedRun:
    """One run, by its id, by a unique end (or beginning) of it of at least 6 characters, or by its page's address."""
    transport = transport or config.connect()
    text = run_id.strip().rstrip("/").rsplit("/", 1)[-1].lower()
    if not is_id(text):
        text = _resolve(text, transport)
    return RecordedRun(transport, transport.call(contract.GET, Nothing(), run_id=text))


def compare(*chosen: "RecordedRun | str", transport: Transport | None = None) -> Comparison:
    """Set runs side by side; ids may be given for runs."""
    loaded = [get(run, transport=transport) if isinstance(run, str) else run for run in chosen]
    if len(loaded) < 2:
        raise Invalid("Comparing needs at least two runs.")
    facts = [_flat_facts(run.facts) for run in loaded]
    return Comparison(
        runs=loaded,
        params=_differing([run.record.params for run in loaded]),
        metrics={
            name: [run.record.metrics.get(name) for run in loaded]
            for name in sorted({name for run in loaded for name in run.record.metrics})
        },
        facts=_differing(facts),
    )


class _Module(types.ModuleType):
    # `larder.runs` is a search for people and a module for the import system; whichever comes first, both work.
    def __call__(self, *args: Any, **kwargs: Any) -> RunList:
        return find(*args, **kwargs)


sys.modules[__name__].__class__ = _Module


# -- helpers -------------------------------------------------------------------------------------------------------


def _resolve(text: str, transport: Transport) -> str:
    if len(text) < 6 or not all(character in "0123456789abcdef-" for character in text):
        raise NotFound(
            f"{text!r} names no run.", hint="Give the id or its last 8 characters, as `larder runs ls` shows them."
        )
    for pattern in (f"*{text}", f"{text}*"):
        for archived in (False, True):
            query = contract.RunQuery(where=f"id like '{pattern}'", limit=3, archived=archived)
            found = sorted({run.id for run in transport.call(contract.SEARCH, query).runs})
            if len(found) > 1:
                raise Invalid(f"Several runs are named by {text!r}: {', '.join(found)}.", hint="Give more of the id.")
            if found:
                return found[0]
    raise NotFound(f"No run has an id that ends in {text!r}.", hint="`larder runs ls` lists the runs.")


def _charts(transport: Transport, runs: Sequence[str], names: Sequence[str], points: int) -> dict[str, list[Series]]:
    """The charts of metrics by run, asked for in as few questions as the server allows."""
    found: dict[str, list[Series]] = {run: [] for run in runs}
    for piece in (names[start : start + _CHARTS] for start in range(0, len(names), _CHARTS)):
        query = reading.ChartsQuery(runs=list(runs), names=list(piece), points=points)
        for chart in transport.call(reading.CHARTS, query).charts:
            found[chart.run].append(
                Series(name=chart.name, steps=chart.steps, times=chart.times, values=chart.values, total=chart.total)
            )
    return found


def _column(kind: str, raw: bytes) -> list[Any]:
    column = array.array(kind)
    column.frombytes(raw)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tolist()


def _hash(path: Path) -> str:
    hasher = blake3()
    hasher.update_mmap(path)
    return hasher.hexdigest()


def _inside(root: Path, relative: str) -> Path:
    target = root.joinpath(*PurePosixPath(relative).parts).resolve()
    if not target.is_relative_to(root) or target == root:
        raise Invalid(f"The artifact names a file outside of its folder: {relative!r}.")
    return target


def _shown(checkpoint: contract.Checkpoint | None) -> str:
    return "" if checkpoint is None else f"{checkpoint.name} version {checkpoint.version}, step {checkpoint.step}"


def _differing(columns: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = sorted({name for column in columns for name in column})
    rows = {name: [column.get(name) for column in columns] for name in names}
    absent = object()
    return {
        name: cells
        for name, cells in rows.items()
        if any(column.get(name, absent) != columns[0].get(name, absent) for column in columns[1:])
    }


def _flat_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    command = facts.get("command") or {}
    code = facts.get("code") or {}
    machine = facts.get("machine") or {}
    flat: dict[str, Any] = {
        "command": " ".join(str(part) for part in command.get("argv", [])),
        "python": command.get("python"),
        "code.commit": code.get("commit"),
        "code.branch": code.get("branch"),
        "code.tree": code.get("tree"),
        "machine.host": machine.get("host"),
        "machine.os": machine.get("os"),
        "machine.cpus": machine.get("cpus"),
        "machine.memory": machine.get("memory"),
        "machine.gpus": json.dumps(machine.get("gpus")) if machine.get("gpus") else None,
    }
    flat |= {f"packages.{name}": version for name, version in (facts.get("packages") or {}).items()}
    return {name: value for name, value in flat.items() if value not in (None, "")}


def _union(rows: Sequence[Mapping[str, Any]], *, leave_out: Sequence[str] = ()) -> list[str]:
    return [name for name in dict.fromkeys(name for row in rows for name in row) if name not in leave_out]


def _html_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th>{html.escape(str(column))}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape('' if cell is None else str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
