"""The same change of many runs: named one by one, or by a condition that is worked off in pieces."""

from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Denied, Invalid, NotFound
from larder.contract.runs import Change, Enqueue, Run, RunStatus, Stop
from larder.contract.tables import Bulk, BulkAction, Bulked, Refused
from larder_server.kernel.context import Context
from larder_server.runs.rules import names
from larder_server.runs.service import life
from larder_server.runs.store import runs, search
from larder_server.runs.store import table as store

MOST = 1_000
"""So many runs may be named at once."""

PIECE = 200
"""So many runs that a condition selects are changed in one transaction: others write, too."""


def bulk(context: Context, order: Bulk) -> Bulked:
    """Do something with many runs; a run with which it cannot be done is told and does not keep back the others.

    Invalid: a tag, the queue, the condition or the place in it cannot be, or nothing is named.
    """
    if order.action in (BulkAction.TAG, BulkAction.UNTAG):
        if not order.tags:
            raise Invalid(f"{order.action} needs tags", field="tags")
        for tag in order.tags:
            names.tag(tag)
    if order.ids:
        return _do(context, order, _named(order))
    if not (order.where.strip() or order.text.strip() or order.project or order.everything):
        raise Invalid("neither runs nor a condition is given", field="ids",
                      hint="name runs in `ids`, give `where`, or say `everything` for all runs")  # fmt: skip
    until = _place(order.until, "until") if order.until else store.newest_seq(context)
    found = store.after(
        context, search.matching(context, order), after=_place(order.after, "after"), until=until, limit=PIECE
    )
    answer = _do(context, order, [run_id for _, run_id in found])
    more = len(found) == PIECE
    return Bulked(done=answer.done, refused=answer.refused, next=str(found[-1][0]) if more else "", until=str(until))


def _named(order: Bulk) -> list[str]:
    if len(order.ids) > MOST:
        raise Invalid(f"at most {MOST:,} runs are named at once, not {len(order.ids):,}", field="ids")
    return list(dict.fromkeys(order.ids))


def _place(text: str, field: str) -> int:
    if not text:
        return 0
    if not text.isdecimal() or len(text) > 18:
        raise Invalid(f"{field} is what an earlier answer has said", field=field)
    return int(text)


def _do(context: Context, order: Bulk, ids: list[str]) -> Bulked:
    done: list[str] = []
    refused: list[Refused] = []
    for run_id in ids:
        record = runs.find(context, run_id, lock=True)
        if record is None:
            refused.append(Refused(id=run_id, name="", message="there is no such run"))
            continue
        try:
            if _change(context, order, record.run):
                done.append(run_id)
        except (Conflict, Denied, NotFound) as problem:  # told of this run; the others go on
            refused.append(Refused(id=run_id, name=record.run.name, message=str(problem)))
    return Bulked(done=done, refused=refused)


def _change(context: Context, order: Bulk, run: Run) -> bool:
    """Whether the run was not so already."""
    nothing = Nothing()
    match order.action:
        case BulkAction.ARCHIVE | BulkAction.UNARCHIVE:
            archived = order.action is BulkAction.ARCHIVE
            if run.archived == archived:
                return False
            life.change(context, Change(archived=archived), run.id)
        case BulkAction.TAG | BulkAction.UNTAG:
            has = set(life.get(context, nothing, run.id).tags)
            adding = order.action is BulkAction.TAG
            wanted = [tag for tag in dict.fromkeys(order.tags) if (tag in has) != adding]
            if not wanted:
                return False
            change = Change(add_tags=wanted) if adding else Change(remove_tags=wanted)
            life.change(context, change, run.id)
        case BulkAction.DELETE:
            life.delete(context, nothing, run.id)
        case BulkAction.STOP:
            if run.status is RunStatus.STOPPED:
                return False
            life.stop(context, Stop(reason=order.reason), run.id)
        case BulkAction.ENQUEUE:
            life.enqueue(context, Enqueue(queue=order.queue), run.id)
    return True
