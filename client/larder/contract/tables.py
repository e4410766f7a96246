"""Runs as a table: rows of chosen columns, groups of runs, counts by value, names to choose from, changes of many runs.

Every question says which runs are meant by the same words as a search (`RunQuery`). A column is a name as in `where`:
`name`, `params.lr`, `metrics.val/mae.min`; several have commas between them.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from larder.contract.endpoint import Bytes, Endpoint, Role
from larder.contract.runs import Listing, RunStatus, Selection
from larder.contract.values import Param


@dataclass(frozen=True, kw_only=True)
class TableQuery(Listing):
    """Which runs, in which order, with which columns. `order_by` may list several names, each with `asc` or `desc`.

    `columns="*"` leaves the choice to the server: what the project's newest runs have measured and differ in.
    """

    columns: str = ""
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run in a table: what every list shows, and the `cells` of the columns asked for, in their order.

    A cell is None where the run lacks the value; numbers that JSON has not are given as text: NaN, Infinity, -Infinity.
    `missing` names what a run needs to be repeated and lacks: seed, commit, data version.
    """

    id: str
    name: str
    project: str
    status: RunStatus
    created: int
    user: str = ""
    kind: str = ""
    started: int | None = None
    ended: int | None = None
    reason: str = ""
    commit: str = ""
    queue: str = ""
    archived: bool = False
    published: bool = False
    tags: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    cells: list[Param] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One page of rows; `total` and `total_is_exact` as in a search; `columns` are those of the cells."""

    rows: list[Row]
    total: int
    total_is_exact: bool = True
    columns: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class GroupQuery(Selection):
    """Runs that agree in all names of `by` (parameters and plain fields) become one group, over all runs that match.

    `columns` are metrics, which are averaged, and parameters, of which a group says whether they differ. `order_by`
    takes a name of `by`, `runs`, or a column (then by its mean), each with `asc` or `desc`.
    """

    by: str
    columns: str = ""
    order_by: str = ""
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A column of a group. `count` runs have a finite value, over which all the others are; `left_out` have a NaN, an
    infinity or a value beyond 1e150, which no mean could hold.

    `low` to `high` is the 95 % confidence interval of the mean by Student's t; None for fewer than two values. Of a
    parameter, `values` counts the different ones, and `only` is the one value where all runs of the group agree.
    """

    count: int = 0
    left_out: int = 0
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    min: float | None = None
    max: float | None = None
    values: int = 0
    only: Param = None


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that agree in `key`. `where` selects them, together with the condition of the question.

    `seeds` counts the different seeds among them, where a parameter is called so; `newest` is when the last was made.
    """

    key: list[Param]
    runs: int
    where: str
    newest: int
    seeds: int = 0
    cells: list[Spread] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Groups:
    """One page of groups; `total` counts them all, `runs` the runs in all of them. `seed` is the parameter that counts
    as seed, empty where there is none."""

    groups: list[Group]
    total: int
    runs: int
    seed: str = ""


@dataclass(frozen=True, kw_only=True)
class FacetQuery(Selection):
    """How often which value occurs among the runs that match: of plain fields, tags and parameters, named in `of`."""

    of: str
    limit: int = 12


@dataclass(frozen=True, kw_only=True)
class FacetValue:
    """A value, how many runs have it, and the condition that selects them."""

    value: Param
    runs: int
    where: str


@dataclass(frozen=True, kw_only=True)
class Facet:
    """The most frequent values of a name; `values` counts all. `low` and `high` are the ends of those that are numbers."""

    of: str
    top: list[FacetValue]
    values: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Facets:
    """Facets in the order asked for, and how many runs match."""

    facets: list[Facet]
    runs: int


@dataclass(frozen=True, kw_only=True)
class NameQuery:
    """Names of fields, metrics and parameters that hold `text`; those of the project's newest runs first."""

    text: str = ""
    project: str = ""
    kind: str = ""
    limit: int = 200


@dataclass(frozen=True, kw_only=True)
class Name:
    """A name that `where`, `columns` and `order_by` know; `text` is how one writes it there.

    `kind` is field, metric or param; `holds` number, text, time, …. Among the newest runs, `runs` have it, and a
    parameter has `values` different ones.
    """

    name: str
    kind: str
    text: str
    holds: str = ""
    runs: int = 0
    values: int = 0


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names, the likeliest first; `sampled` counts the newest runs that were looked at."""

    names: list[Name]
    sampled: int = 0


@dataclass(frozen=True, kw_only=True)
class CompletionQuery:
    """What may stand at character `position` of `where` (its end when negative)."""

    where: str = ""
    position: int = -1
    project: str = ""
    limit: int = 20


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Text that may replace the characters from `start` to `end`; `kind` is field, metric, param, operator, word or
    value."""

    text: str
    kind: str
    start: int
    end: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Completions:
    """What may stand there, the likeliest first; `problem` says what is wrong at `at`, where something is."""

    completions: list[Completion]
    problem: str = ""
    at: int | None = None


@dataclass(frozen=True, kw_only=True)
class ExportQuery(Listing):
    """All runs that match, as a file: `csv` or `parquet`. Without `columns`, all that is known of them."""

    form: str = "csv"
    columns: str = ""


class BulkAction(StrEnum):
    """What can be done with many runs at once."""

    ARCHIVE = "archive"
    UNARCHIVE = "unarchive"
    TAG = "tag"
    UNTAG = "untag"
    DELETE = "delete"
    STOP = "stop"
    ENQUEUE = "enqueue"


@dataclass(frozen=True, kw_only=True)
class Bulk(Selection):
    """Do something with the runs of `ids` (at most 1,000), or, without them, with all that the condition selects.

    A condition is worked off in pieces of one transaction each: ask again with `after` set to the answer's `next` until
    that is empty. Runs made after the first piece are left alone when `until` is set to the first answer's `until`.
    """

    action: BulkAction
    ids: list[str] = field(default_factory=list)
    everything: bool = False
    tags: list[str] = field(default_factory=list)
    queue: str = "default"
    reason: str = ""
    after: str = ""
    until: str = ""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A run with which it could not be done, and why."""

    id: str
    name: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Bulked:
    """`done` are the runs that changed; those that were so already are in neither list."""

    done: list[str]
    refused: list[Refused] = field(default_factory=list)
    next: str = ""
    until: str = ""


TABLE = Endpoint("GET", "/v1/runs/table", TableQuery, Table, "Runs as rows of chosen columns")
GROUPS = Endpoint("GET", "/v1/runs/groups", GroupQuery, Groups, "Groups of runs with means and their intervals")
FACETS = Endpoint("GET", "/v1/runs/facets", FacetQuery, Facets, "How often which value occurs")
NAMES = Endpoint("GET", "/v1/runs/names", NameQuery, Names, "Names of fields, metrics and parameters")
COMPLETE = Endpoint("GET", "/v1/runs/complete", CompletionQuery, Completions, "What may come next in a condition")
EXPORT = Endpoint("GET", "/v1/runs/export", ExportQuery, Bytes, "Runs as a CSV or Parquet file")
BULK = Endpoint(
    "POST", "/v1/runs/bulk", Bulk, Bulked, "Archive, tag, stop, enqueue or delete many runs", Role.CONTRIBUTOR
)
