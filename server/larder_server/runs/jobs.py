"""What runs do by themselves: on an event, by the clock."""

from larder.contract.runs import Cause
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


HANDLERS = {queues.LEASE_EXPIRED: _on_lease_expired, events.TIDY_DUE: _tidy}
TIMERS = [(30.0, service.mark_lost)]
