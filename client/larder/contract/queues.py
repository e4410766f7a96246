"""Queues: ordered lists of waiting jobs. An agent leases one job at a time, renews the lease, gives the job back or ends it."""

from dataclasses import dataclass

from larder.contract.endpoint import Endpoint, Nothing, Role


@dataclass(frozen=True, kw_only=True)
class Job:
    """One place in a queue; `subject` is the id of the thing to execute (for kind `run`, a run).

    `fence` counts the leases given on this job: a holder whose fence is not the newest is refused.
    """

    id: str
    queue: str
    kind: str
    subject: str
    state: str
    position: int
    fence: int
    created: int
    agent: str = ""
    lease_expires: int | None = None


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue and how many jobs wait in it and are leased from it."""

    name: str
    waiting: int
    leased: int


@dataclass(frozen=True, kw_only=True)
class Queues:
    """All queues of the tenant, by name."""

    queues: list[Queue]


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """The jobs of one queue: leased ones first, then waiting ones in order."""

    jobs: list[Job]


@dataclass(frozen=True, kw_only=True)
class LeaseRequest:
    """An agent asks for work from the first of `queues` that has some; waits up to `wait` seconds (0 to 60)."""

    queues: list[str]
    agent: str
    wait: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A job with the right to execute it until `job.lease_expires`; no job when none came in time."""

    job: Job | None = None
    seconds: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Proof of a lease: the fence it was given with."""

    fence: int


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """The lease goes on; `stop` asks the agent to end the work."""

    expires: int
    stop: bool = False


@dataclass(frozen=True, kw_only=True)
class Move:
    """Where a waiting job goes: `top`, `bottom`, or before another job; `queue` to change queue."""

    to: str = "top"
    before: str = ""
    queue: str = ""


LIST = Endpoint("GET", "/v1/queues", Nothing, Queues, "All queues with their lengths")
SHOW = Endpoint("GET", "/v1/queues/{queue}", Nothing, Jobs, "The jobs of a queue in order")
LEASE = Endpoint(
    "POST", "/v1/leases", LeaseRequest, Lease, "Lease the next job, waiting for one if asked", Role.CONTRIBUTOR
)
RENEW = Endpoint("POST", "/v1/jobs/{job_id}/renew", Hold, Renewal, "Prolong a lease", Role.CONTRIBUTOR)
COMPLETE = Endpoint("POST", "/v1/jobs/{job_id}/complete", Hold, Nothing, "End a leased job", Role.CONTRIBUTOR)
GIVE_BACK = Endpoint(
    "POST", "/v1/jobs/{job_id}/give-back", Hold, Nothing, "Put a leased job back at its place", Role.CONTRIBUTOR
)
MOVE = Endpoint("POST", "/v1/jobs/{job_id}/move", Move, Job, "Move a waiting job", Role.CONTRIBUTOR)
