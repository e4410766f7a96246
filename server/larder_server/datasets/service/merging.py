"""A version with what two others changed since they had one tree."""

from larder.contract import paths as path_rules
from larder.contract.datasets import NewMerge, NewVersion, Version
from larder.contract.errors import Conflict, Invalid, NotFound
from larder_server.datasets import events
from larder_server.datasets.rules import columns, names, trees
from larder_server.datasets.rules.trees import Changes, Totals
from larder_server.datasets.service import contents, finding, writing
from larder_server.datasets.service.trees import Reader
from larder_server.datasets.store import content as store
from larder_server.datasets.store import versions
from larder_server.datasets.store.versions import Kept
from larder_server.kernel.context import Context
from larder_server.kernel.steps import Steps

_SHOWN = 5


def merge(steps: Steps, order: NewMerge, dataset_id: str) -> Version:
    """Merge two versions of a dataset into a new one.

    NotFound; Invalid: the merged tree cannot be; Conflict: both changed one path and no side is preferred.
    """
    if order.prefer not in ("", "ours", "theirs"):
        raise Invalid(f"prefer is ours, theirs or empty, not {order.prefer[:100]!r}", field="prefer")
    message = names.text(order.message, "message")
    if order.ours == order.theirs:
        raise Invalid("a version is merged with another one, not with itself", field="theirs")

    def look(context: Context) -> tuple[Kept, Kept, Kept | None]:
        finding.dataset(context, dataset_id)
        ours, theirs = finding.committed(context, order.ours), finding.committed(context, order.theirs)
        for kept, field in ((ours, "ours"), (theirs, "theirs")):
            if kept.version.dataset != dataset_id:
                raise Invalid(f"{kept.version.address} is of another dataset", field=field)
        return ours, theirs, _ancestor(context, ours, theirs)

    ours, theirs, ancestor = steps.view(look)
    if ours.version.blind:
        # what two sides changed is told in the refusal
        for kept in (ours, theirs):
            finding.may_see(steps, kept.version, what="merge")
    reader = Reader(steps.objects, steps.tenant)
    tree = reader.tree(ours)
    before = reader.named("", "") if ancestor is None else reader.tree(ancestor)
    found = trees.merged(
        trees.difference(before, tree), trees.difference(before, reader.tree(theirs)), prefer=order.prefer
    )
    if found.conflicts and not order.prefer:
        shown = ", ".join(path_rules.shown(path) for path in found.conflicts[:_SHOWN])
        more = f" and {len(found.conflicts) - _SHOWN} more" if len(found.conflicts) > _SHOWN else ""
        raise Conflict(f"both versions changed {shown}{more}", field="prefer", hint="prefer ours or theirs")
    came = columns.of_rows((path, row) for path, row in found.changes if row is not None)
    changes = Changes(came, [path for path, row in found.changes if row is None])
    writing.check_tree(tree, changes, cases=True)
    applied = trees.apply(tree, Totals(ours.version.files, ours.version.bytes, ours.total), changes)
    writing.put_objects(steps, applied)
    needs = writing.needs_of(changes)
    proven = contents.proven(steps, ours, needs, {})

    def finish(context: Context) -> Version:
        store.share(context)
        opened = writing.open_(context, NewVersion(parents=[order.ours, order.theirs], run=context.run), dataset_id)
        kept = versions.version(context, opened.id)
        assert kept is not None, "it was made here"
        contents.settle(context, kept, needs, proven)
        done = writing.settle(context, kept, applied, message=message, tags=[])
        versions.commit_version(context, done, base=applied.base, delta=applied.delta, total=applied.total)
        context.emit(events.committed(done))
        return finding.shown(context, done)

    try:
        return steps.transact(finish)
    except NotFound as problem:
        raise Conflict("a version was deleted while it was merged") from problem


def _ancestor(context: Context, ours: Kept, theirs: Kept) -> Kept | None:
    """The newest version that both come from; None where there is none, or it was deleted."""
    mine, others = _line(context, ours), _line(context, theirs)
    shared = [kept for id, kept in mine.items() if id in others]
    # the newest of those that are behind both: no other of them comes from it
    return max(shared, key=lambda kept: (kept.version.committed or 0, kept.version.number), default=None)


def _line(context: Context, kept: Kept) -> dict[str, Kept]:
    """A version and all that it comes from."""
    found = {kept.version.id: kept}
    waiting = list(kept.version.parents)
    while waiting:
        id = waiting.pop()
        if id in found:
            continue
        parent = versions.version(context, id)
        if parent is not None:
            found[id] = parent
            waiting += parent.version.parents
    return found
