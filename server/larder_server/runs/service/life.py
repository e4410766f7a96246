"""What one can do with a run: the door of this slice."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Invalid, NotFound
from larder.contract.ids import is_id, new_id
from larder.contract.queues import Hold, Job, LeaseRequest, Why
from larder.contract.runs import (
    Acknowledged,
    Artifact,
    ArtifactQuery,
    Artifacts,
    Batch,
    Cause,
    Change,
    Chart,
    ChartQuery,
    Checkpoint,
    Clone,
    Console,
    ConsoleLine,
    ConsoleQuery,
    Ending,
    Enqueue,
    FileQuery,
    Finish,
    MetricNames,
    MetricQuery,
    NewArtifact,
    NewRun,
    Opening,
    PointsBatch,
    Run,
    RunPage,
    RunQuery,
    RunStatus,
    Series,
    Start,
    Stop,
    Taken,
)  # fmt: skip
from larder_server.kernel.context import Context
from larder_server.kernel.outbox import Event
from larder_server.kernel.routing import Download
from larder_server.projects import service as projects
from larder_server.queues import events as queue_events
from larder_server.queues import service as queues
from larder_server.runs import events
from larder_server.runs.rules import charts, life, names, previews, repeats, sought
from larder_server.runs.store import artifacts, console, metrics, runs, search, writers
from larder_server.runs.store.metrics import Columns
from larder_server.runs.store.runs import Marks, Record

KIND = "run"
"""The kind of a run's job in a queue."""

KEPT_BY_CLONE = ("command", "code", "packages", "environment", "imports")
CODE = "code/"
"""Artifacts under this name hold the code that a clone needs."""

CHECKPOINT = "checkpoint"
"""The kind of artifacts from which a new attempt, or another run, may continue."""

_TIDIED_AT_ONCE = 200_000
_LONGEST_PAGE = 10_000
_SEARCHED = 1.0
"""Seconds for which one answer looks through a log."""


# -- runs ----------------------------------------------------------------------------------------------------------


def create(context: Context, order: NewRun) -> Run:
    """Make a draft, or import a run that ended elsewhere.

    Invalid: a name, a parameter, a need or the status cannot be. Conflict: there is a run of that id, or a file of an
    artifact is not in the store. NotFound: no such parent.
    """
    names.draft(order)
    order = replace(order, needs=queues.check_needs(order.needs))
    life.first_status(order.status)
    if order.id and not is_id(order.id):
        raise Invalid("a run's id is a UUID in lower case", field="id")
    if order.parent is not None:
        _found(context, order.parent)
    now = context.clock.now()
    started, ended = order.started, order.ended
    if order.status.final:
        started = started if started is not None else ended if ended is not None else now
        ended = ended if ended is not None else max(now, started)
        if ended < started:
            raise Invalid("a run cannot end before it started", field="ended")
    elif started is not None or ended is not None:
        raise Invalid("a draft has neither started nor ended", field="started" if started is not None else "ended",
                      hint="give the status with which the run ended")  # fmt: skip
    run_id = order.id or new_id()
    return _create(context, replace(order, id=run_id, name=order.name or _default_name(order.kind, run_id)),
                   created=started if started is not None else now, started=started, ended=ended)  # fmt: skip


def find(context: Context, query: RunQuery) -> RunPage:
    """One page of runs. Invalid: `where` does not parse (`position` is the character at fault)."""
    found = search.find(context, query)
    records = runs.by_seqs(context, found.seqs)
    return RunPage(runs=_full(context, records, facts=query.facts), total=found.total,
                   total_is_exact=found.total_is_exact)  # fmt: skip


def get(context: Context, _: Nothing, run_id: str) -> Run:
    """A run with all that is known of it. NotFound."""
    return _whole(context, _found(context, run_id))


def several(context: Context, ids: Sequence[str], *, facts: bool) -> list[Run]:
    """Runs in the order of their ids. NotFound: one of them is not there."""
    found = {record.run.id: record for record in runs.by_ids(context, ids)}
    for id in ids:
        if id not in found:
            raise NotFound(f"there is no run {id[:100]}")
    return _full(context, [found[id] for id in ids], facts=facts)


def change(context: Context, order: Change, run_id: str) -> Run:
    """Change names and marks; on a draft also parameters, needs and when it is tried again.

    NotFound; Invalid: a name, tag, parameter or need cannot be; Conflict: it is published, or no draft.
    """
    if order.name is not None:
        names.label(order.name, "name")
    for tag in (*order.add_tags, *order.remove_tags):
        names.tag(tag)
    record = _changing(context, run_id)
    life.may_change(record.run)
    _edit(context, record, order)
    _mark(context, record, name=order.name, notes=order.notes, add=order.add_tags, remove=order.remove_tags)
    if order.archived is not None and order.archived != record.run.archived:
        runs.update(context, record.seq, archived=int(order.archived))
        context.emit(events.changed(run_id, fields=["archived"]))
    return get(context, Nothing(), run_id)


def delete(context: Context, _: Nothing, run_id: str) -> Nothing:
    """Delete a run with all it holds, and its place in a queue. NotFound; Conflict: it is published."""
    record = _changing(context, run_id)
    life.may_change(record.run)
    queues.remove(context, kind=KIND, subject=run_id)
    metrics.delete(context, record.seq)
    console.delete(context, record.seq)
    artifacts.delete(context, record.seq)
    writers.delete(context, record.seq)
    runs.delete(context, record.seq)
    context.emit(events.deleted(run_id, project=record.run.project, name=record.run.name))
    return Nothing()


def clone(context: Context, order: Clone, run_id: str) -> Run:
    """Draft a copy with changed parameters; its fact `overrides` holds what differs from the recorded command.

    NotFound; Invalid: a name, tag, parameter, requirement, need or commit cannot be, or the run `code` has no recorded
    code.
    """
    names.environment(order.environment)
    names.requirements(order.requirements)
    source = _found(context, run_id)
    facts = runs.facts_of(context, [source.seq])[source.seq]
    kept = {name: facts[name] for name in KEPT_BY_CLONE if name in facts}
    coded = source
    if order.code and order.code != run_id:
        coded = _found(context, order.code)
        if (code_fact := runs.fact_of(context, [coded.seq], "code").get(coded.seq)) is None:
            raise Invalid(f"run {order.code} has no recorded code", field="code")
        kept["code"] = code_fact
    if order.commit:
        if order.code:
            raise Invalid("the code is that of a run or of a commit, not of both", field="commit")
        kept["code"] = repeats.code_at(facts.get("code"), names.commit(order.commit), run_id)
    if order.requirements or order.environment:
        kept["environment"] = _environment(facts.get("environment"), order)
    draft = NewRun(
        project=source.run.project,
        name=order.name or source.run.name,
        id=new_id(),
        kind=source.run.kind,
        params={**runs.params_of(context, [source.seq])[source.seq], **order.params},
        tags=order.tags,
        parent=run_id,
        facts={**kept, "overrides": {**_overrides(facts), **order.params}},
        needs=source.run.needs if order.needs is None else queues.check_needs(order.needs),
        retry=source.run.retry,
    )
    names.draft(draft)
    run = _create(context, draft, created=context.clock.now())
    code = [
        replace(artifact, version=1, created=run.created)
        for artifact in _newest(artifacts.all_of(context, coded.seq))
        if artifact.name.startswith(CODE) and not order.commit  # what travelled belongs to the source's commit
    ]
    artifacts.insert(context, _found(context, run.id).seq, code)
    return run


# -- life ----------------------------------------------------------------------------------------------------------


def enqueue(context: Context, order: Enqueue, run_id: str) -> Run:
    """Put a draft into a queue; with `move`, a run that executes without an agent, which then may write no more.

    NotFound; Conflict: it is no draft, or cannot be moved; Invalid: the queue, the priority or a need cannot be.
    """
    priority = life.priority(order.priority, inside_a_run=bool(context.run))
    record = _changing(context, run_id)
    before = record.run
    (life.may_move if order.move else life.may_enqueue)(before)
    needs = before.needs if order.needs is None else queues.check_needs(order.needs)
    retry = before.retry if order.retry is None else names.retry(order.retry)
    earlier = _earlier(context, record)
    script = repeats.script(runs.fact_of(context, [record.seq], "command").get(record.seq))
    queues.put(
        context, order.queue, kind=KIND, subject=run_id, priority=priority, fence=before.attempt,
        needs=needs if needs.memory else replace(needs, memory=repeats.memory(script, earlier)),
        expected=repeats.expected(script, earlier),
    )  # fmt: skip
    runs.put_asked(context, record.seq, needs=needs, retry=retry)
    runs.update(
        context, record.seq, status=RunStatus.QUEUED.value, queue=order.queue, reason="", cause="", retries=0, stop=0,
        # whoever executes it now, without an agent, is of an earlier attempt from here on
        attempt=before.attempt + 1 if order.move else before.attempt,
    )  # fmt: skip
    context.emit(events.queued(run_id, queue=order.queue))
    return get(context, Nothing(), run_id)


def start(context: Context, order: Start, run_id: str) -> Run:
    """Start a leased run. Asking twice with one fence changes nothing.

    What an earlier attempt left is removed, unless that attempt has logged a checkpoint: then everything stays until
    the new one says whether it continues. A run that was tried often enough ends here, failed.
    NotFound; Conflict: the fence is not that of the living lease, or the run cannot start.
    """
    record = _changing(context, run_id)
    job = queues.check_fence(context, kind=KIND, subject=run_id, fence=order.fence)
    queues.hear(context, job)
    return _start(context, order, record, job)


def _start(context: Context, order: Start, record: Record, job: Job) -> Run:
    run_id = record.run.id
    life.may_start(record.run, order.fence)
    retries = record.run.retries
    if record.run.status is RunStatus.RUNNING:
        if record.run.attempt == order.fence:
            return _whole(context, record)
        # the last holder is gone, and this lease was quicker than the word of it
        cause = _cause(context, record, queues.came_back(context, job))
        if not _went_back(context, record, cause):
            return get(context, Nothing(), run_id)
        retries += 1 if cause else 0
    undecided = _begin_anew(context, record, attempt=order.fence)
    now = context.clock.now()
    runs.update(
        context, record.seq, status=RunStatus.RUNNING.value, attempt=order.fence, started=now, ended=None,
        heartbeat=now, host=names.note(order.host, "host"), reason="", exit_status=None, lost_records=0, stop=0,
        cause="", retries=retries, undecided=int(undecided),
    )  # fmt: skip
    context.emit(events.started(run_id, attempt=order.fence, agent=names.note(order.agent, "agent"), host=order.host))
    return get(context, Nothing(), run_id)


def take(context: Context, order: LeaseRequest) -> Taken:
    """Lease the next job and, when it is about a run, start that run. Jobs whose run cannot start leave their queue."""
    while True:
        lease = queues.lease(context, order, keep=partial(_keep, context))
        job = lease.job
        if job is None or job.kind != KIND:
            return Taken(lease=lease)
        try:
            record = _changing(context, job.subject)
            run = _start(context, Start(fence=job.fence, agent=order.agent, host=order.host), record, job)
        except (Conflict, NotFound):
            queues.complete(context, Hold(fence=job.fence), job.id)
            continue
        if run.status is RunStatus.RUNNING:
            return Taken(lease=lease, run=run)
        # it was tried often enough, and has ended just now, and its job with it


def stop(context: Context, order: Stop, run_id: str) -> Run:
    """Ask a run to stop: one that waits is stopped at once, one that runs hears of it from its next answer.

    NotFound; Conflict: it is a draft, completed or failed.
    """
    record = _changing(context, run_id)
    life.may_stop(record.run)
    reason = names.note(order.reason, "reason")
    if record.run.status is RunStatus.QUEUED:
        queues.remove(context, kind=KIND, subject=run_id)
        _end(context, record, RunStatus.STOPPED, at=context.clock.now(), reason=reason)
    elif record.run.status is not RunStatus.STOPPED and not record.stop:
        runs.update(context, record.seq, stop=1)
        queues.ask_stop(context, kind=KIND, subject=run_id)
        context.emit(events.stop_asked(run_id, reason=reason))
    return get(context, Nothing(), run_id)


def reset(context: Context, _: Nothing, run_id: str) -> Run:
    """Make a run that has ended, or is lost, a draft again: its results go, its code and parameters stay.

    NotFound; Conflict: it is published, or has not ended.
    """
    record = _changing(context, run_id)
    life.may_reset(record.run)
    queues.remove(context, kind=KIND, subject=run_id)
    # what some process of the run still has to say belongs to an attempt that is over
    attempt = record.run.attempt + 1
    _wipe(context, record, attempt=attempt, journals=writers.delete(context, record.seq))
    runs.update(
        context, record.seq, status=RunStatus.DRAFT.value, attempt=attempt, started=None, ended=None, heartbeat=None,
        host="", reason="", cause="", retries=0, exit_status=None, lost_records=0, queue="", stop=0, undecided=0,
    )  # fmt: skip
    context.emit(events.reset(run_id, before=record.run.status))
    return get(context, Nothing(), run_id)


def publish(context: Context, _: Nothing, run_id: str) -> Run:
    """Lock a run that has ended for good: nothing of it changes any more. NotFound; Conflict: it has not ended."""
    record = _changing(context, run_id)
    life.may_publish(record.run)
    if not record.run.published:
        runs.update(context, record.seq, published=1)
        context.emit(events.published(run_id))
    return get(context, Nothing(), run_id)


def finish(context: Context, order: Finish, run_id: str) -> Run:
    """End a run; one that has ended already answers as it is. With a cause that it is tried again for, it goes back
    to its queue instead.

    NotFound; Invalid: the status is not final; Conflict: `attempt` is not the run's newest, or its lease is gone.
    """
    life.ending(order.status)
    record = _changing(context, run_id)
    if order.attempt is not None:
        life.check_attempt(record.run, order.attempt)
    if record.run.status.final:
        return _whole(context, record)
    if order.attempt is not None and life.answered_before(record.run):
        return _whole(context, record)
    by_hand = order.attempt is None
    cause = order.cause if by_hand else life.cause_of(order.status, order.cause)
    if record.run.status is RunStatus.QUEUED:
        queues.remove(context, kind=KIND, subject=run_id)
    elif cause and _went_back(context, record, cause, reason=order.reason, lease=True):
        return get(context, Nothing(), run_id)
    elif by_hand:  # whoever executes the run has to hear of it
        queues.ask_stop(context, kind=KIND, subject=run_id)
    else:  # the lease ends with the work, so that nobody is offered the job again
        queues.remove(context, kind=KIND, subject=run_id)
    _end(context, record, order.status, at=context.clock.now(), reason=names.note(order.reason, "reason"),
         exit_status=order.exit_status, cause=life.cause_of(order.status, cause))  # fmt: skip
    return get(context, Nothing(), run_id)


def lease_expired(context: Context, *, run_id: str, fence: int, cause: str = Cause.AGENT_LOST.value) -> None:
    """The agent that held a run with this fence is gone, or gave it back: a run that it had begun waits again.

    When it was tried often enough, it ends.
    """
    record = runs.find(context, run_id, lock=True)
    if record is None or record.run.status.final:
        queues.remove(context, kind=KIND, subject=run_id)
        return
    if record.run.status is RunStatus.RUNNING and record.run.attempt == fence:
        _went_back(context, record, _cause(context, record, cause))


def why(context: Context, _: Nothing, run_id: str) -> Why:
    """Why a queued run waits. NotFound; Conflict: it waits in no queue."""
    run = _found(context, run_id).run
    if run.status is not RunStatus.QUEUED:
        raise Conflict(f"run {run.id} is {run.status}; it waits in no queue")
    return queues.why(context, KIND, run.id)


def mark_lost(context: Context) -> int:
    """Mark the runs that no agent watches and that have been silent for too long; how many. A word brings one back."""
    silent = runs.silent(context, before=context.clock.now() - life.SILENCE)
    for record in silent:
        reason = f"no word for {life.SILENCE // 60_000_000} minutes"
        runs.update(context, record.seq, status=RunStatus.LOST.value, reason=reason)
        context.emit(events.lost(record.run.id, reason=reason))
    return len(silent)


# -- what a run reports --------------------------------------------------------------------------------------------


def append(context: Context, batch: Batch, run_id: str) -> Acknowledged:
    """Store a stretch of a journal exactly once, all or nothing; an opening makes the run where it is unknown.

    A stretch that ends at or before the stored offset is answered with that offset and not stored again; so a stretch
    from 0 to 0 asks for the offset. NotFound: the run is unknown and the batch does not open it. Conflict: the stretch
    does not begin at the stored offset, the attempt is not the newest, or the run takes no more. Invalid: a part of
    the batch cannot be.
    """
    names.batch(batch)
    series = _columns(batch)
    record = runs.find(context, run_id, lock=True) or _open(context, batch, run_id)
    life.may_ask(record.run, made_by=record.made_by, asking=context.run)
    life.check_attempt(record.run, batch.attempt)
    writer = writers.find(context, record.seq, batch.writer)
    offset = writer.offset if writer else 0
    if batch.end <= offset and not (batch.closed and writer and not writer.closed):
        # a batch from an end to the same end is a sign of life
        if batch.start == batch.end and not record.run.status.final:
            runs.update(context, record.seq, heartbeat=context.clock.now())
        return Acknowledged(offset=offset, stop=record.stop)
    status = life.admit(record.run, batch, offset=offset if writer else None, closed=bool(writer and writer.closed))
    now = context.clock.now()
    if status is not record.run.status:
        record = _go_on(context, record, batch.opening, now=now)
    opening = None if writer else batch.opening
    if opening is not None and opening.restarted and not record.undecided:
        _restart(context, record, opening, now=now)
    elif opening is not None and life.continued(opening, undecided=record.undecided):
        _decide(context, record, opening, now=now)
    if opening is not None and opening.parent and record.run.parent is None and opening.role in life.DECIDERS:
        # a run that was drafted before its code could say from which one it continues
        runs.update(context, record.seq, parent=opening.parent)
        context.emit(events.changed(run_id, fields=["parent"]))
    if series:
        metrics.append(context, record.seq, series)
    if batch.console:
        console.append(context, record.seq, batch.console)
    if batch.params:
        runs.put_params(context, record.seq, batch.params)
        context.emit(events.changed(run_id, fields=["params"]))
    if batch.facts:
        runs.put_facts(context, record.seq, batch.facts)
    _mark(context, record, name=batch.name, notes=batch.notes, add=batch.add_tags, remove=batch.remove_tags)
    _put_artifacts(context, record, batch.artifacts)
    role = writer.role if writer else opening.role if opening else ""
    writers.put(context, record.seq, batch.writer, offset=batch.end, attempt=batch.attempt, closed=batch.closed,
                role=role)  # fmt: skip
    host = batch.opening.host if batch.opening and batch.opening.role == "main" else ""
    runs.update(context, record.seq, heartbeat=now, **_columns_told(batch.facts, host=host))
    if batch.ending is not None and status is RunStatus.RUNNING:
        _hear_ending(context, record, batch.ending, role=role, now=now)
    context.signal(events.logged(run_id))
    return Acknowledged(offset=batch.end, stop=record.stop)


def log_metrics(context: Context, batch: PointsBatch, run_id: str) -> Nothing:
    """Log points without a journal; steps go on from the number of points, times are now, where they are not given.

    NotFound; Conflict: the run takes no metrics; Invalid: a part of the batch cannot be, and nothing is stored.
    """
    record = _changing(context, run_id)
    life.may_log(record.run)
    now = context.clock.now()
    counts = metrics.counts(context, record.seq, [points.name for points in batch.metrics])
    series: dict[str, Columns] = {}
    for index, points in enumerate(batch.metrics):
        field = f"metrics.{index}"
        count = len(points.values)
        first = counts.get(points.name, 0)
        counts[points.name] = first + count
        for name, column in (("steps", points.steps), ("times", points.times)):
            if column and len(column) != count:
                raise Invalid(f"{count} values have {len(column)} {name}", field=f"{field}.{name}")
        try:
            columns = Columns(
                np.array(points.steps or range(first, first + count), "<i8").tobytes(),
                np.array(points.times or [now] * count, "<i8").tobytes(),
                np.array(points.values, "<f8").tobytes(),
            )
        except OverflowError:
            raise Invalid("steps and times fit into 64 bits", field=field) from None
        _add_columns(series, names.key(points.name, f"{field}.name"), columns)
    if record.run.status is RunStatus.LOST:
        record = _go_on(context, record, None, now=now)
    if series:
        metrics.append(context, record.seq, series)
    runs.update(context, record.seq, heartbeat=now)
    context.signal(events.logged(run_id))
    return Nothing()


def tidy(context: Context, *, run_id: str) -> None:
    """Pack what many small batches of a run have left; a long run takes several turns."""
    record = runs.find(context, run_id)
    if record is not None and metrics.tidy(context, record.seq, most=_TIDIED_AT_ONCE):
        context.emit(events.tidy_due(run_id))


# -- what is read back ---------------------------------------------------------------------------------------------


def list_metrics(context: Context, _: Nothing, run_id: str) -> MetricNames:
    """The metrics of a run with their summaries, by name. NotFound."""
    record = _found(context, run_id)
    return MetricNames(metrics=metrics.summaries_of(context, [record.seq])[record.seq])


def read_metric(context: Context, query: MetricQuery, run_id: str) -> Series:
    """All points of a metric, by step; those of one step as they arrived. NotFound."""
    run, metric = _metric(context, run_id, query.name)
    points = metrics.read(context, run, metric, first=query.first_step, last=query.last_step)
    return Series(
        name=query.name,
        steps=points.steps.astype("<i8").tobytes(),
        times=points.times.astype("<i8").tobytes(),
        values=points.values.astype("<f8").tobytes(),
    )


def chart(context: Context, query: ChartQuery, run_id: str) -> Chart:
    """A metric reduced to at most the asked number of points, extremes kept. NotFound; Invalid: too few or too many."""
    if not charts.FEWEST <= query.points <= charts.MOST:
        raise Invalid(f"a chart has {charts.FEWEST} to {charts.MOST} points", field="points")
    run, metric = _metric(context, run_id, query.name)
    reduced = metrics.chart(context, run, metric, limit=query.points, first=query.first_step, last=query.last_step)
    return Chart(
        name=query.name,
        steps=reduced.points.steps.tolist(),
        times=reduced.points.times.tolist(),
        values=reduced.points.values.tolist(),
        total=reduced.total,
    )


def read_console(context: Context, query: ConsoleQuery, run_id: str) -> Console:
    """Console lines. NotFound; Invalid: a number is below zero, the pattern is none, or there is no such stream."""
    for name in ("after", "tail"):
        if getattr(query, name) < 0:
            raise Invalid(f"{name} is a number from 0", field=name)
    wanted = sought.sought(text=query.search, pattern=query.pattern, stream=query.stream, rank=query.rank)
    until = time.monotonic() + _SEARCHED
    record = _found(context, run_id)
    if query.tail:
        lines = min(query.tail, _LONGEST_PAGE)
        return console.tail(context, record.seq, lines=lines, sought=wanted, until=until)
    limit = min(max(query.limit, 1), _LONGEST_PAGE)
    return console.read(context, record.seq, after=query.after, limit=limit, sought=wanted, until=until)


def list_artifacts(context: Context, query: ArtifactQuery, run_id: str) -> Artifacts:
    """The artifacts of a run by name and version. NotFound."""
    found = artifacts.all_of(context, _found(context, run_id).seq, query.name)
    return Artifacts(artifacts=_newest(found) if query.latest else found)


def read_file(context: Context, query: FileQuery, run_id: str) -> Download:
    """One file of an artifact; without a path, the only one. NotFound; Invalid: it has several files."""
    artifact = artifacts.find(context, _found(context, run_id).seq, query.name, query.version)
    if artifact is None:
        version = f" in version {query.version}" if query.version else ""
        raise NotFound(f"run {run_id} has no artifact {query.name!r}{version}")
    files = [file for file in artifact.files if file.path == query.path or not query.path]
    if not files:
        raise NotFound(f"artifact {query.name!r} has no file {query.path!r}")
    if len(files) > 1:
        raise Invalid(f"artifact {query.name!r} has {len(files)} files", field="path",
                      hint="name one of them: " + ", ".join(file.path for file in files[:10]))  # fmt: skip
    name = files[0].path.rpartition("/")[2]
    shown = previews.media_type(name, kind=artifact.kind, format=artifact.format) if query.show else ""
    return Download(hash=files[0].hash, size=files[0].size, name=name, media_type=shown)


# -- helpers -------------------------------------------------------------------------------------------------------


def _found(context: Context, run_id: str, *, lock: bool = False) -> Record:
    record = runs.find(context, run_id, lock=lock)
    if record is None:
        raise NotFound(f"there is no run {run_id[:100]}")
    return record


def _changing(context: Context, run_id: str) -> Record:
    """The run, locked, for somebody who may change it. NotFound; Denied: another run asks."""
    record = _found(context, run_id, lock=True)
    life.may_ask(record.run, made_by=record.made_by, asking=context.run)
    return record


def _keep(context: Context, kind: str, subject: str, patient: bool) -> bool:
    # the job of a run that is gone is leased all the same, and so found out
    return kind != KIND or runs.keep(context, subject, patient=patient) or patient


def _default_name(kind: str, run_id: str) -> str:
    return f"{kind}-{run_id[-6:]}"


def _metric(context: Context, run_id: str, name: str) -> tuple[int, int]:
    record = _found(context, run_id)
    metric = metrics.find(context, record.seq, name)
    if metric is None:
        raise NotFound(f"run {run_id} has no metric {name[:100]!r}")
    return record.seq, metric


def _whole(context: Context, record: Record) -> Run:
    return replace(_full(context, [record], facts=True)[0], checkpoint=_checkpoint(context, record))


def _checkpoint(context: Context, record: Record) -> Checkpoint | None:
    """The run's own newest state to continue from."""
    found = artifacts.newest_checkpoint(context, record.seq)
    if found is None or found.step is None:
        return None
    return Checkpoint(run=record.run.id, name=found.name, version=found.version, step=found.step)


def _full(context: Context, records: list[Record], *, facts: bool) -> list[Run]:
    seqs = [record.seq for record in records]
    tags, params = runs.tags_of(context, seqs), runs.params_of(context, seqs)
    summaries = metrics.summaries_of(context, seqs)
    documents: dict[int, dict[str, Any]] = runs.facts_of(context, seqs) if facts else {}
    return [
        replace(record.run, tags=tags[record.seq], params=params[record.seq], metrics=summaries[record.seq],
                facts=documents.get(record.seq, {}))
        for record in records
    ]  # fmt: skip


def _newest(found: list[Artifact]) -> list[Artifact]:
    return list({artifact.name: artifact for artifact in found}.values())


def _create(
    context: Context, order: NewRun, *, created: int, started: int | None = None, ended: int | None = None
) -> Run:
    projects.ensure(context, order.project)
    told = _told(order.facts)
    run = Run(
        id=order.id, project=order.project, name=order.name, status=order.status, created=created, started=started,
        ended=ended, user=context.user, kind=order.kind, tags=sorted(set(order.tags)), parent=order.parent,
        notes=names.note(order.notes, "notes"), host=told.host, branch=told.branch, commit=told.commit,
        needs=order.needs, retry=order.retry,
    )  # fmt: skip
    record = runs.insert(context, run, made_by=context.run)
    if record is None:
        raise Conflict(f"there is a run {order.id} already")
    runs.put_params(context, record.seq, order.params)
    runs.put_facts(context, record.seq, order.facts)
    _put_artifacts(context, record, order.artifacts, came_with=True)
    context.emit(_created(run))
    if run.status.final:
        context.emit(_finished(run, run.status, run.reason))
    return _whole(context, record)


@dataclass(frozen=True, kw_only=True)
class _Told:
    host: str = ""
    branch: str = ""
    commit: str = ""


def _told(facts: Mapping[str, Any], host: str = "") -> _Told:
    """What the facts say of things that have a column of their own."""

    def text(name: str, entry: str) -> str:
        document = facts.get(name)
        found = document.get(entry) if isinstance(document, dict) else None
        return names.note(found, f"facts.{name}") if isinstance(found, str) else ""

    return _Told(host=names.note(host, "host") or text("machine", "host"), branch=text("code", "branch"),
                 commit=text("code", "commit"))  # fmt: skip


def _columns_told(facts: Mapping[str, Any], *, host: str) -> dict[str, str]:
    told = _told(facts, host)
    columns = {"host": told.host, "branch": told.branch, "commit_id": told.commit}
    return {column: value for column, value in columns.items() if value}


def _open(context: Context, batch: Batch, run_id: str) -> Record:
    opening = batch.opening
    # a run of a later attempt was known here once: it has been deleted
    if opening is None or batch.attempt:
        raise NotFound(f"there is no run {run_id[:100]}", hint="it may have been deleted")
    if not is_id(run_id):
        raise Invalid("a run's id is a UUID in lower case", field="run_id")
    projects.ensure(context, opening.project, field="opening.project")
    now = context.clock.now()
    run = Run(
        id=run_id, project=opening.project, name=opening.name or _default_name(opening.kind, run_id),
        status=RunStatus.RUNNING, created=opening.time or now,
        started=opening.time or now, heartbeat=now, user=context.user, kind=opening.kind, parent=opening.parent or None,
        host=names.note(opening.host, "opening.host"),
    )  # fmt: skip
    record = runs.insert(context, run, made_by=context.run)
    if record is None:  # another process of the run was faster
        return _found(context, run_id, lock=True)
    context.emit(_created(run))
    context.emit(events.started(run_id, attempt=0, agent="", host=run.host))
    return record


def _go_on(context: Context, record: Record, opening: Opening | None, *, now: int) -> Record:
    """The run is running, for the first time or again."""
    before = record.run.status
    if before is RunStatus.QUEUED:
        queues.remove(context, kind=KIND, subject=record.run.id)
    started = record.run.started or (opening.time if opening else 0) or now
    run = replace(record.run, status=RunStatus.RUNNING, started=started, ended=None, exit_status=None, reason="",
                  cause=Cause.NONE)  # fmt: skip
    runs.update(context, record.seq, status=run.status.value, started=started, ended=None, exit_status=None, reason="",
                cause="", stop=0)  # fmt: skip
    if before in (RunStatus.DRAFT, RunStatus.QUEUED):
        context.emit(events.started(run.id, attempt=run.attempt, agent="", host=opening.host if opening else ""))
    else:
        context.emit(events.resumed(run.id, before=before))
    return replace(record, run=run, stop=False)


def _end(
    context: Context, record: Record, status: RunStatus, *, at: int, reason: str, exit_status: int | None = None,
    lost_records: int = 0, cause: Cause = Cause.NONE,
) -> None:  # fmt: skip
    ended = max(at, record.run.started or at)
    runs.update(context, record.seq, status=status.value, ended=ended, reason=reason, exit_status=exit_status,
                lost_records=lost_records, cause=cause.value)  # fmt: skip
    context.emit(_finished(record.run, status, reason, cause))
    if metrics.any_of(context, record.seq):
        context.emit(events.tidy_due(record.run.id))


def _hear_ending(context: Context, record: Record, ending: Ending, *, role: str, now: int) -> None:
    """A journal tells of the end of its run."""
    run = record.run
    if run.attempt and role != life.BY_AN_AGENT and _is_leased(context, run):
        return  # one of the processes has ended; the agent sees when all of them have
    cause = life.cause_of(ending.status, ending.cause)
    reason = names.note(ending.reason, "ending.reason")
    if cause and _went_back(context, record, cause, reason=reason, lease=True):
        return
    _end(context, record, ending.status, at=ending.time or now, reason=reason, exit_status=ending.exit_status,
         lost_records=ending.lost_records, cause=cause)  # fmt: skip
    if run.attempt:  # the lease ends with the work, so that nobody is offered the job again
        queues.remove(context, kind=KIND, subject=run.id)


def _is_leased(context: Context, run: Run) -> bool:
    return queues.holder(context, kind=KIND, subject=run.id, fence=run.attempt) is not None


def _cause(context: Context, record: Record, told: str) -> Cause:
    """Why a lease ended, in the words of runs."""
    if told != queue_events.UNHEARD:
        return Cause(told)
    return life.lost(record.run, heard=writers.any_of(context, record.seq))


def _went_back(context: Context, record: Record, cause: Cause, *, reason: str = "", lease: bool = False) -> bool:
    """Let a run whose attempt ended early wait in its queue again; whether it may.

    `lease`: its agent holds it still, has told of the end, and will tell itself what becomes of a run that may not.
    Otherwise the job waits already, and a run that may not go back ends here.
    """
    run = record.run
    if life.goes_back(run, cause, stop=record.stop) and (not lease or _is_leased(context, run)):
        if lease:
            queues.put_back(context, kind=KIND, subject=run.id, cause=cause.value)
        told = names.note(reason, "reason") or life.reason(cause)
        runs.update(context, record.seq, status=RunStatus.QUEUED.value, reason=told, cause=cause.value,
                    retries=run.retries + (1 if cause else 0))  # fmt: skip
        context.emit(events.requeued(run.id, attempt=run.attempt, reason=told, cause=cause))
        return True
    if not lease:
        queues.remove(context, kind=KIND, subject=run.id)
        status = RunStatus.STOPPED if record.stop else RunStatus.FAILED
        told = life.reason(cause) if record.stop else life.used_up(run, cause)
        _end(context, record, status, at=context.clock.now(), reason=told, cause=cause)
    return False


def _earlier(context: Context, record: Record) -> list[repeats.Earlier]:
    """The newest completed runs of the project, the newest first."""
    seconds = runs.completed(context, record.run.project, most=repeats.LOOKED_AT)
    commands, executions = (runs.fact_of(context, list(seconds), name) for name in ("command", "execution"))
    return [
        repeats.Earlier(seconds=length, script=repeats.script(commands.get(seq)), execution=executions.get(seq))
        for seq, length in seconds.items()
    ]


def _overrides(facts: Mapping[str, Any]) -> dict[str, Any]:
    found = facts.get("overrides")
    return found if isinstance(found, dict) else {}


def _environment(inherited: object, order: Clone) -> dict[str, Any]:
    """The fact `environment` of a clone; what was built for the source is not what will be built for it."""
    old = inherited if isinstance(inherited, dict) else {}
    recorded = old.get("requirements")
    wanted = [text for text in recorded if isinstance(text, str)] if isinstance(recorded, list) else []
    changed = {names.distribution(text) for text in order.requirements}
    kept = [text for text in wanted if names.distribution(text) not in changed]
    given = old.get("from")
    return {
        "from": order.environment or (given if isinstance(given, str) else ""),
        "requirements": [*kept, *order.requirements],
    }


def _edit(context: Context, record: Record, order: Change) -> None:
    """Change what only a draft has still to become."""
    edited = [name for name in ("params", "needs", "retry") if getattr(order, name) is not None]
    if not edited:
        return
    life.may_edit(record.run, " and ".join(edited))
    if order.params:
        names.params(order.params)
        overrides = _overrides(runs.facts_of(context, [record.seq])[record.seq])
        runs.put_params(context, record.seq, order.params)
        runs.put_facts(context, record.seq, {"overrides": {**overrides, **order.params}})
    runs.put_asked(context, record.seq, needs=None if order.needs is None else queues.check_needs(order.needs),
                   retry=None if order.retry is None else names.retry(order.retry))  # fmt: skip
    context.emit(events.changed(record.run.id, fields=edited))


def _mark(
    context: Context, record: Record, *, name: str | None, notes: str | None, add: list[str], remove: list[str]
) -> None:
    fields = [field for field, value in (("name", name), ("notes", notes)) if value is not None]
    if add or remove:
        fields.append("tags")
    if fields:
        notes = notes if notes is None else names.note(notes, "notes")
        runs.mark(context, record, name=name, notes=notes, add=add, remove=remove)
        context.emit(events.changed(record.run.id, fields=fields))


def _put_artifacts(context: Context, record: Record, new: list[NewArtifact], *, came_with: bool = False) -> None:
    """Store artifacts that the run has logged, or that it came with."""
    if not new:
        return
    _check_objects(context, [(file.hash, file.size) for artifact in new for file in artifact.files])
    versions = {artifact.name: artifacts.latest_version(context, record.seq, artifact.name) for artifact in new}
    now = context.clock.now()
    made = []
    for artifact in new:
        versions[artifact.name] += 1
        made.append(
            Artifact(
                name=artifact.name, version=versions[artifact.name], kind=artifact.kind, format=artifact.format,
                files=artifact.files, size=sum(file.size for file in artifact.files), step=artifact.step,
                metadata=artifact.metadata,
                # later than the run itself, by which a new attempt knows what the draft came with
                created=record.run.created if came_with else max(artifact.time or now, record.run.created + 1),
            )
        )  # fmt: skip
    artifacts.insert(context, record.seq, made)
    for stored in made:
        context.emit(events.artifact_logged(record.run.id, name=stored.name, version=stored.version, kind=stored.kind))


def _check_objects(context: Context, files: list[tuple[str, int]]) -> None:
    wanted = list(dict.fromkeys(files))
    with ThreadPoolExecutor(max_workers=min(len(wanted), 16) or 1) as pool:
        sizes = pool.map(lambda file: context.objects.size(context.tenant, file[0]), wanted)
        for (hash, size), stored in zip(wanted, sizes, strict=True):
            if stored is None:
                raise Conflict(f"object {hash[:12]}… is not in the store", hint="upload the file, then send its name")
            if stored != size:
                raise Invalid(f"object {hash[:12]}… has {stored} bytes, not {size}", field="artifacts.files.size")


def _begin_anew(context: Context, record: Record, *, attempt: int) -> bool:
    """Make room for a new attempt; whether it is still to decide what of the earlier ones stays."""
    found = artifacts.newest_checkpoint(context, record.seq)
    journals = writers.delete(context, record.seq)
    if found is None or found.created <= record.run.created:
        if journals:  # what was logged to a draft without a journal belongs to no attempt
            _wipe(context, record, attempt=attempt, journals=journals)
        return False
    marks = Marks(
        points=metrics.all_counts(context, record.seq),
        lines=console.total(context, record.seq),
        versions={artifact.name: artifact.version for artifact in artifacts.all_of(context, record.seq)},
    )
    runs.put_marks(context, record.seq, marks)
    return True


def _decide(context: Context, record: Record, opening: Opening, *, now: int) -> None:
    """The new attempt has said whether it continues: remove what came after its step, or all of earlier attempts.

    What the new attempt itself has written before stays.
    """
    run = record.run
    marks = runs.marks_of(context, record.seq) if record.undecided else Marks()
    runs.update(context, record.seq, undecided=0)
    old = [
        artifact for artifact in artifacts.all_of(context, record.seq)
        if artifact.created > run.created
        and (not record.undecided or artifact.version <= marks.versions.get(artifact.name, 0))
    ]  # fmt: skip
    if opening.continued is None:
        wiped = {
            "metrics": metrics.forget(context, record.seq, marks.points),
            "lines": console.forget(context, record.seq, lines=marks.lines),
            "artifacts": artifacts.remove(context, record.seq, _without_code(context, record, old)),
        }
        context.emit(events.restarted(run.id, attempt=run.attempt, wiped=wiped))
        return
    step = opening.continued
    later = [artifact for artifact in old if artifact.step is not None and artifact.step > step]
    cut = {
        "metrics": metrics.cut(context, record.seq, after=step),
        "artifacts": artifacts.remove(context, record.seq, later),
    }
    console.append(context, record.seq, [ConsoleLine(time=now, text=life.divider(run.attempt, step))])
    context.emit(events.continued(run.id, attempt=run.attempt, step=step, wiped=cut))


def _restart(context: Context, record: Record, opening: Opening, *, now: int) -> None:
    """A rank was started again within the attempt: remove what it had logged after the step that it continues."""
    step = -(2**63) if opening.continued is None else opening.continued
    cut = {"metrics": metrics.cut(context, record.seq, after=step, rank=opening.rank)}
    if not opening.rank:
        later = [
            artifact for artifact in artifacts.all_of(context, record.seq)
            if opening.continued is not None and artifact.step is not None and artifact.step > step
        ]  # fmt: skip
        cut["artifacts"] = artifacts.remove(context, record.seq, later)
        text = life.divider(record.run.attempt, opening.continued)
        console.append(context, record.seq, [ConsoleLine(time=now, text=text)])
        said = -1 if opening.continued is None else opening.continued
        context.emit(events.continued(record.run.id, attempt=record.run.attempt, step=said, wiped=cut))


def _wipe(context: Context, record: Record, *, attempt: int, journals: int) -> None:
    """Remove what earlier attempts have reported; parameters and facts are written over by the new one."""
    logged = [each for each in artifacts.all_of(context, record.seq) if each.created > record.run.created]
    wiped = {
        "journals": journals,
        "metrics": metrics.delete(context, record.seq),
        "lines": console.delete(context, record.seq),
        "artifacts": artifacts.remove(context, record.seq, _without_code(context, record, logged)),
    }
    context.emit(events.restarted(record.run.id, attempt=attempt, wiped=wiped))


def _without_code(context: Context, record: Record, logged: list[Artifact]) -> list[Artifact]:
    """The artifacts but those that hold the run's code, where it did not come with any: it is what is executed."""
    came_with = any(
        artifact.name.startswith(CODE) and artifact.created <= record.run.created
        for artifact in artifacts.all_of(context, record.seq)
    )
    return logged if came_with else [artifact for artifact in logged if not artifact.name.startswith(CODE)]


def _columns(batch: Batch) -> dict[str, Columns]:
    series: dict[str, Columns] = {}
    for index, points in enumerate(batch.series):
        length = len(points.values)
        if length % 8 or len(points.steps) != length or len(points.times) != length:
            raise Invalid("steps, times and values have 8 bytes for each point", field=f"series.{index}.values")
        _add_columns(series, points.name, Columns(points.steps, points.times, points.values))
    return series


def _add_columns(series: dict[str, Columns], name: str, new: Columns) -> None:
    if not len(new):
        return
    old = series.get(name)
    series[name] = Columns(old.steps + new.steps, old.times + new.times, old.values + new.values) if old else new


def _created(run: Run) -> Event:
    return events.created(run.id, project=run.project, name=run.name, kind=run.kind, parent=run.parent)


def _finished(run: Run, status: RunStatus, reason: str, cause: Cause = Cause.NONE) -> Event:
    return events.finished(run.id, project=run.project, kind=run.kind, status=status, reason=reason, cause=cause)
