"""Comparisons: 2 to 50 runs side by side, what differs between them, and why one may be better than another.

Every list of values has the order of the runs that were asked for. The curves of several runs are those of
`reading.CHARTS`, the difference of their code is `reading.CODE_DIFF`.
"""

from dataclasses import dataclass, field

from larder.contract.endpoint import Endpoint
from larder.contract.runs import MetricSummary, Run
from larder.contract.values import Param

MOST = 50
"""Runs in one comparison."""


@dataclass(frozen=True, kw_only=True)
class CompareQuery:
    """Which runs, by id; `system` takes the metrics of the machine as well."""

    runs: list[str]
    system: bool = False


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """One name with a value for each run; `absent` are the places of the runs that have none. `differs`: not all alike."""

    name: str
    values: list[Param]
    absent: list[int] = field(default_factory=list)
    differs: bool = True


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric of each run. `best` holds, by statistic (`last`, `min`, `max`, `mean`), the place of the best run.

    `best` is empty where the name does not say which way is better, or where fewer than two runs have the metric.
    """

    name: str
    summaries: list[MetricSummary | None]
    lower_is_better: bool | None = None
    best: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """Why these runs may not be compared. `about` is `data`, `metric` or `unfinished`.

    `param`: the parameter which, set alike, makes them comparable; empty where none does.
    """

    about: str
    name: str
    sentence: str
    values: list[Param]
    param: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs side by side. `runs` come without parameters, metrics and facts, which stand in the rows: what differs first.

    `facts` and `packages` hold only what differs. `main` is the metric that the runs are about.
    """

    runs: list[Run]
    params: list[ComparedRow]
    metrics: list[MetricRow]
    facts: list[ComparedRow]
    packages: list[ComparedRow]
    mismatches: list[Mismatch]
    main: str = ""


@dataclass(frozen=True, kw_only=True)
class ConsoleDiffQuery:
    """Two runs. With `numbers`, lines that differ only in their numbers differ as well."""

    a: str
    b: str
    numbers: bool = False


@dataclass(frozen=True, kw_only=True)
class ConsoleDiff:
    """How the console of `b` differs from that of `a`; `diff` is unified, empty when they say the same.

    `lines_a`, `lines_b`: how many lines were compared; `cut`: there are more, and only the last were.
    """

    diff: str
    added: int
    removed: int
    lines_a: int
    lines_b: int
    cut: bool = False


@dataclass(frozen=True, kw_only=True)
class ExplainQuery:
    """Two runs, and the metric to explain: their main one unless said."""

    a: str
    b: str
    metric: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One possible reason, from `a` to `b`. `kind`: param, code, data, package, machine, seed, length or status.

    `score` from 0 to 1 ranks it; `evidence` says in words what the score rests on; `diff` is that of a file.
    """

    kind: str
    name: str
    a: Param
    b: Param
    score: float
    sentence: str
    evidence: str = ""
    diff: str = ""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why `b` came out differently from `a`: a sentence, then what differs, the most likely reason first."""

    sentence: str
    metric: str
    a: float | None
    b: float | None
    differences: list[Difference]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A stored image: which file of which version of the artifact."""

    version: int
    path: str
    format: str
    size: int


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """The images of one name and step, one for each run; null where a run has none."""

    name: str
    step: int | None
    pictures: list[Picture | None]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Images by name and step."""

    rows: list[PictureRow]


COMPARE = Endpoint("GET", "/v1/compare", CompareQuery, Comparison, "Set runs side by side, what differs first")
CONSOLE = Endpoint("GET", "/v1/compare/console", ConsoleDiffQuery, ConsoleDiff, "How the consoles of two runs differ")
EXPLAIN = Endpoint(
    "GET", "/v1/compare/explain", ExplainQuery, Explanation, "Why one run may have come out differently from another"
)
PICTURES = Endpoint("GET", "/v1/compare/pictures", CompareQuery, Pictures, "The images of several runs, side by side")
