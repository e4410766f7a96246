"""Where a job stands in its queue and who may act on it. Pure."""

from larder.contract.errors import Conflict, Invalid
from larder.contract.queues import Job

LEASE_SECONDS = 30.0
"""How long an agent may be silent before its job goes back to the queue."""

GAP = 1 << 20
"""The distance between two jobs put one after the other; room for jobs moved between them."""

LONGEST_WAIT = 60.0


def queue_name(name: str) -> str:
    """The name, when it may be a queue's; Invalid otherwise."""
    if not 0 < len(name) <= 100 or not name.isprintable() or "/" in name or ".." in name or name != name.strip():
        raise Invalid(f"a queue's name has 1 to 100 printable characters and no slash: {name[:120]!r}", field="queue")
    return name


def agent_name(name: str) -> str:
    """The name, when it may be an agent's; Invalid otherwise."""
    if len(name) > 200 or not name.isprintable():
        raise Invalid("an agent's name has at most 200 printable characters", field="agent")
    return name


def check_holder(job: Job, fence: int) -> None:
    """Conflict unless the fence is that of the job's living lease."""
    if job.state != "leased" or job.fence != fence:
        raise Conflict(f"the lease on job {job.id} is gone: its fence is {job.fence}, not {fence}",
                       hint="another agent may have the job now; end this work")  # fmt: skip


def check_movable(job: Job) -> None:
    """Conflict unless the job waits."""
    if job.state != "waiting":
        raise Conflict(f"job {job.id} is {job.state}; only a waiting job can be moved")


def between(lower: int | None, upper: int | None) -> int | None:
    """A position between two neighbours (None: no neighbour on that side); None when there is no room."""
    if lower is None and upper is None:
        return 0
    if lower is None:
        return (upper or 0) - GAP
    if upper is None:
        return lower + GAP
    middle = (lower + upper) // 2
    return middle if lower < middle < upper else None
