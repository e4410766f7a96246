"""What people see first: the projects at a glance, and a search over everything that has a name."""

import math
import re

from larder.contract.directions import lower_is_better, main_metric
from larder.contract.endpoint import Nothing
from larder.contract.errors import Invalid
from larder.contract.home import (
    Best,
    Brief,
    Glance,
    Hit,
    Hits,
    LookUpQuery,
    Names,
    NamesQuery,
    Overview,
    OverviewQuery,
)
from larder.contract.ids import is_id
from larder.contract.projects import Project
from larder.contract.runs import RunQuery
from larder_server.kernel.context import Context
from larder_server.projects import service as projects
from larder_server.queues import service as queues
from larder_server.runs.store import glances, search

RECENT = 20
"""Runs of a project whose values are told one by one; the newest of them say which metrics matter."""

_MOST_RUNNING, _LISTED_RUNNING = 500, 4
_METRICS = 2
_DECIDING = 8
_PARAMS_LOOKED_INTO = 200
_LONGEST_TEXT = 500
_MOST_NAMES = 500


def overview(context: Context, query: OverviewQuery) -> Overview:
    """Projects, those in which something happened last first. Invalid."""
    _check(query.limit, most=200)
    if query.offset < 0:
        raise Invalid("offset is a number from 0", field="offset")
    counts: dict[str, dict[str, int]] = {}
    active: dict[str, int] = {}
    for count in glances.counts(context):
        counts.setdefault(count.project, {})[count.status] = count.runs
        active[count.project] = max(active.get(count.project, 0), count.newest)
    running: dict[str, list[Brief]] = {}
    for one in glances.running(context, most=_MOST_RUNNING):
        running.setdefault(one.run.project, []).append(one.run)
        active[one.run.project] = max(active.get(one.run.project, 0), one.heard)
    text = query.text.strip().lower()
    known = [project for project in projects.every(context, Nothing()).projects if text in project.name.lower()]
    known.sort(key=lambda project: (-max(active.get(project.name, 0), project.created), project.name))
    shown = known[query.offset : query.offset + query.limit]
    return Overview(
        total=len(known),
        projects=[
            _glance(
                context,
                project,
                counts=counts.get(project.name, {}),
                running=running.get(project.name, []),
                active=max(active.get(project.name, 0), project.created),
            )
            for project in shown
        ],
    )


def _glance(
    context: Context, project: Project, *, counts: dict[str, int], running: list[Brief], active: int
) -> Glance:  # fmt: skip
    newest = glances.newest(context, project.name, most=RECENT)
    total = sum(counts.values())
    return Glance(
        name=project.name,
        description=project.description,
        created=project.created,
        active=max([active, *(one.heard for one in newest)]),
        runs=total,
        counts=counts,
        running=running[:_LISTED_RUNNING],
        best=_best(context, project.name, newest, runs=total),
    )


def _best(context: Context, project: str, newest: list[glances.Numbered], *, runs: int) -> list[Best]:
    numbers = glances.metrics_of(context, [one.seq for one in newest[:_DECIDING]])
    names = {name for name in numbers if lower_is_better(name) is not None}
    found: list[Best] = []
    while names and len(found) < _METRICS and (name := main_metric(names)):
        # the same metric of another split says nothing new
        names = {other for other in names if _last_word(other) != _last_word(name)}
        lower = bool(lower_is_better(name))
        extreme = glances.best(context, project, numbers[name], lower=lower, runs=runs)
        if extreme is None or not math.isfinite(extreme.value):
            continue
        values = glances.values_of(context, [one.seq for one in newest], numbers[name], lower=lower)
        found.append(
            Best(
                metric=name,
                lower=lower,
                value=extreme.value,
                run=glances.briefs(context, [extreme.seq])[extreme.seq],
                recent=[values[one.seq] for one in reversed(newest) if math.isfinite(values.get(one.seq, math.nan))],
            )
        )
    return found


def _last_word(metric: str) -> str:
    return re.split(r"[/._\- ]", metric.lower())[-1]


def look_up(context: Context, query: LookUpQuery) -> Hits:
    """Everything that has such a name, or the newest runs and projects for no text at all. Invalid."""
    _check(query.limit, most=50)
    if len(query.text) > _LONGEST_TEXT:
        raise Invalid(f"text has at most {_LONGEST_TEXT} characters", field="text")
    text = query.text.strip()
    hits = _runs(context, text, query.limit)
    hits += [_project(project) for project in _projects(context, text)][: query.limit]
    if len(text) < 2:
        return Hits(hits=hits)
    found = glances.artifacts_like(context, text, most=query.limit)
    holders = glances.briefs(context, {one.run for one in found})
    for one in found:
        if (run := holders.get(one.run)) is not None:
            hits.append(
                Hit(kind="artifact", id=run.id, title=one.name, artifact=one.name, detail=f"{one.kind} · {run.name}",
                    project=run.project, time=run.created)
            )  # fmt: skip
    for value in glances.values_from(context, text, params=_PARAMS_LOOKED_INTO, most=query.limit):
        hits.append(
            Hit(kind="param", id=value.param, title=f"{value.param} = {value.text[:100]}", detail="runs with this value",
                where=_equals(value))
        )  # fmt: skip
    for name in glances.params_like(context, text, most=query.limit):
        hits.append(Hit(kind="param", id=name, title=name, detail="parameter", where=f"params has {_quoted(name)}"))
    for name in glances.metrics_like(context, text, most=query.limit):
        hits.append(Hit(kind="metric", id=name, title=name, detail="metric", where=f"metrics has {_quoted(name)}"))
    for tag in glances.tags_like(context, text, most=query.limit):
        hits.append(Hit(kind="tag", id=tag, title=tag, detail="runs with this tag", where=f"tags has {_quoted(tag)}"))
    low = text.lower()
    hits += [
        Hit(kind="queue", id=one.name, title=one.name, detail=f"{one.waiting} waiting, {one.leased} running")
        for one in queues.every(context, Nothing()).queues
        if low in one.name.lower()
    ][: query.limit]
    hits += [
        Hit(kind="agent", id=one.name, title=one.name, detail=one.state)
        for one in queues.agents(context, Nothing()).agents
        if low in one.name.lower() or low in one.host.lower()
    ][: query.limit]
    return Hits(hits=hits)


def run_names(context: Context, query: NamesQuery) -> Names:
    """What runs are called. Invalid: too many at once."""
    if len(query.ids) > _MOST_NAMES:
        raise Invalid(f"at most {_MOST_NAMES} ids are asked for at once", field="ids")
    return Names(runs=glances.briefs_by_id(context, sorted({id for id in query.ids if is_id(id)})))


def _runs(context: Context, text: str, limit: int) -> list[Hit]:
    found: dict[str, Brief] = {}
    if re.fullmatch(r"[0-9a-f][0-9a-f\-]{5,35}", text):
        found.update((run.id, run) for run in glances.by_id_end(context, text))
    seqs = search.find(context, RunQuery(text=text, limit=limit)).seqs
    briefs = glances.briefs(context, seqs)
    found.update((briefs[seq].id, briefs[seq]) for seq in seqs if seq in briefs)
    return [
        Hit(kind="run", id=run.id, title=run.name, detail=run.user, project=run.project, status=run.status.value,
            time=run.started or run.created)
        for run in list(found.values())[:limit]
    ]  # fmt: skip


def _projects(context: Context, text: str) -> list[Project]:
    low = text.lower()
    known = [project for project in projects.every(context, Nothing()).projects if low in project.name.lower()]
    return sorted(known, key=lambda project: (not project.name.lower().startswith(low), project.name))


def _project(project: Project) -> Hit:
    return Hit(kind="project", id=project.name, title=project.name, detail=project.description[:100],
               project=project.name, time=project.created)  # fmt: skip


def _equals(value: glances.Value) -> str:
    if value.cut:
        return f"params.{_named(value.param)} like {_quoted(value.text + '*')}"
    return f"params.{_named(value.param)} = {_quoted(value.text)}"


def _named(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_/]*", name) else _quoted(name, '"')


def _quoted(text: str, quote: str = "'") -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, f"\\{quote}") + quote


def _check(limit: int, *, most: int) -> None:
    if not 1 <= limit <= most:
        raise Invalid(f"limit is between 1 and {most}, not {limit}", field="limit")
