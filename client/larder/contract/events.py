"""Events: every change of state, in the order it was committed."""

from dataclasses import dataclass, field
from typing import Any

from larder.contract.endpoint import Endpoint


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened: `name` such as `runs.finished`, `subject` the id it happened to, time in UTC µs."""

    sequence: int
    name: str
    subject: str
    time: int
    user: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EventQuery:
    """Events after a sequence number, the oldest first; waits up to `wait` seconds (0 to 60) for the next one.

    A negative `after` answers no events and the newest number: the place from which to listen. A waiting question may
    be answered early and empty when something changed that leaves no event, such as new points of a metric.
    """

    after: int = 0
    limit: int = 100
    wait: float = 0.0
    subject: str = ""


@dataclass(frozen=True, kw_only=True)
class Events:
    """Events in order; `last` is the `after` of the next question."""

    events: list[Event]
    last: int


LIST = Endpoint("GET", "/v1/events", EventQuery, Events, "What happened, in order; long poll with `wait`")
