"""Runs: one execution of some code, or the draft of one, with what went in and what came out.

Times are UTC microseconds since 1970. Metric columns are little-endian arrays in `bytes`: steps and times signed
64-bit integers, values 64-bit floats (NaN and infinities are values like others).
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from larder.contract.endpoint import Bytes, Endpoint, Nothing, Role
from larder.contract.queues import Lease, LeaseRequest, Why
from larder.contract.queues import Needs as Needs
from larder.contract.values import Param as Param


class RunStatus(StrEnum):
    """Where a run stands. `completed`, `failed` and `stopped` are final."""

    DRAFT = "draft"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"

    @property
    def final(self) -> bool:
        """Whether nothing of the run changes any more."""
        return self in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.STOPPED)


class Cause(StrEnum):
    """Why a run ended before its time, where that is known; what a `Retry` refers to."""

    NONE = ""
    AGENT_LOST = "agent_lost"
    PREEMPTED = "preempted"
    OUT_OF_MEMORY = "out_of_memory"
    TIME_LIMIT = "time_limit"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often a run goes back to its queue by itself, and for which causes."""

    times: int = 3
    causes: list[Cause] = field(default_factory=lambda: [Cause.AGENT_LOST, Cause.PREEMPTED])


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A state to continue from: the artifact of kind `checkpoint` of `run`, and the step after which it was taken."""

    run: str
    name: str
    version: int
    step: int


@dataclass(frozen=True, kw_only=True)
class MetricSummary:
    """What a series says at a glance; each extreme with the step at which it was first reached.

    NaN counts for `last` and `count` only; `mean` is over the values that are not NaN.
    """

    last: float
    last_step: int
    min: float
    min_step: int
    max: float
    max_step: int
    mean: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run. `facts` holds what was recorded by itself: command, code, packages, machine, sources (see `Fact`).

    `retries` counts how often it went back to its queue. `published`: it is locked for good. `checkpoint`: what a new
    attempt may continue from, its own newest one (not filled in lists).
    """

    id: str
    project: str
    name: str
    status: RunStatus
    created: int
    user: str = ""
    kind: str = "train"
    reason: str = ""
    started: int | None = None
    ended: int | None = None
    heartbeat: int | None = None
    host: str = ""
    branch: str = ""
    commit: str = ""
    tags: list[str] = field(default_factory=list)
    notes: str = ""
    parent: str | None = None
    attempt: int = 0
    archived: bool = False
    exit_status: int | None = None
    lost_records: int = 0
    queue: str = ""
    params: dict[str, Param] = field(default_factory=dict)
    metrics: dict[str, MetricSummary] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    cause: Cause = Cause.NONE
    retries: int = 0
    published: bool = False
    needs: Needs = field(default_factory=Needs)
    retry: Retry = field(default_factory=Retry)
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A draft: made by hand, or by an importer (then with its final `status`).

    The files of `artifacts` must be in the object store. `needs` and `retry` are for its execution.
    """

    project: str
    name: str = ""
    id: str = ""
    kind: str = "train"
    params: dict[str, Param] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    notes: str = ""
    parent: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    status: RunStatus = RunStatus.DRAFT
    started: int | None = None
    ended: int | None = None
    artifacts: "list[NewArtifact]" = field(default_factory=list)
    needs: Needs = field(default_factory=Needs)
    retry: Retry = field(default_factory=Retry)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which runs. `where` is the grammar of docs/reference/where.md; `text` finds names, tags, notes and remembered
    numbers. Archived runs are left out unless `archived`, or where `where` speaks of them.
    """

    project: str = ""
    where: str = ""
    text: str = ""
    archived: bool = False


@dataclass(frozen=True, kw_only=True)
class Listing(Selection):
    """Which runs, in which order: `order_by` is a field such as `created`, `metrics.val/mae.min`, `params.lr`, or
    several, each with `asc` or `desc`; `descending` is for those without.
    """

    order_by: str = "created"
    descending: bool | None = None


@dataclass(frozen=True, kw_only=True)
class RunQuery(Listing):
    """Which runs, in which order. `where` is the grammar of docs/reference/where.md; `text` finds names, tags,
    notes and remembered numbers; `order_by` is a field such as `created`, `metrics.val/mae.min`, `params.lr`.
    """

    limit: int = 50
    offset: int = 0
    facts: bool = False


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """One page of runs; `total` counts all that match.

    Where the search is wide, more than some 5,000 runs by every one of its conditions, counting may cost more than
    finding: then `total` is extrapolated from the newest runs, and `total_is_exact` is false. It is exact again on the
    last page.
    """

    runs: list[Run]
    total: int
    total_is_exact: bool = True


@dataclass(frozen=True, kw_only=True)
class Clone:
    """Changes on the way from a run to its clone: parameters by name; `None` values set None.

    `requirements` (such as `lightgbm>=4`) come on top of the recorded packages. `environment` says where the packages
    come from: `recorded` (built from the recorded ones), `inherit` (the agent's own), the path of an interpreter, or
    empty for the source run's. `needs` replaces the source's. `code` is a run whose code is executed in place of the
    source's, with the source's command; `commit` is one that stands for it instead: the whole hash of any commit that
    the git remote of the source has.
    """

    params: dict[str, Param] = field(default_factory=dict)
    name: str = ""
    tags: list[str] = field(default_factory=list)
    requirements: list[str] = field(default_factory=list)
    environment: str = ""
    needs: Needs | None = None
    code: str = ""
    commit: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What may be changed on a run at any time: names and marks, never what was recorded. None leaves as is.

    `params`, `needs` and `retry` can be changed on a draft only.
    """

    name: str | None = None
    notes: str | None = None
    add_tags: list[str] = field(default_factory=list)
    remove_tags: list[str] = field(default_factory=list)
    archived: bool | None = None
    params: dict[str, Param] | None = None
    needs: Needs | None = None
    retry: Retry | None = None


@dataclass(frozen=True, kw_only=True)
class Enqueue:
    """The queue in which the run shall wait.

    `priority` is `human` or `automatic`, by default that of who asks. `move`: the run is executing by itself, without
    an agent, and goes on with an agent of that queue.
    """

    queue: str = "default"
    priority: str = ""
    needs: Needs | None = None
    retry: Retry | None = None
    move: bool = False


@dataclass(frozen=True, kw_only=True)
class Start:
    """An agent starts a leased run; `fence` is the lease's, and becomes the run's attempt."""

    fence: int
    agent: str = ""
    host: str = ""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A lease, and the run that was started with it; no run when the job is about something else, or there is none."""

    lease: Lease
    run: Run | None = None


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The end of a run, by the agent that executed it or by hand. A run that has ended already answers as it is.

    With a `cause` that the run's `retry` names, and retries left, it goes back to its queue instead.
    """

    status: RunStatus
    reason: str = ""
    exit_status: int | None = None
    attempt: int | None = None
    cause: Cause = Cause.NONE


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Ask a queued or running run to stop."""

    reason: str = ""


# -- what a journal sends ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one metric in the order in which they were logged."""

    name: str
    steps: bytes
    times: bytes
    values: bytes


@dataclass(frozen=True, kw_only=True)
class ConsoleLine:
    """A piece of console output: whole lines, without their end. `stream` is `out` or `err`; `rank` of a job."""

    time: int
    text: str
    stream: str = "out"
    rank: int = 0


@dataclass(frozen=True, kw_only=True)
class ArtifactFile:
    """One file of an artifact: a relative path with `/`, the BLAKE3 hash of its bytes, their number."""

    path: str
    hash: str
    size: int


@dataclass(frozen=True, kw_only=True)
class NewArtifact:
    """Files under a name. `kind`: model, image, figure, table, text, file, code …; `format` says how to load it."""

    name: str
    kind: str
    format: str
    files: list[ArtifactFile]
    step: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    time: int = 0


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The first words of a journal; the run is made from them when the server does not know it yet.

    `role`: `main`, `child`, `rank`, `companion`, or `agent` for what the agent says of a run it executes. `continued`:
    this process goes on after step `continued` of the run's checkpoint; what came after that step is dropped.
    `restarted`: a launcher has started this `rank` again within the attempt; what that rank has logged after
    `continued`, or all of it, is dropped.
    """

    project: str
    name: str
    time: int
    kind: str = "train"
    parent: str | None = None
    host: str = ""
    role: str = "main"
    resumed: bool = False
    continued: int | None = None
    rank: int = 0
    restarted: bool = False


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How the main process ended."""

    status: RunStatus
    time: int
    exit_status: int | None = None
    reason: str = ""
    lost_records: int = 0
    cause: Cause = Cause.NONE


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A stretch of one writer's journal, from byte `start` to byte `end`; stored exactly once, all or nothing.

    `writer` is the journal's id. A batch that begins before the stored offset and ends at or before it is answered
    and not stored again; one that leaves a gap is refused with Conflict. `closed` ends the journal.
    """

    writer: str
    start: int
    end: int
    attempt: int = 0
    opening: Opening | None = None
    series: list[Series] = field(default_factory=list)
    console: list[ConsoleLine] = field(default_factory=list)
    params: dict[str, Param] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    add_tags: list[str] = field(default_factory=list)
    remove_tags: list[str] = field(default_factory=list)
    name: str | None = None
    notes: str | None = None
    artifacts: list[NewArtifact] = field(default_factory=list)
    ending: Ending | None = None
    closed: bool = False


@dataclass(frozen=True, kw_only=True)
class Acknowledged:
    """Everything of this writer before `offset` is durable; `stop` says that somebody asked the run to stop."""

    offset: int
    stop: bool = False


@dataclass(frozen=True, kw_only=True)
class Points:
    """Points of one metric as plain numbers, for clients without a journal."""

    name: str
    values: list[float]
    steps: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class PointsBatch:
    """Points of several metrics; refused whole when one part is bad."""

    metrics: list[Points]


# -- what is read back ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class MetricNames:
    """Names of the metrics of a run, sorted, with their summaries."""

    metrics: dict[str, MetricSummary]


@dataclass(frozen=True, kw_only=True)
class MetricQuery:
    """Which part of a series: all of it, or steps in [first_step, last_step]."""

    name: str
    first_step: int | None = None
    last_step: int | None = None


@dataclass(frozen=True, kw_only=True)
class ChartQuery:
    """A series for a chart: at most `points` of it (4 to 20,000), every extreme kept."""

    name: str
    points: int = 1000
    first_step: int | None = None
    last_step: int | None = None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A reduced series, by step; NaN and infinities are null in JSON and themselves in MessagePack."""

    name: str
    steps: list[int]
    times: list[int]
    values: list[float]
    total: int


@dataclass(frozen=True, kw_only=True)
class ConsoleQuery:
    """Lines after sequence number `after`, at most `limit`; or the last `tail`; `search` keeps lines that hold it.

    `pattern` keeps lines in which a regular expression (RE2) is found, in whatever case unless it begins with `(?-i)`;
    `stream` those of `out` or `err`; `rank` those of one process of a distributed job.
    """

    after: int = 0
    limit: int = 1000
    tail: int = 0
    search: str = ""
    wait: float = 0.0
    pattern: str = ""
    stream: str = ""
    rank: int | None = None


@dataclass(frozen=True, kw_only=True)
class NumberedLine:
    """A console line with its number, counted from 1 in order of arrival.

    `spans`: where in the text a `pattern` was found, each as its first character and the one after its last.
    """

    number: int
    line: ConsoleLine
    spans: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Console:
    """Lines in order; `last` is the `after` of the next question.

    `complete`: the whole of the log after `after` was looked at, or `limit` lines were found. Otherwise the time for
    one answer was up, and the search goes on with the next question.
    """

    lines: list[NumberedLine]
    last: int
    total: int
    complete: bool = True


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A stored artifact; `version` counts from 1 for each name of a run."""

    name: str
    version: int
    kind: str
    format: str
    files: list[ArtifactFile]
    size: int
    created: int
    step: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """Artifacts of a run by name and version."""

    artifacts: list[Artifact]


@dataclass(frozen=True, kw_only=True)
class ArtifactQuery:
    """Artifacts of one name (all names when empty); `latest` keeps the newest version of each name."""

    name: str = ""
    latest: bool = True


@dataclass(frozen=True, kw_only=True)
class FileQuery:
    """One file of an artifact; the newest version when `version` is 0.

    `show`: for a page, images, texts and figures come with their media type, sandboxed, instead of as a download.
    """

    name: str
    path: str = ""
    version: int = 0
    show: bool = False


CREATE = Endpoint(
    "POST",
    "/v1/runs",
    NewRun,
    Run,
    "Make a draft, or import a run that ended elsewhere",
    Role.CONTRIBUTOR,
    for_runs=True,
)
SEARCH = Endpoint("GET", "/v1/runs", RunQuery, RunPage, "Find runs")
GET = Endpoint("GET", "/v1/runs/{run_id}", Nothing, Run, "A run with its parameters, summaries and facts")
CHANGE = Endpoint("PATCH", "/v1/runs/{run_id}", Change, Run, "Change names and marks", Role.CONTRIBUTOR, for_runs=True)
DELETE = Endpoint("DELETE", "/v1/runs/{run_id}", Nothing, Nothing, "Delete a run with all it holds", Role.CONTRIBUTOR)
CLONE = Endpoint(
    "POST",
    "/v1/runs/{run_id}/clone",
    Clone,
    Run,
    "Draft a copy with changed parameters",
    Role.CONTRIBUTOR,
    for_runs=True,
)
ENQUEUE = Endpoint(
    "POST", "/v1/runs/{run_id}/enqueue", Enqueue, Run, "Put a draft into a queue", Role.CONTRIBUTOR, for_runs=True
)
TAKE = Endpoint(
    "POST",
    "/v1/leases/run",
    LeaseRequest,
    Taken,
    "Lease the next job and start its run, waiting for one if asked",
    Role.CONTRIBUTOR,
)
START = Endpoint("POST", "/v1/runs/{run_id}/start", Start, Run, "Start a leased run", Role.CONTRIBUTOR)
STOP = Endpoint("POST", "/v1/runs/{run_id}/stop", Stop, Run, "Ask a run to stop", Role.CONTRIBUTOR, for_runs=True)
RESET = Endpoint(
    "POST",
    "/v1/runs/{run_id}/reset",
    Nothing,
    Run,
    "Make an ended run a draft again, without its results",
    Role.CONTRIBUTOR,
)
PUBLISH = Endpoint("POST", "/v1/runs/{run_id}/publish", Nothing, Run, "Lock an ended run for good", Role.CONTRIBUTOR)
WHY = Endpoint("GET", "/v1/runs/{run_id}/why", Nothing, Why, "Why a queued run waits, and when it is expected to start")
FINISH = Endpoint("POST", "/v1/runs/{run_id}/finish", Finish, Run, "End a run", Role.CONTRIBUTOR, for_runs=True)
APPEND = Endpoint(
    "POST",
    "/v1/runs/{run_id}/journal",
    Batch,
    Acknowledged,
    "Store a stretch of a journal",
    Role.CONTRIBUTOR,
    for_runs=True,
)
LOG_METRICS = Endpoint(
    "POST",
    "/v1/runs/{run_id}/metrics",
    PointsBatch,
    Nothing,
    "Log points without a journal",
    Role.CONTRIBUTOR,
    for_runs=True,
)
LIST_METRICS = Endpoint("GET", "/v1/runs/{run_id}/metrics", Nothing, MetricNames, "The metrics of a run")
READ_METRIC = Endpoint("GET", "/v1/runs/{run_id}/metric", MetricQuery, Series, "All points of a metric, by step")
CHART_METRIC = Endpoint("GET", "/v1/runs/{run_id}/chart", ChartQuery, Chart, "A metric reduced for a chart")
READ_CONSOLE = Endpoint("GET", "/v1/runs/{run_id}/console", ConsoleQuery, Console, "Console lines")
LIST_ARTIFACTS = Endpoint("GET", "/v1/runs/{run_id}/artifacts", ArtifactQuery, Artifacts, "The artifacts of a run")
READ_FILE = Endpoint("GET", "/v1/runs/{run_id}/artifact-file", FileQuery, Bytes, "The bytes of one artifact file")
