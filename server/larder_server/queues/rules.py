"""Which job is next, whether a machine has room for it, and who may act on it. Pure."""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from larder.contract.errors import Conflict, Invalid
from larder.contract.queues import (
    Capacity,
    Gpu,
    History,
    HistoryQuery,
    Job,
    LineQuery,
    Needs,
    Policy,
    Priority,
    StaysQuery,
)

GAP = 1 << 20
"""The distance between two jobs put one after the other; room for jobs moved between them."""

LONGEST_WAIT = 60.0

SECOND = 1_000_000
PATIENCE = 600 * SECOND
"""How long smaller jobs may overtake one that its agent could hold but has no room for now."""

SEEN_EVERY = 10 * SECOND
"""An agent's sign of life is written down at most so often."""

SILENCE = 180 * SECOND
"""An agent that says nothing for so long is gone."""

DRAINED_AFTER = 60 * SECOND
"""An agent that was asked to end and comes back after such a silence has ended meanwhile: it is a new one."""

FORGET_AGENT_AFTER = 86_400 * SECOND
KEEP_LOG = 90 * 86_400 * SECOND

PINNED, HUMAN, AUTOMATIC = 0, 1, 2
"""The ranks of waiting jobs: put at its place by a person, then the priority classes."""

CAUSES = ("agent_lost", "preempted", "")


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


def check_needs(needs: Needs) -> Needs:
    """The needs in their plain form, when they make sense; Invalid otherwise. An image asks for a container."""
    for name in ("cpus", "memory", "gpus", "gpu_memory", "seconds"):
        value = getattr(needs, name)
        if not math.isfinite(value) or value < 0:
            raise Invalid(f"a job needs 0 or more {name}, not {value}", field=f"needs.{name}")
    if needs.gpus > 1000:
        raise Invalid(f"a job needs at most 1,000 GPUs, not {needs.gpus}", field="needs.gpus")
    if needs.executor not in ("", "process", "container"):
        raise Invalid(f"the executor is 'process' or 'container', not {needs.executor[:100]!r}", field="needs.executor")
    if needs.image and needs.executor == "process":
        raise Invalid("an image needs the executor 'container', not 'process'", field="needs.executor")
    if needs.image.startswith("-") or any(character.isspace() for character in needs.image):
        raise Invalid(f"no image is called {needs.image[:100]!r}", field="needs.image")
    texts = [needs.image, *needs.labels, *needs.labels.values()]
    if len(needs.labels) > 100 or not all(len(text) <= 500 and text.isprintable() for text in texts):
        raise Invalid("an image and up to 100 labels have at most 500 printable characters each", field="needs.labels")
    return Needs(
        cpus=needs.cpus,
        memory=needs.memory,
        gpus=max(needs.gpus, 1) if needs.gpu_memory else needs.gpus,
        gpu_memory=needs.gpu_memory,
        executor=needs.executor or ("container" if needs.image else ""),
        image=needs.image,
        labels=dict(needs.labels),
        seconds=needs.seconds,
    )


def check_capacity(capacity: Capacity) -> None:
    """Invalid unless the capacity makes sense."""
    numbers = [capacity.cpus, capacity.memory, *(gpu.memory for gpu in capacity.gpus)]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise Invalid("an agent has 0 or more of everything", field="capacity")
    if not 1 <= capacity.slots <= 10_000:
        raise Invalid(f"an agent has 1 to 10,000 slots, not {capacity.slots}", field="capacity.slots")
    indexes = [gpu.index for gpu in capacity.gpus]
    if len(indexes) > 1000 or len(set(indexes)) != len(indexes):
        raise Invalid("an agent has up to 1,000 GPUs, each with its own index", field="capacity.gpus")


def check_holder(job: Job, fence: int) -> None:
    """Conflict unless the fence is that of the job's living lease."""
    if job.state != "leased" or job.fence != fence:
        raise Conflict(f"the lease on job {job.id} is gone: its fence is {job.fence}, not {fence}",
                       hint="another agent may have the job now; end this work")  # fmt: skip


def check_movable(job: Job) -> None:
    """Conflict unless the job waits."""
    if job.state != "waiting":
        raise Conflict(f"job {job.id} is {job.state}; only a waiting job can be moved")


def check_open(queue: str, policy: Policy) -> None:
    """Conflict unless jobs may be put into the queue."""
    if policy.draining:
        raise Conflict(
            f"queue {queue} is draining: it takes no more jobs",
            hint=f"choose another queue, or open it again: larder queues resume {queue}",
        )


def check_policy(policy: Policy) -> Policy:
    """The policy, when it makes sense; Invalid otherwise."""
    if not 0 <= policy.limit_per_user <= 1_000_000:
        raise Invalid("a limit per user is 1 or more, or 0 for none", field="limit_per_user")
    if len(policy.shares) > 1000:
        raise Invalid("a queue has shares for at most 1,000 teams", field="shares")
    for team, weight in policy.shares.items():
        if not math.isfinite(weight) or not 0 < weight <= 1e6:
            raise Invalid(f"the share of team {team[:100]!r} is above 0 and at most a million, not {weight}",
                          field="shares", hint="leave the team out to give it the share 1")  # fmt: skip
    return policy


def rank(priority: Priority) -> int:
    """The rank of a job that nobody has moved."""
    return HUMAN if priority is Priority.HUMAN else AUTOMATIC


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


# -- room


@dataclass(frozen=True, kw_only=True)
class Held:
    """What an agent has given away: the needs of a job that it holds, and the GPUs it was given."""

    needs: Needs
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Room:
    """What an agent has left. None where it has not said how much it has.

    `gpus` holds the free memory of each GPU by index, without those that a job has for itself; `empty` those that no
    job uses.
    """

    slots: int
    cpus: float | None = None
    memory: int | None = None
    gpus: Mapping[int, int] = field(default_factory=dict)
    empty: frozenset[int] = frozenset()
    executors: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)


def room(capacity: Capacity, held: Iterable[Held] = ()) -> Room:
    """What is left of a capacity beside the jobs held. An agent that says 0 cpus or memory has not measured them."""
    holding = list(held)
    free = {gpu.index: gpu.memory for gpu in capacity.gpus}
    used: set[int] = set()
    for one in holding:
        for index in one.gpus:
            used.add(index)
            if one.needs.gpu_memory == 0:
                free.pop(index, None)
            elif index in free:
                free[index] -= one.needs.gpu_memory
    return Room(
        slots=capacity.slots - len(holding),
        cpus=capacity.cpus - sum(one.needs.cpus for one in holding) if capacity.cpus else None,
        memory=capacity.memory - sum(one.needs.memory for one in holding) if capacity.memory else None,
        gpus=free,
        empty=frozenset(index for index in free if index not in used),
        executors=frozenset(capacity.executors),
        labels=capacity.labels,
    )


def fit(needs: Needs, room: Room) -> tuple[int, ...] | None:
    """The GPUs that a job is given when there is room for it; None when there is not.

    Jobs that share are put where the least memory is left over, so that whole GPUs stay free for those that do not.
    """
    if room.slots < 1 or _lacks(needs, room.labels, room.executors):
        return None
    # sums of fractions: 3 × 0.1 must fit into 0.3
    if needs.cpus and room.cpus is not None and needs.cpus > room.cpus + 1e-9:
        return None
    if needs.memory and room.memory is not None and needs.memory > room.memory:
        return None
    if not needs.gpus:
        return ()
    if needs.gpu_memory == 0:
        possible = sorted(room.empty)
    else:
        possible = sorted(
            (index for index, memory in room.gpus.items() if memory >= needs.gpu_memory),
            key=lambda index: (room.gpus[index], index),
        )
    return tuple(sorted(possible[: needs.gpus])) if len(possible) >= needs.gpus else None


def lacks(needs: Needs, capacity: Capacity) -> str:
    """Why an agent could not even hold a job with nothing else, as half sentences; empty when it could."""
    if wrong := _lacks(needs, capacity.labels, frozenset(capacity.executors)):
        return wrong
    if needs.cpus and capacity.cpus and needs.cpus > capacity.cpus + 1e-9:
        return f"has {_number(capacity.cpus)} cpus; the job needs {_number(needs.cpus)}"
    if needs.memory and capacity.memory and needs.memory > capacity.memory:
        return f"has {_size(capacity.memory)} of memory; the job needs {_size(needs.memory)}"
    if len(capacity.gpus) < needs.gpus:
        return f"has {_gpus(capacity.gpus)}; the job needs {needs.gpus}"
    if sum(gpu.memory >= needs.gpu_memory for gpu in capacity.gpus) < needs.gpus:
        many = "" if needs.gpus == 1 else f"{needs.gpus} with "
        return f"has {_gpus(capacity.gpus)}; the job needs {many}{_size(needs.gpu_memory)}"
    return ""


def _lacks(needs: Needs, labels: Mapping[str, str], executors: frozenset[str]) -> str:
    if needs.executor and needs.executor not in executors:
        return f"has no executor {needs.executor}"
    for name, value in needs.labels.items():
        if labels.get(name) != value:
            has = f"has {name}={labels[name]}" if name in labels else f"has no label {name}"
            return f"{has}; the job needs {name}={value}"
    return ""


def _gpus(gpus: Sequence[Gpu]) -> str:
    if not gpus:
        return "no GPU"
    sizes = sorted({gpu.memory for gpu in gpus})
    memory = _size(sizes[0]) if len(sizes) == 1 else f"{_size(sizes[0])} to {_size(sizes[-1])}"
    return f"{len(gpus)} GPU{'' if len(gpus) == 1 else 's'} of {memory}"


def _size(count: int) -> str:
    # machines come in powers of 1024, people ask in powers of 1000; each reads back what it said
    units = (("GB", 10**9), ("MB", 10**6)) if count % 10**6 == 0 else (("GiB", 1 << 30), ("MiB", 1 << 20))
    for unit, length in units:
        if count >= length:
            return f"{count / length:.1f}".removesuffix(".0") + f" {unit}"
    return f"{count} bytes"


def _number(count: float) -> str:
    return f"{count:.6g}"


# -- order


@dataclass(frozen=True, kw_only=True)
class Place:
    """Of a waiting job what its order depends on."""

    id: str
    rank: int
    team: str
    position: int
    created: int

    @property
    def key(self) -> tuple[int, int, int, str]:
        return (self.rank, self.position, self.created, self.id)


def burden(team: str, leased: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """How much a team has leased for its weight; the team with the least is next."""
    return leased.get(team, 0) / shares.get(team, 1.0)


def order(places: Iterable[Place], shares: Mapping[str, float], leased: Mapping[str, int]) -> list[str]:
    """The ids of waiting jobs in the order in which they are leased when none of the leased ones ends meanwhile.

    Pinned jobs come first, then human ones, then automatic ones. Within a class, where the queue has shares, the team
    that has the least leased for its weight is next; then the position decides.
    """
    waiting = sorted(places, key=lambda place: place.key)
    if not shares:
        return [place.id for place in waiting]
    counts = dict(leased)
    ordered = [place for place in waiting if place.rank == PINNED]
    for place in ordered:
        counts[place.team] = counts.get(place.team, 0) + 1
    for class_ in (HUMAN, AUTOMATIC):
        lines: dict[str, list[Place]] = {}
        for place in waiting:
            if place.rank == class_:
                lines.setdefault(place.team, []).append(place)
        heads = [(burden(team, counts, shares), line[0].key, team, 0) for team, line in lines.items()]
        heapq.heapify(heads)
        while heads:
            _, _, team, index = heapq.heappop(heads)
            ordered.append(lines[team][index])
            counts[team] = counts.get(team, 0) + 1
            if index + 1 < len(lines[team]):
                heapq.heappush(heads, (burden(team, counts, shares), lines[team][index + 1].key, team, index + 1))
    return [place.id for place in ordered]


# -- expectations and history


def expected_starts(
    now: int, *, slots: int, running: Sequence[float | None], ahead: Sequence[float | None]
) -> list[int | None]:
    """When jobs in a line are expected to start on `slots` slots, and when one behind them all.

    `running` is the seconds that each leased job still takes, `ahead` how long each job of the line takes. None: without
    a slot, or where it depends on a time that is not known.
    """
    if slots < 1:
        return [None] * (len(ahead) + 1)
    known = None not in running
    free = [*(max(0.0, left or 0.0) for left in running), *[0.0] * max(0, slots - len(running))]
    heapq.heapify(free)
    while len(free) > slots:
        heapq.heappop(free)  # more is leased than there are slots: the first to end leaves none
    starts: list[int | None] = [now + int(free[0] * SECOND) if known or len(running) < slots else None]
    for seconds in ahead:
        known = known and seconds is not None
        heapq.heapreplace(free, free[0] + max(0.0, seconds or 0.0))
        starts.append(now + int(free[0] * SECOND) if known else None)
    return starts


@dataclass(frozen=True, kw_only=True)
class Stay:
    """One stay of a job in a queue; None for what has not happened."""

    entered: int
    leased: int | None
    ended: int | None


def check_line(query: LineQuery) -> None:
    """Invalid unless the part of the line makes sense."""
    if not 1 <= query.limit <= 1000:
        raise Invalid(f"limit is between 1 and 1,000, not {query.limit}", field="limit")
    if query.offset < 0:
        raise Invalid("offset is a number from 0", field="offset")


def check_stays(query: StaysQuery) -> None:
    """Invalid unless the number makes sense."""
    if not 1 <= query.limit <= 500:
        raise Invalid(f"limit is between 1 and 500, not {query.limit}", field="limit")


def check_history(query: HistoryQuery) -> None:
    """Invalid unless the stretch of time makes sense."""
    if not 0 < query.hours <= 24 * 366:
        raise Invalid("a history is of more than 0 hours and of at most 366 days", field="hours")
    if not 1 <= query.points <= 1000:
        raise Invalid(f"a history has 1 to 1,000 points, not {query.points}", field="points")


def history(stays: Iterable[Stay], *, now: int, hours: float, points: int) -> History:
    """The lengths and waits of a queue in `points` stretches that end now."""
    first = now - int(hours * 3600 * SECOND)
    times = [first + (now - first) * (index + 1) // points for index in range(points)]
    # (time, change of waiting, change of leased); what ends comes before what begins at the same moment
    changes: list[tuple[int, int, int]] = []
    waits: list[list[float]] = [[] for _ in times]
    for stay in stays:
        begun = stay.leased if stay.leased is not None else stay.ended
        changes.append((stay.entered, 1, 0))
        if begun is not None:
            changes.append((begun, -1, 0))
        if stay.leased is not None:
            changes.append((stay.leased, 0, 1))
            if stay.ended is not None:
                changes.append((stay.ended, 0, -1))
            if first < stay.leased <= now:
                index = min(points - 1, max(0, -(-(stay.leased - first) * points // (now - first)) - 1))
                waits[index].append((stay.leased - stay.entered) / SECOND)
    changes.sort(key=lambda change: (change[0], change[1] + change[2]))
    waiting, leased = 0, 0
    most_waiting, most_leased = [], []
    at = 0
    for time in times:
        top_waiting, top_leased = waiting, leased
        while at < len(changes) and changes[at][0] <= time:
            moment, by_waiting, by_leased = changes[at]
            waiting, leased = waiting + by_waiting, leased + by_leased
            if moment <= first:
                top_waiting, top_leased = waiting, leased
            top_waiting, top_leased = max(top_waiting, waiting), max(top_leased, leased)
            at += 1
        most_waiting.append(top_waiting)
        most_leased.append(top_leased)
    middle = [median(each) if each else None for each in waits]
    return History(times=times, waiting=most_waiting, leased=most_leased, waits=middle)
