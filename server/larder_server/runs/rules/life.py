"""What a run may become next, and who may still write to it."""

from larder.contract.errors import Conflict, Invalid
from larder.contract.runs import Batch, Run
from larder.contract.runs import RunStatus as S

SILENCE = 10 * 60 * 1_000_000
"""Microseconds without a word after which a run that no agent watches is taken for lost."""

_CLONE_IT = "clone it and enqueue the clone"


def may_enqueue(run: Run) -> None:
    """Conflict unless the run is a draft."""
    if run.status is S.DRAFT:
        return
    hint = "" if run.status in (S.QUEUED, S.RUNNING) else _CLONE_IT
    raise Conflict(f"run {run.id} is {run.status}; only a draft can be enqueued", hint=hint)


def may_start(run: Run, fence: int) -> None:
    """Conflict unless an agent whose lease has this fence may start the run."""
    if run.status in (S.QUEUED, S.LOST) or (run.status is S.RUNNING and fence >= run.attempt > 0):
        return
    raise Conflict(f"run {run.id} is {run.status}; it cannot be started", hint=_CLONE_IT if run.status.final else "")


def may_stop(run: Run) -> None:
    """Conflict unless the run waits, runs or was stopped already."""
    if run.status not in (S.QUEUED, S.RUNNING, S.LOST, S.STOPPED):
        raise Conflict(f"run {run.id} is {run.status}; there is nothing to stop")


def may_log(run: Run) -> None:
    """Conflict unless points without a journal may be added to the run."""
    if run.status not in (S.DRAFT, S.RUNNING, S.LOST):
        raise Conflict(f"run {run.id} is {run.status}; it takes no metrics")


def check_attempt(run: Run, attempt: int) -> None:
    """Conflict unless this is the run's newest attempt."""
    if attempt != run.attempt:
        raise Conflict(
            f"run {run.id} is in attempt {run.attempt}; attempt {attempt} may not write",
            hint="another agent has taken the run over; end this work",
        )


def ending(status: S) -> S:
    """The status, when a run can end with it; Invalid otherwise."""
    if not status.final:
        raise Invalid(f"a run ends completed, failed or stopped, not {status}", field="status")
    return status


def first_status(status: S) -> S:
    """The status, when a run can be made with it; Invalid otherwise."""
    if status is not S.DRAFT and not status.final:
        raise Invalid(f"a run is made as a draft, or imported with its final status, not {status}", field="status")
    return status


def admit(run: Run, batch: Batch, *, offset: int | None, closed: bool) -> S:
    """The status of the run once the batch has arrived, its ending not yet considered; Conflict when it may not arrive.

    `offset` is what is stored of this writer, None when the writer is new to the run.
    """
    if offset is None and batch.start > 0:
        raise Conflict(f"nothing of this journal is stored yet; this stretch begins at byte {batch.start}",
                       hint="send the journal from byte 0: offset=0")  # fmt: skip
    if offset is not None and batch.start != offset:
        stretch = f"this stretch goes from {batch.start} to {batch.end}"
        raise Conflict(f"this journal is stored up to byte {offset}; {stretch}",
                       hint=f"send the journal from there: offset={offset}")  # fmt: skip
    if closed:
        raise Conflict(f"this journal of run {run.id} was closed at byte {offset}; nothing can follow")
    opening = batch.opening
    if run.status.final:
        return _admit_late(run, batch, known=offset is not None)
    if run.status is S.DRAFT or (run.status is S.QUEUED and not run.attempt):
        if opening is None:
            raise Conflict(f"run {run.id} is {run.status}; the journal that starts it begins with an opening")
        return S.RUNNING
    if run.status is S.QUEUED:
        raise Conflict(f"run {run.id} waits for an agent again; attempt {run.attempt} may not write",
                       hint="its lease has expired; end this work")  # fmt: skip
    return S.RUNNING


def _admit_late(run: Run, batch: Batch, *, known: bool) -> S:
    opening = batch.opening
    if opening is not None and opening.resumed:
        if run.status is S.COMPLETED:
            raise Conflict(f"run {run.id} is completed; it cannot be resumed", hint="start a new run with it as parent")
        return S.RUNNING
    # a journal of a child process that began before the end tells of the time before the end, however late it arrives
    began_before = opening is not None and opening.role != "main" and opening.time <= (run.ended or 0)
    if known or began_before:
        return run.status
    raise Conflict(f"run {run.id} is {run.status}; it takes no new journal")
