"""Queues: see what waits, why, and for how long; change its order and the way in which it is given away."""

from collections.abc import Mapping

from larder import config
from larder.contract import queues
from larder.contract.endpoint import Nothing
from larder.transport import Transport


def find(*, transport: Transport | None = None) -> list[queues.Queue]:
    """All queues with their lengths, policies, and how many agents listen."""
    return (transport or config.connect()).call(queues.LIST, Nothing()).queues


def jobs(queue: str = "default", *, transport: Transport | None = None) -> list[queues.Job]:
    """The jobs of a queue: leased ones first, then waiting ones in the order in which they would be leased."""
    return (transport or config.connect()).call(queues.SHOW, Nothing(), queue=queue).jobs


def line(
    queue: str = "default", *, limit: int = 200, offset: int = 0, transport: Transport | None = None
) -> queues.Line:
    """A queue as people look at it: each waiting job with why it waits and when it is expected to start."""
    query = queues.LineQuery(limit=limit, offset=offset)
    return (transport or config.connect()).call(queues.LINE, query, queue=queue)


def move(
    job_id: str, to: str = "top", *, before: str = "", queue: str = "", transport: Transport | None = None
) -> queues.Job:
    """Move a waiting job to the `top`, to the `bottom`, before another job, or to another queue."""
    return (transport or config.connect()).call(
        queues.MOVE, queues.Move(to=to, before=before, queue=queue), job_id=job_id
    )


def change(
    queue: str,
    *,
    paused: bool | None = None,
    draining: bool | None = None,
    limit_per_user: int | None = None,
    shares: Mapping[str, float] | None = None,
    transport: Transport | None = None,
) -> queues.Queue:
    """Change a queue's policy; None leaves as is. `shares` replaces all weights by team; empty: no sharing."""
    order = queues.ChangePolicy(
        paused=paused,
        draining=draining,
        limit_per_user=limit_per_user,
        shares=None if shares is None else dict(shares),
    )
    return (transport or config.connect()).call(queues.CHANGE, order, queue=queue)


def why(job_id: str, *, transport: Transport | None = None) -> queues.Why:
    """Why a job waits, and when it is expected to start."""
    return (transport or config.connect()).call(queues.WHY, Nothing(), job_id=job_id)


def history(
    queue: str = "default", *, hours: float = 24.0, points: int = 48, transport: Transport | None = None
) -> queues.History:
    """The lengths and waits of a queue over the last `hours`."""
    query = queues.HistoryQuery(hours=hours, points=points)
    return (transport or config.connect()).call(queues.HISTORY, query, queue=queue)
