"""What runs do by themselves: on an event, by the clock, as an action that others start."""

from typing import Any

import msgspec

from larder.contract.runs import Cause, Clone, Enqueue
from larder_server.kernel.context import Context
from larder_server.kernel.outbox import Event
from larder_server.queues import events as queues
from larder_server.runs import events, service


def _on_lease_expired(context: Context, event: Event) -> None:
    if event.data["kind"] == service.KIND:
        cause = event.data.get("cause", Cause.AGENT_LOST.value)
        service.lease_expired(context, run_id=event.subject, fence=event.data["fence"], cause=cause)


def _tidy(context: Context, event: Event) -> None:
    service.tidy(context, run_id=event.subject)


def _enqueue(context: Context, *, run: str, queue: str = "default", priority: str = "automatic") -> dict[str, str]:
    """Put a draft into a queue."""
    order = {"queue": queue, "priority": priority}
    return {"run": service.enqueue(context, msgspec.convert(order, Enqueue), msgspec.convert(run, str)).id}


def _repeat(
    context: Context,
    *,
    run: str,
    queue: str = "default",
    priority: str = "automatic",
    params: dict[str, Any] | None = None,
    name: str = "",
    tags: list[str] | None = None,
) -> dict[str, str]:
    """Put a copy of a run into a queue, with other parameters."""
    order = {"params": params or {}, "name": name, "tags": tags or []}
    made = service.clone(context, msgspec.convert(order, Clone), msgspec.convert(run, str))
    return _enqueue(context, run=made.id, queue=queue, priority=priority)


ACTIONS = {"runs.enqueue": _enqueue, "runs.repeat": _repeat}
HANDLERS = {queues.LEASE_EXPIRED: _on_lease_expired, events.TIDY_DUE: _tidy}
TIMERS = [(30.0, service.mark_lost)]
