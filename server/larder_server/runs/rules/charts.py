"""A series reduced to what a screen can show; extremes stay."""

from typing import Any

import numpy as np
from tsdownsample import MinMaxDownsampler

from larder_server.runs.rules import blocks
from larder_server.runs.rules.blocks import Header, Points

FEWEST, MOST = 4, 20_000
OPENED = 200_000
"""Up to this many points, a chart is made from the points themselves, however many it may show."""

AT_MOST_OPENED = 1_000_000
"""Beyond, a chart is made from the headers, even where these tell of fewer points than it may show."""

_reducer: Any = MinMaxDownsampler()  # type: ignore[no-untyped-call]


def by_headers(points: int, *, pieces: int, limit: int) -> bool:
    """Whether a chart of `limit` points is made from the headers of so many blocks, without opening them."""
    return points > OPENED and (pieces * 4 >= limit or points > AT_MOST_OPENED)


def reduce(points: Points, limit: int) -> Points:
    """At most `limit` of the points, by step: the first, the last, and the extremes of each stretch between."""
    points = blocks.by_step(points)
    if len(points) <= limit:
        return points
    steps, values = np.ascontiguousarray(points.steps), np.ascontiguousarray(points.values)
    stretches = (limit - 2) // 2 * 2
    width = int(steps[-1]) - int(steps[0])
    # stretches of equal width in steps, where there are several and the steps can be told apart as 64-bit floats
    if stretches >= 4 and 0 < width < 2**52 and -(2**52) < int(steps[0]) < 2**52:
        chosen = _reducer.downsample(steps, values, n_out=stretches)
    else:
        chosen = _reducer.downsample(values, n_out=stretches)
    ends = np.array([0, len(points) - 1], np.uint64)
    return points[np.unique(np.concatenate([chosen.astype(np.uint64), ends])).astype(np.intp)]


def of_headers(headers: list[Header]) -> Points:
    """The points that the headers tell of."""
    found: dict[tuple[int, int, float], None] = {}
    for header in headers:
        found[header.first_step, header.first_time, header.first] = None
        if header.min == header.min:
            found[header.min_step, header.min_time, header.min] = None
            found[header.max_step, header.max_time, header.max] = None
        found[header.last_step, header.last_time, header.last] = None
    if not found:
        return blocks.join([])
    steps, times, values = zip(*found, strict=True)
    return Points(np.array(steps, np.int64), np.array(times, np.int64), np.array(values, np.float64))
