"""Event doors over HTTP, and CloudEvents in the two shapes in which they travel."""

import functools
from collections.abc import Mapping
from urllib.parse import unquote

from larder.contract import doors
from larder.contract.doors import CloudEvent
from larder.contract.errors import Invalid
from larder_server.kernel.actions import Actions
from larder_server.kernel.routing import Route, bind
from larder_server.schedules import rules, service


def routes(actions: Actions) -> list[Route]:
    """The routes of the slice, with the actions that doors may start."""
    return [
        bind(doors.LIST, service.every),
        bind(doors.SET, functools.partial(service.put, actions=actions)),
        bind(doors.DELETE, service.close),
        bind(doors.RECEIVE, functools.partial(service.receive, actions=actions), foreign=_event),
        bind(doors.RECEIVED, service.received),
    ]


def _event(headers: Mapping[str, str], body: bytes) -> CloudEvent | None:
    """An event in its binary shape; None where it is one document, which is read like all others."""
    if headers.get("content-type", "").strip().lower().startswith(rules.BATCH):
        raise Invalid("this is a batch of events; here they come one by one")
    if "ce-specversion" not in headers and "ce-id" not in headers:
        return None
    # headers are Latin letters; all others are percent-encoded in them
    return rules.binary(
        {name: unquote(value) if name.startswith("ce-") else value for name, value in headers.items()}, body
    )
