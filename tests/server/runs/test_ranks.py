"""The ranks of one run: one that its launcher starts again leaves no step twice, and touches no other rank's."""

import struct

import pytest

from larder.contract.ids import new_id
from larder.contract.runs import Batch, ConsoleQuery, MetricQuery, Opening, Series
from larder_server.runs import service
from larder_server.runs.rules import names


def say(context, run_id, writer, *, role="child", first=0, values=(), name="loss", **says) -> None:
    count = len(values)
    steps = struct.pack(f"<{count}q", *range(first, first + count))
    series = [Series(name=name, steps=steps, times=steps, values=struct.pack(f"<{count}d", *values))] if count else []
    opening = Opening(project="bakery", name="n", time=1_000, role=role, **says)
    service.append(context, Batch(writer=writer, start=0, end=100, opening=opening, series=series), run_id)


def steps(context, run_id, name="loss") -> list[int]:
    found = service.read_metric(context, MetricQuery(name=name), run_id).steps
    return list(struct.unpack(f"<{len(found) // 8}q", found))


@pytest.fixture
def run_id(context) -> str:
    """A run of two ranks that have come as far as step 6."""
    made = new_id()
    say(context, made, "main", role="main")
    say(context, made, "machine", role="companion", name="system/cpu", values=[1.0] * 9)
    say(context, made, "zero", values=[1.0] * 7)
    say(context, made, "one", role="rank", rank=1, name="rank.1/loss", values=[2.0] * 7)
    return made


def test_ranks_that_begin_again_from_a_step_drop_what_came_after_it_each_its_own(context, run_id):
    say(context, run_id, "zero2", restarted=True, continued=3, first=4, values=[5.0] * 6)
    assert steps(context, run_id) == list(range(10)) and steps(context, run_id, "rank.1/loss") == list(range(7))
    say(
        context,
        run_id,
        "one2",
        role="rank",
        rank=1,
        restarted=True,
        continued=3,
        name="rank.1/loss",
        first=4,
        values=[6.0],
    )
    assert steps(context, run_id) == list(range(10)) and steps(context, run_id, "rank.1/loss") == list(range(5))
    assert len(steps(context, run_id, "system/cpu")) == 9
    told = [line.line.text for line in service.read_console(context, ConsoleQuery(), run_id).lines]
    assert told == ["— continues after step 3 —"]


def test_ranks_that_begin_anew_leave_nothing_of_what_they_had_logged(context, run_id):
    say(context, run_id, "zero2", restarted=True, values=[5.0] * 2)
    assert steps(context, run_id) == [0, 1] and steps(context, run_id, "rank.1/loss") == list(range(7))


def test_a_process_below_a_rank_drops_nothing(context, run_id):
    say(context, run_id, "loader", name="read", values=[1.0])
    assert steps(context, run_id) == list(range(7)) and steps(context, run_id, "read") == [0]


def test_the_name_of_a_series_tells_its_rank():
    assert [names.rank(each) for each in ("loss", "rank.1/loss", "rank.12/system/cpu", "rank.0/loss", "rank.x/loss")] == [
        0, 1, 12, 0, 0,
    ]  # fmt: skip
