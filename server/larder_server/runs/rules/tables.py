"""What a table of runs says beyond the values: what a run lacks to be repeated, how sure a mean is. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from larder.contract import meanings
from larder.contract.errors import Invalid
from larder.contract.runs import Run, RunStatus
from larder.contract.values import Param
from larder_server.runs.rules import where
from larder_server.runs.rules.where import Operand

MOST_COLUMNS = 200
MOST_KEYS = 20
MOST_FACETS = 30

FACTS_OF_DATA = ("data", "dataset", "datasets")
"""Facts that say which data a run has read."""

DATASET = "dataset"
"""The kind of artifacts that say so, too."""

BEYOND = 1e150
"""A value beyond has no square, so that no deviation could hold it."""

NO_GROUPS = ("notes", "tags", "code", "created", "started", "ended", "duration", "id")


# -- completeness --------------------------------------------------------------------------------------------------


def missing(run: Run, *, params: Iterable[str], has_data: bool) -> list[str]:
    """What a run lacks to be repeated, of seed, commit and data version; a run that has not begun lacks nothing yet.

    `params` are the names of its parameters that have a value; `has_data`: a fact or an artifact names its data.
    """
    if run.status in (RunStatus.DRAFT, RunStatus.QUEUED):
        return []
    names = list(params)
    found = {
        "seed": any(is_seed(name) for name in names),
        "commit": bool(run.commit),
        "data version": has_data or any(is_data(name) for name in names),
    }
    return [what for what, there in found.items() if not there]


@lru_cache(maxsize=20_000)
def is_seed(param: str) -> bool:
    """Whether a parameter of this name is a seed."""
    return meanings.names_seed(param)


@lru_cache(maxsize=20_000)
def is_data(param: str) -> bool:
    """Whether a parameter of this name says which data a run has read; also by several parts: `data.version`."""
    return meanings.names_data(param)


# -- means ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The mean of some values, their deviation, and the ends of its confidence interval where it has one."""

    mean: float
    deviation: float | None
    low: float | None
    high: float | None


def interval(*, count: int, origin: float, total: float, squares: float) -> Interval:
    """Of `count` values, whose differences from `origin` add up to `total` and their squares to `squares`."""
    mean = origin + total / count
    if count < 2:
        return Interval(mean=mean, deviation=None, low=None, high=None)
    deviation = math.sqrt(max(0.0, (squares - total * total / count) / (count - 1)))
    reach = quantile(count - 1) * deviation / math.sqrt(count)
    return Interval(mean=mean, deviation=deviation, low=mean - reach, high=mean + reach)


_QUANTILES = (
    12.706204736, 4.302652730, 3.182446305, 2.776445105, 2.570581836, 2.446911851, 2.364624252, 2.306004135, 2.262157163,
    2.228138852, 2.200985160, 2.178812830, 2.160368656, 2.144786688, 2.131449546, 2.119905299, 2.109815578, 2.100922040,
    2.093024054, 2.085963447,
)  # fmt: skip
_NORMAL = 1.959963984540054


def quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t: from its table, then by the expansion around the normal one (5e-7 close)."""
    if freedom <= len(_QUANTILES):
        return _QUANTILES[freedom - 1]
    z, n = _NORMAL, freedom
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )


# -- names ---------------------------------------------------------------------------------------------------------


def columns(text: str) -> list[Operand]:
    """The columns of a table; Invalid where one cannot be."""
    found = where.names(text, field="columns", most=MOST_COLUMNS)
    for one in found:
        if one.kind in ("params", "metrics"):
            where.refuse(text, one.position, f"needs a name after a dot: {one.name}.NAME", field="columns")
    return found


def keys(text: str) -> list[Operand]:
    """The names that runs of a group agree in: parameters and plain fields."""
    found = where.names(text, field="by", most=MOST_KEYS)
    if not found:
        raise Invalid("by names at least one parameter or field", field="by", hint="such as params.depth, user")
    for one in found:
        _groupable(text, one, field="by", never=NO_GROUPS)
    return found


def facets(text: str) -> list[Operand]:
    """The names whose values are counted."""
    found = where.names(text, field="of", most=MOST_FACETS)
    if not found:
        raise Invalid("of names at least one field or parameter", field="of", hint="such as status, user, params.depth")
    for one in found:
        _groupable(text, one, field="of", never=tuple(name for name in NO_GROUPS if name != "tags"))
    return found


def _groupable(text: str, one: Operand, *, field: str, never: tuple[str, ...]) -> None:
    if one.kind == "metric" or one.statistic:
        where.refuse(text, one.position, f"cannot hold {one.text}: a metric has no few values", field=field)
    if one.kind in ("params", "metrics"):
        where.refuse(text, one.position, f"needs a name after a dot: {one.name}.NAME", field=field)
    if one.kind == "field" and one.name in never:
        where.refuse(text, one.position, f"cannot hold {one.name}: it has no few values", field=field)


def condition(one: Operand, value: Param) -> str:
    """The condition that selects the runs in which a field or parameter has this value."""
    if one.kind == "field":
        if where.FIELDS[one.name] == "yes or no":
            return f"{one.name} = {'true' if value else 'false'}"
        if one.name == "tags":
            return f"tags has {where.literal(value)}"
        return f"{one.name} = {where.literal(value if value != '' else None)}"
    # infinities and NaN are words of the grammar; Python writes them the same way
    return f"{where.written('param', one.name)} = {where.literal(value)}"


def cell(value: float | None, *, recorded: bool) -> Param:
    """A number as a table shows it: what JSON has not is text, and so is a NaN, which the store keeps as nothing."""
    if value is None or value != value:
        return "NaN" if recorded else None
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"
