"""What is read of runs beyond the run itself: many charts at once, kin, neighbours, progress, load of the machine."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from larder.contract.endpoint import Nothing
from larder.contract.errors import Invalid, NotFound
from larder.contract.reading import (
    Charts,
    ChartsQuery,
    Idle,
    Kin,
    Lineage,
    MachineLoad,
    Neighbours,
    Progress,
    RunChart,
)
from larder.contract.runs import Run, RunStatus
from larder_server.kernel.context import Context
from larder_server.runs.rules import charts as reduction
from larder_server.runs.rules import machines, progress, repeats
from larder_server.runs.store import kin, metrics, runs
from larder_server.runs.store.runs import Record

_MOST_SERIES = 2_000
_MOST_POINTS = 1_000_000
_MOST_ANCESTORS = 50
_MOST_CHILDREN = 200
_RECENT = 200
"""Steps by which the speed of a run is told."""

_LOAD_POINTS = 5_000


def charts(context: Context, query: ChartsQuery) -> Charts:
    """Many series of many runs, reduced for charts; those that a run has not are left out.

    NotFound: there is no such run; Invalid: too few points, or too much at once.
    """
    if not reduction.FEWEST <= query.points <= reduction.MOST:
        raise Invalid(f"a chart has {reduction.FEWEST} to {reduction.MOST:,} points", field="points")
    ids, names = list(dict.fromkeys(query.runs)), list(dict.fromkeys(query.names))
    if len(ids) * len(names) > _MOST_SERIES:
        raise Invalid(f"{len(ids)} runs with {len(names)} metrics are more than {_MOST_SERIES:,} series", field="names")
    if len(ids) * len(names) * query.points > _MOST_POINTS:
        raise Invalid(f"this would be more than {_MOST_POINTS:,} points", field="points", hint="ask for fewer points")
    seqs = {run_id: found(context, run_id).seq for run_id in ids}
    if not seqs or not names:
        return Charts(charts=[])
    numbers = metrics.chosen(context, list(seqs.values()), names)
    reduced = {
        seq: metrics.charts_of(context, seq, list(named.values()), limit=query.points, first=query.first_step,
                               last=query.last_step)
        for seq, named in numbers.items() if named
    }  # fmt: skip
    told = []
    for name in names:
        for run_id, seq in seqs.items():
            if (metric := numbers[seq].get(name)) is None:
                continue
            points, total = reduced[seq][metric].points, reduced[seq][metric].total
            told.append(
                RunChart(run=run_id, name=name, steps=points.steps.tolist(),
                         times=points.times.tolist() if query.times else [],
                         values=points.values.tolist(), total=total)
            )  # fmt: skip
    return Charts(charts=told)


def neighbours(context: Context, _: Nothing, run_id: str) -> Neighbours:
    """The runs of the project made just before and after one. NotFound."""
    record = found(context, run_id)
    before, after = (
        kin.neighbour(context, project=record.run.project, created=record.run.created, seq=record.seq, later=later)
        for later in (False, True)
    )
    return Neighbours(before=before, after=after)


def lineage(context: Context, _: Nothing, run_id: str) -> Lineage:
    """Where a run comes from, and what was made from it. NotFound."""
    record = found(context, run_id)
    chain = [record]
    cut = False
    while (parent := chain[-1].run.parent) is not None:
        older = runs.find(context, parent)
        if older is None or len(chain) > _MOST_ANCESTORS or any(older.seq == each.seq for each in chain):
            cut = True
            break
        chain.append(older)
    below = kin.children(context, run_id, most=_MOST_CHILDREN)
    children = runs.by_seqs(context, below.seqs)
    seqs = [each.seq for each in (*chain, *children)]
    params = runs.params_of(context, seqs)
    continued = runs.fact_of(context, seqs, "continued")
    overrides = runs.fact_of(context, seqs, "overrides")

    def related(of: Record, *, younger: Record, older: Record) -> Kin:
        return _kin(of.run, younger=younger, older=older, params=params, continued=continued.get(younger.seq),
                    overrides=overrides.get(younger.seq))  # fmt: skip

    return Lineage(
        ancestors=[related(older, younger=younger, older=older) for younger, older in pairwise(chain)],
        children=[related(child, younger=child, older=record) for child in children],
        children_total=below.total,
        cut=cut,
    )  # fmt: skip


def tell_progress(context: Context, _: Nothing, run_id: str) -> Progress:
    """How far a run has come, and when it is expected to end. NotFound."""
    record = found(context, run_id)
    run = record.run
    summaries = {
        name: summary
        for name, summary in metrics.summaries_of(context, [record.seq])[record.seq].items()
        if not machines.is_load(name)
    }
    facts, params = runs.facts_of(context, [record.seq])[record.seq], runs.params_of(context, [record.seq])[record.seq]
    step = max((summary.last_step for summary in summaries.values()), default=None)
    steps = progress.total(facts, params, step=step)
    if run.status.final:
        return Progress(step=step, steps=steps, fraction=1.0 if run.status is RunStatus.COMPLETED else None,
                        expected_end=run.ended)  # fmt: skip
    if run.status is not RunStatus.RUNNING or run.started is None:
        return Progress(step=step, steps=steps)
    now = context.clock.now()
    rate = None
    if step is not None:
        longest = max(summaries, key=lambda name: (summaries[name].last_step, summaries[name].count))
        rate, at = _speed(context, record.seq, longest, step)
        if steps is not None:
            seconds = progress.left(step=step, steps=steps, rate=rate) if rate is not None else None
            return Progress(step=step, steps=steps, steps_per_second=rate, fraction=min(1.0, (step + 1) / steps),
                            expected_end=None if seconds is None else max(now, int(at + seconds * 1e6)),
                            basis="steps")  # fmt: skip
    part = progress.epochs(params, {name: summary.last for name, summary in summaries.items()})
    if part:
        return Progress(step=step, steps_per_second=rate, fraction=part, basis="steps",
                        expected_end=max(now, int(run.started + (now - run.started) / part)))  # fmt: skip
    script = repeats.script(facts.get("command"))
    usual = _usual(context, run, script) if script else None
    if usual is None:
        return Progress(step=step, steps_per_second=rate)
    end = run.started + int(usual * 1e6)
    return Progress(step=step, steps_per_second=rate, expected_end=end if end > now else None,
                    fraction=min(0.99, (now - run.started) / (usual * 1e6)) if usual else None,
                    basis="earlier")  # fmt: skip


def machine(context: Context, _: Nothing, run_id: str) -> MachineLoad:
    """The series of the load of the run's machines, and when a GPU had nothing to do. NotFound."""
    record = found(context, run_id)
    names = [name for name in metrics.all_counts(context, record.seq) if machines.is_load(name)]
    gpus = [name for name in names if machines.is_gpu(name)]
    if not gpus:
        return MachineLoad(series=names, idle=[])
    numbers = metrics.chosen(context, [record.seq], gpus)[record.seq]
    reduced = metrics.charts_of(context, record.seq, list(numbers.values()), limit=_LOAD_POINTS)
    return MachineLoad(
        series=names,
        idle=[
            Idle(series=name, first=stretch.first, last=stretch.last)
            for name in gpus
            for stretch in machines.idle(reduced[numbers[name]].points)
        ],
    )


def found(context: Context, run_id: str) -> Record:
    """The run. NotFound."""
    record = runs.find(context, run_id)
    if record is None:
        raise NotFound(f"there is no run {run_id[:100]}")
    return record


def _kin(
    run: Run, *, younger: Record, older: Record, params: Mapping[int, Mapping[str, Any]], continued: object,
    overrides: object,
) -> Kin:  # fmt: skip
    """`run` is one of the two; how the younger one was made from the older."""
    relation, changed, step, name = "child", {}, None, ""
    if isinstance(continued, Mapping) and continued.get("run") == older.run.id:
        relation = "checkpoint"
        step = continued["step"] if isinstance(continued.get("step"), int) else None
        name = str(continued.get("name") or "")
    elif isinstance(overrides, Mapping):
        relation = "clone"
    elif younger.made_by == older.run.id:
        relation = "part"
    if relation in ("clone", "checkpoint"):
        before, after = params[older.seq], params[younger.seq]
        changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
    return Kin(id=run.id, name=run.name, status=run.status, relation=relation, created=run.created, user=run.user,
               kind=run.kind, params=changed, step=step, checkpoint=name)  # fmt: skip


def _speed(context: Context, run: int, name: str, step: int) -> tuple[float | None, int]:
    """Steps a second over the last ones, None where one cannot tell; and the time of the last point."""
    metric = metrics.find(context, run, name)
    if metric is None:
        return None, context.clock.now()
    points = metrics.read(context, run, metric, first=step - _RECENT)
    steps, times = int(points.steps[-1]) - int(points.steps[0]), int(points.times[-1]) - int(points.times[0])
    return (steps / (times / 1e6) if steps > 0 and times > 0 else None), int(points.times[-1])


def _usual(context: Context, run: Run, script: str) -> float | None:
    """How many seconds the earlier runs of the script took."""
    seconds = runs.completed(context, run.project, most=repeats.LOOKED_AT)
    commands = runs.fact_of(context, list(seconds), "command")
    same = [
        repeats.Earlier(seconds=length, script=script, execution=None)
        for seq, length in seconds.items()
        if repeats.script(commands.get(seq)) == script
    ]
    return repeats.expected(script, same)
