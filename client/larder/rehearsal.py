"""A few steps here first, then the same steps of the run that an agent executes, side by side."""

import fnmatch
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from larder.runs import RecordedRun

_LEFT_OUT = "system/"
_PAUSE = 0.3


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One step of one metric here and there; None where the other run has logged nothing for it."""

    metric: str
    step: int
    local: float
    remote: float | None
    matches: bool


def alike(one: float, other: float, tolerance: float) -> bool:
    """Whether two values differ by no more than `tolerance` times the greater of them."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=0.0)


def compared(local: RecordedRun, remote: RecordedRun, *, tolerance: float, only: Sequence[str] = ()) -> Iterator[Pair]:
    """Every step that the local run has logged, beside the remote run's, by metric and step."""
    for name in _metrics(local, only):
        there = dict(remote.metrics(name)) if name in remote.metrics else {}
        for step, value in local.metrics(name):
            other = there.get(step)
            matches = other is not None and alike(value, other, tolerance)
            yield Pair(metric=name, step=step, local=value, remote=other, matches=matches)


def wait(
    local: RecordedRun, remote: RecordedRun, *, only: Sequence[str] = (), say: Callable[[str], None] = lambda text: None
) -> None:
    """Until the remote run has come as far as the local one, or has ended; tells of each change of its status."""
    wanted = {name: local.metrics[name].last_step for name in _metrics(local, only)}
    told = remote.status
    while True:
        ended = remote.refresh().status.final
        if remote.status != told:
            told = remote.status
            say(f"{remote.name}: {remote.status}" + (f", {remote.reason}" if remote.reason else ""))
        found = remote.metrics
        if ended or all(name in found and found[name].last_step >= step for name, step in wanted.items()):
            return
        time.sleep(_PAUSE)


def _metrics(run: RecordedRun, only: Sequence[str]) -> list[str]:
    return [
        name
        for name in run.metrics
        if not name.startswith(_LEFT_OUT) and (not only or any(fnmatch.fnmatchcase(name, each) for each in only))
    ]
