"""Queues: see what waits and change its order."""

from larder import config
from larder.contract import queues
from larder.contract.endpoint import Nothing
from larder.transport import Transport


def find(*, transport: Transport | None = None) -> list[queues.Queue]:
    """All queues with their lengths."""
    return (transport or config.connect()).call(queues.LIST, Nothing()).queues


def jobs(queue: str = "default", *, transport: Transport | None = None) -> list[queues.Job]:
    """The jobs of a queue: leased ones first, then waiting ones in order."""
    return (transport or config.connect()).call(queues.SHOW, Nothing(), queue=queue).jobs


def move(
    job_id: str, to: str = "top", *, before: str = "", queue: str = "", transport: Transport | None = None
) -> queues.Job:
    """Move a waiting job to the `top`, to the `bottom`, before another job, or to another queue."""
    return (transport or config.connect()).call(
        queues.MOVE, queues.Move(to=to, before=before, queue=queue), job_id=job_id
    )
