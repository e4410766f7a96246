"""Runs side by side: a row for each name, what differs first, the best marked. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from larder.contract.comparisons import ComparedRow, MetricRow
from larder.contract.directions import lower_is_better, main_metric
from larder.contract.runs import MetricSummary, Run
from larder.contract.values import Param

FACTS_OF_DATA = ("data", "dataset", "datasets")
STATISTICS = ("last", "min", "max", "mean")
_ABSENT = object()
_SHORT = 12
"""Characters of a hash by which people tell it apart."""


def rows(columns: Sequence[Mapping[str, Param]], *, only_differing: bool = False) -> list[ComparedRow]:
    """A row for each name of any column, by name; those that differ before those that do not."""
    found = []
    for name in sorted({name for column in columns for name in column}):
        cells = [column.get(name, _ABSENT) for column in columns]
        differs = any(not alike(cells[0], cell) for cell in cells[1:])
        if differs or not only_differing:
            found.append(
                ComparedRow(
                    name=name,
                    values=[None if cell is _ABSENT else cell for cell in cells],  # type: ignore[misc]
                    absent=[index for index, cell in enumerate(cells) if cell is _ABSENT],
                    differs=differs,
                )
            )
    return sorted(found, key=lambda row: not row.differs)


def alike(one: object, other: object) -> bool:
    """Whether two values are the same; 1 and 1.0 are, 1 and true are not, NaN is like NaN."""
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    return one == other


def metrics(runs: Sequence[Run], *, system: bool) -> list[MetricRow]:
    """A row for each metric: the main one first, then those that all runs have, by name."""
    names = {name for run in runs for name in run.metrics if system or not _of_the_machine(name)}
    first = main(runs)
    ordered = sorted(names, key=lambda name: (name != first, any(name not in run.metrics for run in runs), name))
    return [_metric(name, [run.metrics.get(name) for run in runs]) for name in ordered]


def main(runs: Sequence[Run]) -> str:
    """The metric that these runs are about: one that all of them have, where there is any."""
    common = set.intersection(*(set(run.metrics) for run in runs)) if runs else set()
    return main_metric(common) or main_metric({name for run in runs for name in run.metrics})


def reached(summary: MetricSummary | None, metric: str) -> float | None:
    """What a run reached in a metric: its best value where the name tells the direction, else the last one."""
    if summary is None:
        return None
    lower = lower_is_better(metric)
    value = summary.last if lower is None else summary.min if lower else summary.max
    return value if math.isfinite(value) else None


def best_of(values: Sequence[float | None], *, lower: bool | None) -> int:
    """The place of the best value, the first of equal ones; -1 where there are fewer than two or no direction."""
    finite = [(value, index) for index, value in enumerate(values) if value is not None and math.isfinite(value)]
    if lower is None or len(finite) < 2:
        return -1
    return min(finite, key=lambda pair: (pair[0] if lower else -pair[0], pair[1]))[1]


def facts(documents: Mapping[str, Any]) -> dict[str, Param]:
    """What is worth comparing of the facts of a run, flat; packages apart."""
    command, code, machine = (_mapping(documents.get(name)) for name in ("command", "code", "machine"))
    gpus = machine.get("gpus")
    flat: dict[str, Any] = {
        "command": " ".join(str(part) for part in command.get("argv") or ()),
        "python": command.get("python"),
        "code.commit": str(code.get("commit") or "")[:_SHORT],
        "code.branch": code.get("branch"),
        "code.tree": str(code.get("tree") or "")[:_SHORT],
        "code.changed by hand": code.get("dirty"),
        "machine.host": machine.get("host"),
        "machine.system": machine.get("os"),
        "machine.processors": machine.get("cpus"),
        "machine.memory": machine.get("memory"),
        "machine.gpus": ", ".join(str(_mapping(gpu).get("name", "GPU")) for gpu in gpus) if gpus else "",
    }
    flat |= {f"environment.{name}": value for name, value in _mapping(command.get("env")).items()}
    flat |= {f"data.{name}": value for name, value in data(documents).items()}
    return {name: _plain(value) for name, value in flat.items() if value not in (None, "", False)}


def packages(documents: Mapping[str, Any]) -> dict[str, Param]:
    """Version by name of package; the interpreter is under `python`."""
    return {str(name): str(version) for name, version in _mapping(documents.get("packages")).items()}


def data(documents: Mapping[str, Any]) -> dict[str, Param]:
    """The facts `data`, `dataset` and `datasets`, flat: what was said of the data that the run has read."""
    told: dict[str, Param] = {}
    for fact in FACTS_OF_DATA:
        if fact in documents:
            found = _flat(documents[fact], "")
            told |= {name or fact: value for name, value in found.items()}
    return told


def definitions(documents: Mapping[str, Any]) -> dict[str, Param]:
    """The fact `metrics`, flat: what was said of how metrics are made."""
    return _flat(documents.get("metrics"), "") if "metrics" in documents else {}


def _metric(name: str, summaries: list[MetricSummary | None]) -> MetricRow:
    lower = lower_is_better(name)
    best: dict[str, int] = {}
    for statistic in STATISTICS:
        values = [None if summary is None else float(getattr(summary, statistic)) for summary in summaries]
        if (place := best_of(values, lower=lower)) >= 0:
            best[statistic] = place
    return MetricRow(name=name, summaries=summaries, lower_is_better=lower, best=best)


def _of_the_machine(name: str) -> bool:
    return name.startswith("system/") or (name.startswith("rank.") and "/system/" in name)


def _mapping(document: object) -> Mapping[str, Any]:
    return document if isinstance(document, Mapping) else {}


def _flat(document: object, prefix: str) -> dict[str, Param]:
    if isinstance(document, Mapping):
        flat: dict[str, Param] = {}
        for name, inner in document.items():
            flat |= _flat(inner, f"{prefix}.{name}" if prefix else str(name))
        return flat
    if isinstance(document, list):
        return {prefix: ", ".join(str(inner) for inner in document)[:1000]}
    return {prefix: _plain(document)}


def _plain(value: object) -> Param:
    return value if value is None or isinstance(value, str | int | float) else str(value)[:1000]
