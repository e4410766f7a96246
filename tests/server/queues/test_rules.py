"""Who is next, what fits where, and what a queue's past looks like: for any jobs and machines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from larder.contract.errors import Invalid
from larder.contract.queues import Capacity, Gpu, Needs
from larder_server.queues import rules
from larder_server.queues.rules import Held, Place, Stay

GB = 10**9

needs = st.builds(
    Needs,
    cpus=st.sampled_from([0.0, 0.1, 0.5, 1.0, 4.0]),
    memory=st.sampled_from([0, GB, 8 * GB]),
    gpus=st.integers(0, 3),
    gpu_memory=st.sampled_from([0, 4 * GB, 10 * GB, 24 * GB]),
    executor=st.sampled_from(["", "process", "container"]),
    labels=st.dictionaries(st.sampled_from(["site", "disk"]), st.sampled_from(["a", "b"]), max_size=1),
).map(rules.check_needs)
capacities = st.builds(
    lambda slots, cpus, memory, gpus, executors, labels: Capacity(
        slots=slots, cpus=cpus, memory=memory, gpus=[Gpu(index=at, memory=size) for at, size in enumerate(gpus)],
        executors=executors, labels=labels,
    ),
    st.integers(1, 6), st.sampled_from([0.0, 1.0, 8.0]), st.sampled_from([0, 4 * GB, 16 * GB]),
    st.lists(st.sampled_from([10 * GB, 24 * GB]), max_size=4), st.sampled_from([["process"], ["process", "container"]]),
    st.dictionaries(st.sampled_from(["site", "disk"]), st.sampled_from(["a", "b"])),
)  # fmt: skip


@given(capacities, st.lists(needs, max_size=15))
def test_what_is_given_away_never_exceeds_what_there_is(capacity, jobs):
    held: list[Held] = []
    for job in jobs:
        gpus = rules.fit(job, rules.room(capacity, held))
        if gpus is None:
            continue
        assert len(gpus) == len(set(gpus)) == job.gpus
        held.append(Held(needs=job, gpus=gpus))
    assert len(held) <= capacity.slots
    if capacity.cpus:
        assert sum(one.needs.cpus for one in held) <= capacity.cpus + 1e-6
    if capacity.memory:
        assert sum(one.needs.memory for one in held) <= capacity.memory
    for gpu in capacity.gpus:
        on_it = [one.needs for one in held if gpu.index in one.gpus]
        assert sum(one.gpu_memory for one in on_it) <= gpu.memory
        assert len(on_it) == 1 or all(one.gpu_memory > 0 for one in on_it)
    for one in held:
        assert one.needs.labels.items() <= capacity.labels.items()
        assert not one.needs.executor or one.needs.executor in capacity.executors


@given(capacities, needs)
def test_an_empty_machine_has_room_exactly_when_nothing_is_lacking(capacity, job):
    assert (rules.fit(job, rules.room(capacity)) is not None) == (rules.lacks(job, capacity) == "")


@given(capacities, st.lists(needs, max_size=5), needs)
def test_what_does_not_fit_an_empty_machine_fits_no_fuller_one(capacity, jobs, job):
    held = [Held(needs=one, gpus=tuple(range(one.gpus))) for one in jobs]
    if rules.fit(job, rules.room(capacity, held)) is not None:
        assert rules.fit(job, rules.room(capacity)) is not None


def test_two_jobs_share_a_gpu_while_its_memory_lasts():
    capacity = Capacity(slots=4, gpus=[Gpu(index=0, memory=24 * GB), Gpu(index=3, memory=24 * GB)])
    shared = Needs(gpus=1, gpu_memory=12 * GB)
    held: list[Held] = []
    for expected in [(0,), (0,), (3,)]:
        gpus = rules.fit(shared, rules.room(capacity, held))
        assert gpus == expected
        held.append(Held(needs=shared, gpus=gpus))
    assert rules.fit(Needs(gpus=1), rules.room(capacity, held)) is None  # wants one for itself
    assert rules.fit(Needs(gpus=1), rules.room(capacity, held[:2])) == (3,)


@pytest.mark.parametrize(
    "job,capacity,sentence",
    [
        (Needs(gpus=1, gpu_memory=40 * GB), Capacity(gpus=[Gpu(index=0, memory=24 * GB)]),
         "has 1 GPU of 24 GB; the job needs 40 GB"),
        (Needs(gpus=2), Capacity(), "has no GPU; the job needs 2"),
        (Needs(memory=64 << 30), Capacity(memory=32 << 30), "has 32 GiB of memory; the job needs 64 GiB"),
        (Needs(cpus=8), Capacity(cpus=4), "has 4 cpus; the job needs 8"),
        (Needs(labels={"site": "lab"}), Capacity(), "has no label site; the job needs site=lab"),
        (Needs(executor="container"), Capacity(), "has no executor container"),
    ],
)  # fmt: skip
def test_what_is_lacking_is_said(job, capacity, sentence):
    assert rules.lacks(job, capacity) == sentence


@pytest.mark.parametrize(
    "field,value", [("cpus", -1.0), ("cpus", float("nan")), ("memory", -1), ("gpus", 1001), ("executor", "ray")]
)
def test_needs_that_make_no_sense_are_refused(field, value):
    with pytest.raises(Invalid) as caught:
        rules.check_needs(Needs(**{field: value}))
    assert caught.value.field == f"needs.{field}"


def test_an_image_asks_for_a_container_and_gpu_memory_for_a_gpu():
    assert rules.check_needs(Needs(image="python:3.11")).executor == "container"
    assert rules.check_needs(Needs(gpu_memory=GB)).gpus == 1


TEAMS = ["", "blue", "red"]
places = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(TEAMS), st.integers(-3, 3)), max_size=20
).map(lambda rows: [
    Place(id=str(number), rank=rank, team=team, position=position, created=number)
    for number, (rank, team, position) in enumerate(rows)
])  # fmt: skip
weights = st.dictionaries(st.sampled_from(TEAMS), st.sampled_from([0.5, 1.0, 3.0]))
counts = st.dictionaries(st.sampled_from(TEAMS), st.integers(0, 5))


@given(places, weights, counts)
def test_every_job_has_one_place_and_classes_stay_apart(waiting, shares, leased):
    ordered = rules.order(waiting, shares, leased)
    assert sorted(ordered) == sorted(place.id for place in waiting)
    by_id = {place.id: place for place in waiting}
    ranks = [by_id[id].rank for id in ordered]
    assert ranks == sorted(ranks)
    pinned = [by_id[id].key for id in ordered if by_id[id].rank == rules.PINNED]
    assert pinned == sorted(pinned)
    for team in TEAMS:  # nobody overtakes a colleague of the same class
        for rank in (rules.HUMAN, rules.AUTOMATIC):
            keys = [by_id[id].key for id in ordered if (by_id[id].team, by_id[id].rank) == (team, rank)]
            assert keys == sorted(keys)


@given(st.integers(0, 30), st.integers(0, 30), st.sampled_from([1.0, 2.0, 3.0]))
def test_teams_are_served_by_their_weights(blue, red, weight):
    waiting = [
        Place(id=f"{team}{number}", rank=rules.HUMAN, team=team, position=number, created=0)
        for team, count in (("blue", blue), ("red", red))
        for number in range(count)
    ]
    ordered = rules.order(waiting, {"blue": weight}, {})
    for length in range(1, len(ordered) + 1):
        served = {team: sum(id.startswith(team) for id in ordered[:length]) for team in ("blue", "red")}
        if served["blue"] < blue and served["red"] < red:  # both still wait: neither is more than one job ahead
            assert served["blue"] / weight <= served["red"] + 1
            assert served["red"] <= (served["blue"] + 1) / weight + 1


def test_a_start_is_expected_when_the_first_slot_is_free():
    def last(**given):
        return rules.expected_starts(0, **given)[-1]

    assert last(slots=2, running=[30.0, 10.0], ahead=[100.0]) == 30 * rules.SECOND
    assert last(slots=2, running=[30.0], ahead=[]) == 0
    assert last(slots=1, running=[-5.0], ahead=[7.0]) == 7 * rules.SECOND
    assert last(slots=0, running=[], ahead=[]) is None


def test_starts_are_expected_down_a_line_as_far_as_times_are_known():
    second = rules.SECOND
    starts = rules.expected_starts(0, slots=2, running=[30.0], ahead=[5.0, 50.0, None, 1.0])
    assert starts == [0, 5 * second, 30 * second, None, None]
    assert rules.expected_starts(0, slots=2, running=[None], ahead=[5.0]) == [0, None]
    assert rules.expected_starts(0, slots=1, running=[None], ahead=[]) == [None]


HOUR = 3600 * rules.SECOND
stays = st.lists(
    st.tuples(st.integers(-100, 99), st.none() | st.integers(0, 50), st.none() | st.integers(0, 50)), max_size=12
)


@given(stays, st.integers(1, 7))
def test_history_counts_what_was_there_at_every_moment(rows, points):
    """Against looking at each minute of 100 by hand."""
    minute = 60 * rules.SECOND
    now = 100 * minute
    made = []
    for entered, to_lease, to_end in rows:
        leased = None if to_lease is None or entered + to_lease > 100 else entered + to_lease
        ended = None if to_end is None else (leased if leased is not None else entered) + to_end
        ended = None if ended is None or ended > 100 else ended
        at = [None if time is None else time * minute for time in (leased, ended)]
        made.append(Stay(entered=entered * minute, leased=at[0], ended=at[1]))
    found = rules.history(made, now=now, hours=100 / 60, points=points)
    assert found.times[-1] == now and len(found.times) == points

    def at_end(time):
        waiting = sum(
            one.entered
            <= time
            < (one.leased if one.leased is not None else one.ended if one.ended is not None else now + 1)
            for one in made
        )
        leased = sum(
            one.leased is not None and one.leased <= time < (now + 1 if one.ended is None else one.ended)
            for one in made
        )
        return waiting, leased

    for index, time in enumerate(found.times):
        waiting, leased = at_end(time)
        assert found.waiting[index] >= waiting and found.leased[index] >= leased
        begin = found.times[index - 1] if index else 0
        moments = {
            begin,
            *(t for one in made for t in (one.entered, one.leased) if t is not None and begin < t <= time),
        }
        # what enters and leaves in one moment counts as having been there
        assert found.leased[index] <= sum(
            one.leased is not None and one.leased <= time and (one.ended is None or one.ended >= begin) for one in made
        )
        assert found.waiting[index] >= max(at_end(moment)[0] for moment in moments)
    assert sum(wait is not None for wait in found.waits) <= sum(one.leased is not None for one in made)


def test_waits_are_medians_of_the_stretch_in_which_the_lease_was_given():
    made = [Stay(entered=0, leased=wait * rules.SECOND, ended=None) for wait in (10, 20, 60)]
    found = rules.history(made, now=HOUR, hours=1, points=2)
    assert found.waits == [20.0, None] and found.leased == [3, 3] and found.waiting == [3, 0]
