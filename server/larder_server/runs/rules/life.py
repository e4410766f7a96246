"""What a run may become next, and who may still write to it."""

from larder.contract.errors import Conflict, Denied, Invalid
from larder.contract.queues import Priority
from larder.contract.runs import Batch, Cause, Opening, Run
from larder.contract.runs import RunStatus as S

SILENCE = 10 * 60 * 1_000_000
"""Microseconds without a word after which a run that no agent watches is taken for lost."""

NEVER_HEARD = 10
"""Attempts of a run of which nothing was ever heard and that do not count as tries."""

BY_AN_AGENT = "agent"
"""The role of the journal in which an agent tells of the run that it executes."""

DECIDERS = ("main", "child", "rank")
"""The roles of journals that a user's code writes: the first of a new attempt says whether it continues."""

_CLONE_IT = "clone it and enqueue the clone"
_REASONS = {
    Cause.AGENT_LOST: "agent lost",
    Cause.PREEMPTED: "preempted",
    Cause.OUT_OF_MEMORY: "out of memory",
    Cause.TIME_LIMIT: "time limit",
    Cause.FAILED: "failed",
    Cause.NONE: "given back",
}


def may_enqueue(run: Run) -> None:
    """Conflict unless the run is a draft."""
    if run.status is S.DRAFT:
        return
    hint = "" if run.status in (S.QUEUED, S.RUNNING) else _CLONE_IT
    raise Conflict(f"run {run.id} is {run.status}; only a draft can be enqueued", hint=hint)


def may_move(run: Run) -> None:
    """Conflict unless the run executes by itself, so that an agent can go on with it."""
    if run.status is S.RUNNING and not run.attempt:
        return
    by = "an agent executes it already" if run.status is S.RUNNING else f"it is {run.status}"
    raise Conflict(f"run {run.id} cannot be moved to a queue: {by}")


def priority(asked: str, *, inside_a_run: bool) -> Priority:
    """The class of a run's job, by default that of who asks; Invalid when there is no such class."""
    if not asked:
        return Priority.AUTOMATIC if inside_a_run else Priority.HUMAN
    try:
        return Priority(asked)
    except ValueError:
        raise Invalid(f"a priority is human or automatic, not {asked[:100]!r}", field="priority") from None


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


def may_reset(run: Run) -> None:
    """Conflict unless the run has ended, or is lost, and may become a draft again."""
    may_change(run)
    if run.status is S.LOST or run.status.final:
        return
    hint = "stop it first" if run.status in (S.QUEUED, S.RUNNING) else ""
    raise Conflict(f"run {run.id} is {run.status}; only a run that has ended can be reset", hint=hint)


def may_publish(run: Run) -> None:
    """Conflict unless the run has ended."""
    if not run.status.final:
        raise Conflict(f"run {run.id} is {run.status}; only a run that has ended can be published")


def may_change(run: Run) -> None:
    """Conflict when the run was published."""
    if run.published:
        raise Conflict(f"run {run.id} is published: nothing of it changes, and it stays", hint="clone it")


def may_edit(run: Run, what: str) -> None:
    """Conflict unless the run is a draft, whose parameters and needs are still to be made."""
    if run.status is not S.DRAFT:
        raise Conflict(f"run {run.id} is {run.status}; {what} can be changed on a draft only", hint="clone it")


def may_ask(run: Run, *, made_by: str, asking: str) -> None:
    """Denied when the asker is a run (`asking`) other than this one, and has not made this one."""
    if asking and asking not in (run.id, made_by):
        raise Denied(f"the token of run {asking} may not change run {run.id}",
                     hint="a run changes itself and the runs that it has made; use a user's token")  # fmt: skip


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


# -- trying again --------------------------------------------------------------------------------------------------


def cause_of(status: S, cause: Cause) -> Cause:
    """Why the run ended, as far as the ending tells: a failure without another cause is one."""
    if status is S.COMPLETED:
        return Cause.NONE
    return cause or (Cause.FAILED if status is S.FAILED else Cause.NONE)


def goes_back(run: Run, cause: Cause, *, stop: bool = False) -> bool:
    """Whether a run that an agent executed waits in its queue again after it ended early of this cause.

    One that never began, which has no cause, always does; one that somebody has asked to stop never does.
    """
    if stop or not run.attempt:
        return False
    return cause is Cause.NONE or (cause in run.retry.causes and run.retries < run.retry.times)


def lost(run: Run, *, heard: bool) -> Cause:
    """Why an attempt ended whose agent was given the run and is silent since.

    Without a word of it the agent may never have heard of the run, and that is no try. It is believed so often only: a
    run that fells its machine at once must come to an end.
    """
    return Cause.AGENT_LOST if heard or run.attempt - run.retries > NEVER_HEARD else Cause.NONE


def reason(cause: Cause) -> str:
    """The cause in words."""
    return _REASONS[cause]


def used_up(run: Run, cause: Cause) -> str:
    """Why a run whose attempt ended of this cause does not go back to its queue."""
    text = reason(cause)
    if cause not in run.retry.causes or not run.retry.times:
        return f"{text}; the run is not tried again for this cause"
    return f"{text}; it was tried again {run.retries} of {run.retry.times} times"


def answered_before(run: Run) -> bool:
    """Whether a finish of the newest attempt was heard already, and the run waits for its next attempt.

    Conflict when it was the agent that got lost: who speaks now has lost the lease.
    """
    if run.status is not S.QUEUED or not run.attempt:
        return False
    if not _told_by_its_agent(run):
        raise _waits_again(run)
    return True


# -- what a journal may bring --------------------------------------------------------------------------------------


def admit(run: Run, batch: Batch, *, offset: int | None, closed: bool) -> S:
    """The status of the run once the batch has arrived, its ending not yet considered; Conflict when it may not arrive.

    `offset` is what is stored of this writer, None when the writer is new to the run.
    """
    may_change(run)
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
        # the agent itself has told of the attempt's end: the rest of what was written before it may come after it
        if offset is not None and _told_by_its_agent(run):
            return S.QUEUED
        raise _waits_again(run)
    return S.RUNNING


def continued(opening: Opening, *, undecided: bool) -> bool:
    """Whether this opening decides what of the earlier attempts stays; only a journal's first batch is asked."""
    if undecided:
        return opening.role in DECIDERS
    # a process that resumes a run, and the first of several that were started again within an attempt, repeat steps
    return opening.resumed and opening.role in ("main", "child") and opening.continued is not None


def divider(attempt: int, step: int | None) -> str:
    """The line of the console between an attempt, or a start within it, and the one that continues it, or begins anew."""
    if step is None:
        return "— begins anew —"
    return f"— attempt {attempt} continues after step {step} —" if attempt else f"— continues after step {step} —"


def _admit_late(run: Run, batch: Batch, *, known: bool) -> S:
    opening = batch.opening
    # with an agent, no process but the main one brings a run back that has ended
    if opening is not None and opening.resumed and (opening.role == "main" or not run.attempt):
        if run.status is S.COMPLETED:
            raise Conflict(f"run {run.id} is completed; it cannot be resumed", hint="start a new run with it as parent")
        return S.RUNNING
    # a journal of a child process that began before the end tells of the time before the end, however late it arrives
    began_before = opening is not None and opening.role != "main" and opening.time <= (run.ended or 0)
    if known or began_before:
        return run.status
    raise Conflict(f"run {run.id} is {run.status}; it takes no new journal")


def _told_by_its_agent(run: Run) -> bool:
    return run.cause not in (Cause.NONE, Cause.AGENT_LOST)


def _waits_again(run: Run) -> Conflict:
    return Conflict(f"run {run.id} waits for an agent again; attempt {run.attempt} may not write",
                    hint="its lease has expired; end this work")  # fmt: skip
