"""Queues: ordered lists of waiting jobs. An agent leases one job at a time, renews the lease, gives the job back or ends it.

Times are UTC microseconds since 1970; memory is in bytes.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from larder.contract.endpoint import Endpoint, Nothing, Role


class Priority(StrEnum):
    """The class of a job: all that people wait for goes before what a search or a schedule has put in."""

    HUMAN = "human"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a job needs of the machine that executes it; zero and empty say nothing.

    With `gpus` and no `gpu_memory` the job has its GPUs for itself; with it, jobs share a GPU as far as its memory goes.
    `seconds` limits the time. `executor` is `process` or `container`; an `image` asks for a container.
    """

    cpus: float = 0.0
    memory: int = 0
    gpus: int = 0
    gpu_memory: int = 0
    executor: str = ""
    image: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU that an agent may give away."""

    index: int
    memory: int
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What an agent has to give, in all, to the jobs it holds."""

    slots: int = 1
    cpus: float = 0.0
    memory: int = 0
    gpus: list[Gpu] = field(default_factory=list)
    executors: list[str] = field(default_factory=lambda: ["process"])
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Load:
    """How busy a machine is: shares of its processors and of each GPU from 0 to 1, bytes of its memory in use."""

    cpu: float = 0.0
    memory: int = 0
    gpus: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One place in a queue; `subject` is the id of the thing to execute (for kind `run`, a run).

    `fence` counts the leases given on this job: a holder whose fence is not the newest is refused. `gpus` are the
    indexes of the GPUs that were given to the holder. `expected` is the number of seconds that such jobs took before.
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
    priority: Priority = Priority.HUMAN
    owner: str = ""
    team: str = ""
    needs: Needs = field(default_factory=Needs)
    gpus: list[int] = field(default_factory=list)
    expected: float | None = None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How a queue gives its jobs away.

    `paused`: nothing is leased. `draining`: nothing is put in, what is there is leased. `limit_per_user`: so many jobs
    of one user are leased at a time, 0 for any number. `shares`: with weights by team, the team that has the least
    leased for its weight is next; a team without a weight has 1.
    """

    paused: bool = False
    draining: bool = False
    limit_per_user: int = 0
    shares: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue, how many jobs wait in it and are leased from it, and its policy."""

    name: str
    waiting: int
    leased: int
    policy: Policy = field(default_factory=Policy)
    agents: int = 0


@dataclass(frozen=True, kw_only=True)
class Queues:
    """All queues of the tenant, by name."""

    queues: list[Queue]


@dataclass(frozen=True, kw_only=True)
class ChangePolicy:
    """What changes of a queue's policy; None leaves as is."""

    paused: bool | None = None
    draining: bool | None = None
    limit_per_user: int | None = None
    shares: dict[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """The jobs of one queue: leased ones first, then waiting ones in the order in which they would be leased."""

    jobs: list[Job]


@dataclass(frozen=True, kw_only=True)
class LeaseRequest:
    """An agent asks for work from the first of `queues` that has some; waits up to `wait` seconds (0 to 60).

    With a `capacity` it is given only what fits beside the jobs that it holds already. `ask` is the same, and nobody
    else's, until an answer with a job has come; `repeated` says that an answer to it was lost, and then the job that
    was given with that answer is given again.
    """

    queues: list[str]
    agent: str
    wait: float = 0.0
    capacity: Capacity | None = None
    load: Load | None = None
    host: str = ""
    version: str = ""
    ask: str = ""
    repeated: bool = False


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A job with the right to execute it until `job.lease_expires`; no job when none came in time.

    `token` speaks for the job's run and is good as long as the lease lives. `drain`: an admin wants this agent to end.
    """

    job: Job | None = None
    seconds: float = 30.0
    token: str = ""
    drain: bool = False


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Proof of a lease: the fence it was given with. `load` tells how busy the machine is."""

    fence: int
    load: Load | None = None


@dataclass(frozen=True, kw_only=True)
class GiveBack:
    """A job goes back to its place. `cause`: `agent_lost`, `preempted`, or empty for a job that never began."""

    fence: int
    cause: str = "preempted"


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """The lease goes on; `stop` asks the agent to end the work; `drain`: an admin wants this agent to end."""

    expires: int
    stop: bool = False
    drain: bool = False


@dataclass(frozen=True, kw_only=True)
class Move:
    """Where a waiting job goes: `top`, `bottom`, or before another job; `queue` to change queue.

    It takes the priority of the jobs that it is put between, so that it is leased where it was put.
    """

    to: str = "top"
    before: str = ""
    queue: str = ""


@dataclass(frozen=True, kw_only=True)
class Why:
    """Why a job waits: `reasons` in sentences, the most important first; empty when it could start at once.

    `ahead` jobs are before it. `starts` is when it is expected to start, from how long such jobs took; None: unknown.
    """

    job: Job
    reasons: list[str]
    ahead: int = 0
    starts: int | None = None


@dataclass(frozen=True, kw_only=True)
class LineQuery:
    """The first `limit` (1 to 1,000) waiting jobs after `offset`."""

    limit: int = 200
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class InLine:
    """A waiting job at its place in the line. `reason`: the most important cause of its waiting; see `Why` for all.

    `ahead` and `starts` are as in `Why`.
    """

    job: Job
    ahead: int
    reason: str = ""
    starts: int | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """A queue as people look at it: what is leased from it, and what waits, in the order in which it would be leased."""

    queue: Queue
    leased: list[Job]
    waiting: list[InLine]


@dataclass(frozen=True, kw_only=True)
class HistoryQuery:
    """The last `hours` of a queue, in `points` stretches of equal length (1 to 1,000)."""

    hours: float = 24.0
    points: int = 48


@dataclass(frozen=True, kw_only=True)
class History:
    """A queue over time. Element i of each list is the stretch that ends at `times[i]`.

    `waiting` and `leased`: the most jobs at a time in it. `waits`: the median seconds from entry to lease of the jobs
    leased in it; None where there was none.
    """

    times: list[int]
    waiting: list[int]
    leased: list[int]
    waits: list[float | None]


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A process that leases jobs. `state`: `idle`, `busy`, `draining`, or `gone` when it has been silent for too long."""

    name: str
    state: str
    queues: list[str]
    seen: int
    started: int
    host: str = ""
    version: str = ""
    capacity: Capacity = field(default_factory=Capacity)
    load: Load = field(default_factory=Load)
    jobs: list[Job] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Agents:
    """The agents of the tenant, by name."""

    agents: list[Agent]


@dataclass(frozen=True, kw_only=True)
class StaysQuery:
    """The newest `limit` (1 to 500) pieces of work of an agent."""

    limit: int = 50


@dataclass(frozen=True, kw_only=True)
class Stay:
    """One lease of a job, from `leased` to `ended` (None: it goes on). `cause` says why it ended before its time."""

    job: str
    kind: str
    subject: str
    queue: str
    leased: int
    ended: int | None = None
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class Stays:
    """What an agent has executed, the newest first; kept for 90 days."""

    stays: list[Stay]


LIST = Endpoint("GET", "/v1/queues", Nothing, Queues, "All queues with their lengths")
SHOW = Endpoint("GET", "/v1/queues/{queue}", Nothing, Jobs, "The jobs of a queue in order")
LINE = Endpoint("GET", "/v1/queues/{queue}/line", LineQuery, Line, "A queue with why its jobs wait and when they start")
CHANGE = Endpoint("PATCH", "/v1/queues/{queue}", ChangePolicy, Queue, "Change a queue's policy", Role.MAINTAINER)
HISTORY = Endpoint("GET", "/v1/queues/{queue}/history", HistoryQuery, History, "Length and waits of a queue over time")
LEASE = Endpoint(
    "POST", "/v1/leases", LeaseRequest, Lease, "Lease the next job, waiting for one if asked", Role.CONTRIBUTOR
)
RENEW = Endpoint("POST", "/v1/jobs/{job_id}/renew", Hold, Renewal, "Prolong a lease", Role.CONTRIBUTOR)
COMPLETE = Endpoint("POST", "/v1/jobs/{job_id}/complete", Hold, Nothing, "End a leased job", Role.CONTRIBUTOR)
GIVE_BACK = Endpoint(
    "POST", "/v1/jobs/{job_id}/give-back", GiveBack, Nothing, "Put a leased job back at its place", Role.CONTRIBUTOR
)
MOVE = Endpoint("POST", "/v1/jobs/{job_id}/move", Move, Job, "Move a waiting job", Role.CONTRIBUTOR)
WHY = Endpoint("GET", "/v1/jobs/{job_id}/why", Nothing, Why, "Why a job waits, and when it is expected to start")
AGENTS = Endpoint("GET", "/v1/agents", Nothing, Agents, "The agents with their load and what they execute")
DRAIN_AGENT = Endpoint(
    "POST", "/v1/agents/{agent}/drain", Nothing, Nothing, "Ask an agent to end after its work", Role.MAINTAINER
)
AGENT_HISTORY = Endpoint("GET", "/v1/agents/{agent}/history", StaysQuery, Stays, "What an agent has executed")
