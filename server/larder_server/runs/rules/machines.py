"""What the series of a run's machines tell: which they are, and when a GPU had nothing to do."""

import re
from dataclasses import dataclass

import numpy as np

from larder_server.runs.rules.blocks import Points

_OF_A_MACHINE = re.compile(r"(?:rank\.\d+/)?system/.")
_GPU = re.compile(r"(?:rank\.\d+/)?system/gpu\.\d+\.percent")

IDLE = 5.0
"""Percent of a GPU's time; with less it is idle."""

NOTICED = 600_000_000
"""Microseconds after which an idle GPU is worth a word."""

_SILENCE = 300_000_000
"""Microseconds without a sample, of which nothing is known."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """From one time to another."""

    first: int
    last: int


def is_load(series: str) -> bool:
    """Whether a series tells of the load of a machine."""
    return _OF_A_MACHINE.match(series) is not None


def is_gpu(series: str) -> bool:
    """Whether a series tells how busy a GPU is."""
    return _GPU.fullmatch(series) is not None


def idle(points: Points) -> list[Stretch]:
    """When a GPU was idle long enough to be noticed. The points may be reduced as long as every extreme is kept."""
    order = np.argsort(points.times, kind="stable")
    times, values = points.times[order], points.values[order]
    found: list[Stretch] = []
    first = last = None
    for time, value in zip(times.tolist(), values.tolist(), strict=True):
        if first is not None and last is not None and (value >= IDLE or time - last > _SILENCE):
            if last - first >= NOTICED:
                found.append(Stretch(first=first, last=last))
            first = last = None
        if value < IDLE:
            first, last = (time if first is None else first), time
    if first is not None and last is not None and last - first >= NOTICED:
        found.append(Stretch(first=first, last=last))
    return found
