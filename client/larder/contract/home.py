"""What a person sees first: projects at a glance, and one search over everything that has a name."""

from dataclasses import dataclass, field

from larder.contract.endpoint import Endpoint
from larder.contract.runs import RunStatus


@dataclass(frozen=True, kw_only=True)
class Brief:
    """A run in one line. Times are UTC microseconds."""

    id: str
    name: str
    project: str
    status: RunStatus
    user: str
    created: int
    started: int | None = None
    ended: int | None = None


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best value of a metric in a project, of all runs that are not archived, and the run that reached it.

    `recent`: what the newest runs have reached each, the oldest of them first.
    """

    metric: str
    lower: bool
    value: float
    run: Brief
    recent: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Glance:
    """A project at a glance: how many runs of each status (archived ones left out), what is running, the best values.

    `active` is when something last happened to one of its runs; of the running runs the newest are listed.
    """

    name: str
    description: str
    created: int
    active: int
    runs: int
    counts: dict[str, int]
    running: list[Brief]
    best: list[Best]


@dataclass(frozen=True, kw_only=True)
class OverviewQuery:
    """Which part of the projects: `limit` (1 to 200) after `offset`; `text` keeps those whose name holds it."""

    limit: int = 48
    offset: int = 0
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Projects, those in which something happened last first; `total` counts all that match."""

    projects: list[Glance]
    total: int


@dataclass(frozen=True, kw_only=True)
class LookUpQuery:
    """What somebody types to get somewhere; at most `limit` (1 to 50) hits of each kind."""

    text: str = ""
    limit: int = 6


@dataclass(frozen=True, kw_only=True)
class Hit:
    """Something that has such a name. `kind`: run, project, artifact, param, metric, tag, queue or agent.

    `id` is what it is called by: of a run or an artifact the run's id (with the `artifact`'s name), otherwise its name.
    `where` finds the runs that have it, for a parameter's value, a metric or a tag.
    """

    kind: str
    id: str
    title: str
    detail: str = ""
    project: str = ""
    artifact: str = ""
    status: str = ""
    where: str = ""
    time: int = 0


@dataclass(frozen=True, kw_only=True)
class Hits:
    """Hits by kind, the likeliest first within each."""

    hits: list[Hit]


@dataclass(frozen=True, kw_only=True)
class NamesQuery:
    """Ids of runs, at most 500."""

    ids: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Names:
    """The runs by id; those that are not there are left out."""

    runs: dict[str, Brief]


OVERVIEW = Endpoint("GET", "/v1/overview", OverviewQuery, Overview, "The projects at a glance")
LOOK_UP = Endpoint("GET", "/v1/look-up", LookUpQuery, Hits, "Find anything by its name")
NAMES = Endpoint("GET", "/v1/run-names", NamesQuery, Names, "What runs are called, by their ids")
