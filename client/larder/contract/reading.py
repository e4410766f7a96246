"""What is read of runs beyond the run itself: many charts at once, kin, code, progress, the load of its machine.

Times are UTC microseconds since 1970.
"""

from dataclasses import dataclass, field

from larder.contract.endpoint import Endpoint, Nothing
from larder.contract.runs import RunStatus
from larder.contract.values import Param


@dataclass(frozen=True, kw_only=True)
class ChartsQuery:
    """Every series of `names` in every run of `runs`, each reduced to at most `points` (4 to 20,000).

    At most 2,000 series and 1,000,000 points in one answer. Without `times` these stay empty.
    """

    runs: list[str]
    names: list[str]
    points: int = 500
    first_step: int | None = None
    last_step: int | None = None
    times: bool = True


@dataclass(frozen=True, kw_only=True)
class RunChart:
    """A reduced series of a run, by step; NaN and infinities are null in JSON and themselves in MessagePack."""

    run: str
    name: str
    steps: list[int]
    times: list[int]
    values: list[float]
    total: int


@dataclass(frozen=True, kw_only=True)
class Charts:
    """The series in the order of the names, then of the runs; those that a run has not are left out."""

    charts: list[RunChart]


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The runs of the project made just before and after one; archived ones are left out."""

    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, kw_only=True)
class Kin:
    """A run that another one comes from, or that comes from it.

    `relation` says how the younger one was made: `clone` with other `params`, `checkpoint` continued after `step`,
    `part` of the other's execution, or `child`.
    """

    id: str
    name: str
    status: RunStatus
    relation: str
    created: int
    user: str = ""
    kind: str = "train"
    params: dict[str, Param] = field(default_factory=dict)
    step: int | None = None
    checkpoint: str = ""


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where a run comes from, the nearest first, and what was made from it, the newest first.

    `cut`: the run's own ancestry is longer than what is told, or its beginning was deleted.
    """

    ancestors: list[Kin]
    children: list[Kin]
    children_total: int
    cut: bool = False


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has come, and when it is expected to end.

    `basis` is `steps` where the run has told how many there will be, `earlier` where earlier runs of the script tell
    how long it takes, and empty where nothing does.
    """

    step: int | None = None
    steps: int | None = None
    steps_per_second: float | None = None
    fraction: float | None = None
    expected_end: int | None = None
    basis: str = ""


@dataclass(frozen=True, kw_only=True)
class Idle:
    """A stretch of time in which a GPU had nothing to do."""

    series: str
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class MachineLoad:
    """The series that tell of the load of the run's machines, and when a GPU was idle for more than ten minutes."""

    series: list[str]
    idle: list[Idle]


@dataclass(frozen=True, kw_only=True)
class CodeFile:
    """A file of a run's code. `change` is what differs from the commit: `added`, `changed`, `deleted` or nothing.

    `readable`: its text can be read here.
    """

    path: str
    change: str = ""
    size: int | None = None
    readable: bool = False


@dataclass(frozen=True, kw_only=True)
class SkippedFile:
    """A file that was not taken, and why."""

    path: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Code:
    """The code that a run executed. `kind`: `git`, `folder` (packed, without git) or `none`.

    `whole`: `files` lists all of it; otherwise only what differs from the commit, the rest is at the remote, to be
    seen at the address `link` where that is known.
    """

    kind: str
    files: list[CodeFile]
    whole: bool = False
    commit: str = ""
    branch: str = ""
    remote: str = ""
    tree: str = ""
    link: str = ""
    skipped: list[SkippedFile] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class CodeQuery:
    """One file of a run's code."""

    path: str


@dataclass(frozen=True, kw_only=True)
class CodeText:
    """The text of a file; `cut` when it is longer than 1,000,000 characters."""

    path: str
    text: str
    cut: bool = False


@dataclass(frozen=True, kw_only=True)
class CodeDiffQuery:
    """What to compare with: another run, or the commit when empty."""

    against: str = ""


@dataclass(frozen=True, kw_only=True)
class FileDiff:
    """How a file differs. `diff` is a unified one, empty for what is no text.

    `of_changes`: the file itself is not known here; what is compared is how each run differs from its commit.
    """

    path: str
    change: str
    diff: str = ""
    added: int = 0
    removed: int = 0
    of_changes: bool = False


@dataclass(frozen=True, kw_only=True)
class CodeDiff:
    """The files that differ, by path. `whole`: nothing else does.

    `link`: where a browser finds the difference of the commits, where that is known.
    """

    files: list[FileDiff]
    whole: bool = True
    link: str = ""
    note: str = ""


CHARTS = Endpoint("GET", "/v1/charts", ChartsQuery, Charts, "Many metrics of many runs, reduced for charts")
NEIGHBOURS = Endpoint(
    "GET", "/v1/runs/{run_id}/neighbours", Nothing, Neighbours, "The runs made just before and after this one"
)
LINEAGE = Endpoint("GET", "/v1/runs/{run_id}/lineage", Nothing, Lineage, "Where a run comes from, and what came of it")
PROGRESS = Endpoint("GET", "/v1/runs/{run_id}/progress", Nothing, Progress, "How far a run is, and when it may end")
MACHINE = Endpoint("GET", "/v1/runs/{run_id}/machine", Nothing, MachineLoad, "Load of the machine, and idle GPUs")
CODE = Endpoint("GET", "/v1/runs/{run_id}/code", Nothing, Code, "The files of the code that a run executed")
CODE_FILE = Endpoint("GET", "/v1/runs/{run_id}/code-file", CodeQuery, CodeText, "The text of one file of the code")
CODE_DIFF = Endpoint(
    "GET",
    "/v1/runs/{run_id}/code-diff",
    CodeDiffQuery,
    CodeDiff,
    "How the code differs from the commit or another run",
)
