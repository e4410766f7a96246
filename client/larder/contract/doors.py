"""Event doors: what an event from outside (a CloudEvent 1.0) starts on the server, once for each event.

A door names a type of event, an action of the server, and the action's arguments. In these, `${data.bucket}` stands for
what the event says there; a text that is nothing else keeps the kind of the value.
"""

from dataclasses import dataclass, field
from typing import Any

from larder.contract.endpoint import Endpoint, Nothing, Role


@dataclass(frozen=True, kw_only=True)
class EventDoor:
    """A door by its name. `source`: only events of that source; empty for all. `received` counts the events it took."""

    name: str
    type: str
    action: str
    arguments: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    user: str = ""
    changed: int = 0
    received: int = 0


@dataclass(frozen=True, kw_only=True)
class NewEventDoor:
    """A wish for a door.

    Actions: `runs.repeat` (a copy of a run, with `params`, into a queue), `runs.enqueue` (a draft), `events.keep` (keeps
    what the event says, for the next ingest of the door into a dataset).
    """

    type: str
    action: str
    arguments: dict[str, Any] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class EventDoors:
    """The doors of the tenant by name."""

    doors: list[EventDoor]


@dataclass(frozen=True, kw_only=True)
class CloudEvent:
    """An event as the CloudEvents specification 1.0 has it. `source` and `id` together name it.

    It travels as one JSON document (`application/cloudevents+json`), or with its attributes in `ce-` headers and its
    data as the body.
    """

    id: str
    source: str
    type: str
    specversion: str = "1.0"
    subject: str = ""
    time: str = ""
    datacontenttype: str = ""
    dataschema: str = ""
    data: Any = None
    data_base64: str = ""


@dataclass(frozen=True, kw_only=True)
class Received:
    """What an event started: by which door, and the `run`, where the action made or queued one.

    `again`: the event had been received before; nothing was done now, and this says what was done then.
    """

    id: str
    source: str
    type: str
    door: str
    time: int
    run: str = ""
    again: bool = False
    data: Any = None
    """What the event says, where its door keeps that and it was asked for."""


@dataclass(frozen=True, kw_only=True)
class ReceivedQuery:
    """Events received; with `door` those of one door. With `since` (UTC µs) those from then on, the oldest first, and with
    `data` what they say, where it was kept; else the last ones."""

    door: str = ""
    limit: int = 100
    since: int | None = None
    data: bool = False


@dataclass(frozen=True, kw_only=True)
class ReceivedEvents:
    """Events received, in the order that was asked for."""

    events: list[Received]


_DOOR = "/v1/event-doors/{door}"

LIST = Endpoint("GET", "/v1/event-doors", Nothing, EventDoors, "Event doors by name")
SET = Endpoint("PUT", _DOOR, NewEventDoor, EventDoor, "Say what events of a type start", Role.MAINTAINER)
DELETE = Endpoint("DELETE", _DOOR, Nothing, Nothing, "Close an event door", Role.MAINTAINER)
RECEIVE = Endpoint(
    "POST", "/v1/cloud-events", CloudEvent, Received, "Take a CloudEvent; its action starts once", Role.CONTRIBUTOR
)
RECEIVED = Endpoint("GET", "/v1/cloud-events", ReceivedQuery, ReceivedEvents, "Events received")
