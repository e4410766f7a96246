"""Whether runs may be compared: the same data, the same definition of the metrics, both at their end. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from larder.contract.comparisons import ComparedRow, Mismatch
from larder.contract.runs import Run
from larder.contract.values import Param
from larder_server.comparisons.rules import rows

_LONGEST = 40


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one run tells of its data and of its metrics: by parameters, by facts, by artifacts of kind `dataset`."""

    params: Mapping[str, Param] = field(default_factory=dict)
    data: Mapping[str, Param] = field(default_factory=dict)
    datasets: Mapping[str, Param] = field(default_factory=dict)
    samples: Mapping[str, Param] = field(default_factory=dict)
    metric_params: Mapping[str, Param] = field(default_factory=dict)
    definitions: Mapping[str, Param] = field(default_factory=dict)


def mismatches(runs: Sequence[Run], told: Sequence[Told]) -> list[Mismatch]:
    """Why the runs may not be compared, the gravest first: other data, another metric, a run that is not at its end."""
    found = [
        *(_data(runs, row, "data", row.name) for row in _differing([one.data for one in told])),
        *(_data(runs, row, "dataset", row.name) for row in _differing([one.datasets for one in told])),
        *(
            _data(runs, row, "parameter", row.name, param=row.name)
            for row in _differing([_by_name(one.params) for one in told], absent=True)
        ),
    ]
    if not found:
        # of less weight: what an estimator has seen, where nothing was said of the data itself
        found += [_data(runs, row, "samples", row.name) for row in _differing([one.samples for one in told])]
    found += [_metric(runs, row) for row in _differing([one.definitions for one in told])]
    found += [
        _metric(runs, row, param=row.name) for row in _differing([one.metric_params for one in told], absent=True)
    ]
    going_on = [run for run in runs if not run.status.final]
    if going_on and len(going_on) < len(runs):
        names = _list([run.name for run in going_on])
        found.append(
            Mismatch(
                about="unfinished",
                name="status",
                sentence=f"{names} {'has' if len(going_on) == 1 else 'have'} not ended: what is compared may change.",
                values=[str(run.status) for run in runs],
            )
        )
    return found


def _differing(columns: Sequence[Mapping[str, Param]], *, absent: bool = False) -> list[ComparedRow]:
    """The rows in which those that say something differ; with `absent`, a run that says nothing differs as well."""
    found = []
    for row in rows.rows(columns, only_differing=True):
        said = [value for index, value in enumerate(row.values) if index not in row.absent]
        if (absent and row.absent and said) or any(not rows.alike(said[0], value) for value in said[1:]):
            found.append(row)
    return found


def _by_name(params: Mapping[str, Param]) -> dict[str, Param]:
    """Paths by their last part: the same file lies elsewhere on another machine."""
    return {
        name: value.replace("\\", "/").rstrip("/").rpartition("/")[2] if isinstance(value, str) else value
        for name, value in params.items()
    }


def _data(runs: Sequence[Run], row: ComparedRow, source: str, name: str, *, param: str = "") -> Mismatch:
    what = {
        "data": f"the data “{name}”",
        "dataset": f"the dataset “{name}”",
        "parameter": f"the data, by the parameter {name}",
        "samples": f"the number of rows that {name} has seen",
    }[source]
    return Mismatch(
        about="data",
        name=name,
        sentence=f"These runs differ in {what}: {_said(runs, row)}. Their metrics are not about the same thing.",
        values=row.values,
        param=param,
    )


def _metric(runs: Sequence[Run], row: ComparedRow, *, param: str = "") -> Mismatch:
    return Mismatch(
        about="metric",
        name=row.name,
        sentence=f"These runs differ in the definition of a metric, {row.name}: {_said(runs, row)}.",
        values=row.values,
        param=param,
    )


def _said(runs: Sequence[Run], row: ComparedRow) -> str:
    """Who says what, those who agree together: “v3” (a, b), “v4” (c)."""
    groups: dict[str, list[str]] = {}
    for index, (run, value) in enumerate(zip(runs, row.values, strict=True)):
        text = "nothing said" if index in row.absent else f"“{_short(value)}”"
        groups.setdefault(text, []).append(run.name)
    return ", ".join(f"{text} ({_list(names)})" for text, names in groups.items())


def _short(value: Param) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _list(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{names[0]}, {names[1]} and {len(names) - 2} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
