"""Shares: signed addresses that open one run, one comparison or one view, and nothing else, until they expire."""

from dataclasses import dataclass, field

from larder.contract.comparisons import ComparedRow
from larder.contract.endpoint import Endpoint, Nothing, Role
from larder.contract.runs import Chart, RunStatus


@dataclass(frozen=True, kw_only=True)
class SharedView:
    """Which runs a shared view shows, in the words of a `RunQuery`."""

    project: str = ""
    where: str = ""
    text: str = ""
    order_by: str = "created"
    descending: bool | None = None


@dataclass(frozen=True, kw_only=True)
class NewShare:
    """A wish for an address that opens what it names: one run, 2 to 50 runs side by side, or a view.

    `against`: the run that a shared run is set against, by default the one that it was cloned from; its value of the
    metric and of the parameters that changed are shown. `metric`: the one to talk about, chosen by name unless said.
    `public`: it opens without signing in, where the tenant allows that. `days` until it expires (1 to 365).
    """

    runs: list[str] = field(default_factory=list)
    view: SharedView | None = None
    title: str = ""
    against: str = ""
    metric: str = ""
    public: bool = False
    days: int = 30


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share: what it names, who made it, until when it opens, and when it was last opened. `path` is its address."""

    id: str
    title: str
    runs: list[str]
    view: SharedView | None
    against: str
    metric: str
    public: bool
    user: str
    created: int
    expires: int
    path: str
    opened: int | None = None


@dataclass(frozen=True, kw_only=True)
class ShareQuery:
    """Living shares; with `run` only those that name this run."""

    run: str = ""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Living shares, the newest first."""

    shares: list[Share]


@dataclass(frozen=True, kw_only=True)
class SharePolicy:
    """Whether shares of this tenant may open without signing in."""

    public: bool


@dataclass(frozen=True, kw_only=True)
class SharedRun:
    """What a share tells of a run; `value` is what it reached in the metric."""

    name: str
    project: str
    status: RunStatus
    user: str
    created: int
    started: int | None
    ended: int | None
    notes: str
    value: float | None


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What a share opens: a headline in words, a chart of one metric, and what changed. `kind`: run, comparison, view.

    `changed` has a value for each of `runs`; the last of the runs of a shared run is the one that it is set against.
    `total` counts all runs of a view, of which the first are shown. `best` is the place of the best run, -1 for none.
    """

    kind: str
    title: str
    headline: str
    metric: str
    lower_is_better: bool | None
    best: int
    runs: list[SharedRun]
    curves: list[Chart | None]
    changed: list[ComparedRow]
    warnings: list[str]
    total: int
    created: int
    expires: int
    user: str


CREATE = Endpoint(
    "POST", "/v1/shares", NewShare, Share, "Make an address that opens a run, a comparison or a view", Role.CONTRIBUTOR
)
LIST = Endpoint("GET", "/v1/shares", ShareQuery, Shares, "The living shares", Role.CONTRIBUTOR)
REVOKE = Endpoint("DELETE", "/v1/shares/{share_id}", Nothing, Nothing, "Revoke a share at once", Role.CONTRIBUTOR)
POLICY = Endpoint(
    "GET", "/v1/share-policy", Nothing, SharePolicy, "Whether shares of this tenant may open without signing in"
)
CHANGE_POLICY = Endpoint(
    "PATCH", "/v1/share-policy", SharePolicy, SharePolicy, "Say whether shares may open without signing in", Role.ADMIN
)
OPEN = Endpoint(
    "GET", "/v1/shared/{token}", Nothing, Shared, "What a share opens; its token is all it needs", for_shares=True
)
