"""Live events: what happens in a tenant, told while it happens, as server-sent events for pages that are open."""

from dataclasses import dataclass

from larder.contract.endpoint import Endpoint, Feed


@dataclass(frozen=True, kw_only=True)
class LiveQuery:
    """From where to listen: after an event's sequence number, or, when None, from `since` (0 to 60) seconds ago.

    The header `Last-Event-ID`, which a browser sends when it connects again, goes before `after`.
    """

    after: int | None = None
    since: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Hello:
    """The data of the first message, `hello`: nothing up to `last` will be told.

    `resumed`: everything after the number asked for follows. Otherwise look at everything anew.
    """

    last: int
    resumed: bool = False
    version: str = ""


FOLLOW = Endpoint(
    "GET",
    "/v1/live",
    LiveQuery,
    Feed,
    "What happens, while it happens: server-sent events. `hello` comes first; a plain message holds a list of events"
    " (`sequence` 0: a notice that is not kept, such as `runs.logged`); `lost` says that some were left out; `beat`"
    " comes when nothing else does",
)
