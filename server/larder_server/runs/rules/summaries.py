"""What a series says at a glance, and how new points change it."""

import math
import struct
from dataclasses import dataclass

from larder_server.runs.rules import blocks
from larder_server.runs.rules.blocks import Points

_SMALL = 48
"""Below this many points a loop is faster than arrays."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A summary that others can be added to. `total` and `numbers` are over the values that are not NaN.

    `last` is the value with the latest time; of several, the one that arrived last.
    """

    last: float
    last_step: int
    last_time: int
    min: float
    min_step: int
    max: float
    max_step: int
    total: float
    numbers: int
    count: int


def of(points: Points) -> Tally:
    """The tally of one or more points."""
    if len(points) < _SMALL:
        return _of_few(points.steps.tolist(), points.times.tolist(), points.values.tolist())
    steps, times, values = points.steps, points.times, points.values
    last = len(steps) - 1
    if times[last] != times.max():
        last -= int(times[::-1].argmax())
    found = blocks.extremes(values)
    low, high = found.low, found.high
    if not found.numbers:
        return _of_few(steps.tolist(), times.tolist(), values.tolist())
    return Tally(
        last=float(values[last]), last_step=int(steps[last]), last_time=int(times[last]),
        min=float(values[low]), min_step=int(steps[low]), max=float(values[high]), max_step=int(steps[high]),
        total=found.total, numbers=found.numbers, count=len(steps),
    )  # fmt: skip


def of_columns(steps: bytes, times: bytes, values: bytes) -> Tally | None:
    """The tally of a few points in little-endian columns, without building arrays; None for many points."""
    count = len(steps) // 8
    if count >= _SMALL:
        return None
    if count == 1:
        step, time, value = _INT.unpack(steps)[0], _INT.unpack(times)[0], _FLOAT.unpack(values)[0]
        number = value == value
        return Tally(value, step, time, value, step, value, step, value + 0.0 if number else 0.0, int(number), 1)
    whole = struct.Struct(f"<{count}q")
    return _of_few(list(whole.unpack(steps)), list(whole.unpack(times)), list(struct.unpack(f"<{count}d", values)))


_INT, _FLOAT = struct.Struct("<q"), struct.Struct("<d")


def _of_few(steps: list[int], times: list[int], values: list[float]) -> Tally:
    last = 0
    low = high = -1
    total, numbers = 0.0, 0
    for index, value in enumerate(values):
        if times[index] >= times[last]:
            last = index
        if value != value:
            continue
        numbers += 1
        total += value
        if low < 0 or value < values[low]:
            low = index
        if high < 0 or value > values[high]:
            high = index
    nothing = math.nan
    return Tally(
        last=values[last], last_step=steps[last], last_time=times[last],
        min=values[low] if numbers else nothing, min_step=steps[low] if numbers else steps[0],
        max=values[high] if numbers else nothing, max_step=steps[high] if numbers else steps[0],
        total=total, numbers=numbers, count=len(values),
    )  # fmt: skip


def merge(old: Tally, new: Tally) -> Tally:
    """The tally of both; `new` arrived after `old`. An extreme keeps the step at which it was first reached."""
    lower = bool(new.numbers) and (not old.numbers or new.min < old.min)
    higher = bool(new.numbers) and (not old.numbers or new.max > old.max)
    later = new.last_time >= old.last_time
    return Tally(
        last=new.last if later else old.last,
        last_step=new.last_step if later else old.last_step,
        last_time=new.last_time if later else old.last_time,
        min=new.min if lower else old.min,
        min_step=new.min_step if lower else old.min_step,
        max=new.max if higher else old.max,
        max_step=new.max_step if higher else old.max_step,
        total=old.total + new.total,
        numbers=old.numbers + new.numbers,
        count=old.count + new.count,
    )
