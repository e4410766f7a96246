"""Finds datasets and versions for who asks, as far as they may be seen."""

from dataclasses import replace

from larder.contract.datasets import Version, VersionState
from larder.contract.errors import Conflict, Denied, NotFound
from larder_server.datasets import events
from larder_server.datasets.rules import blind
from larder_server.datasets.store import versions as store
from larder_server.datasets.store.versions import Kept, Known
from larder_server.kernel.context import Context
from larder_server.kernel.steps import Steps


def dataset(context: Context, id: str, *, lock: bool = False) -> Known:
    """A dataset. NotFound."""
    found = store.dataset(context, id, lock=lock)
    if found is None:
        raise NotFound(f"there is no dataset {id[:100]}", hint="`larder data ls` lists them")
    return found


def version(context: Context, id: str) -> Kept:
    """A version; an open one for its writer only. NotFound."""
    found = store.version(context, id)
    if found is None or (found.version.state is VersionState.OPEN and not _writes(context, found.version)):
        raise NotFound(f"there is no version {id[:100]}", hint="`larder data log NAME` lists those of a dataset")
    return found


def committed(context: Context, id: str) -> Kept:
    """A committed version. NotFound; Conflict: it is still open."""
    found = version(context, id)
    if found.version.state is VersionState.OPEN:
        raise Conflict("this version is still open: its tree can be read when it is committed")
    return found


def being_written(context: Context, id: str) -> Kept:
    """An open version of who asks. NotFound; Conflict: it is committed."""
    found = version(context, id)
    if not _writes(context, found.version):
        raise Denied(f"the version {id[:100]} was begun by another writer")
    if found.version.state is VersionState.COMMITTED:
        raise Conflict(f"{found.version.address} is committed: it never changes", hint="open a new version")
    return found


def readable(steps: Steps, id: str, *, what: str) -> Kept:
    """A committed version whose items who asks may see; of a blind one it is written down that they asked.

    NotFound; Conflict: it is still open; Denied: it is blind.
    """
    found = steps.view(lambda context: committed(context, id))
    may_see(steps, found.version, what=what)
    return found


def may_see(steps: Steps, version: Version, *, what: str) -> None:
    """Denied where the version is blind and who asks is no evaluator; either is written down."""
    if not version.blind:
        return
    granted = steps.identity.evaluator
    event = events.blind(version, granted=granted, what=what, token=steps.identity.token)
    steps.transact(lambda context: context.emit(event))
    if not granted:
        raise Denied(f"{version.address} is blind: only an evaluator's token reads its items",
                     hint="counts, schema and statistics are open: larder data stats")  # fmt: skip


def shown(context: Context, version: Version) -> Version:
    """A version as who asks may see it."""
    if not version.blind or context.evaluator:
        return version
    return replace(
        version, tree="", statistics=blind.aggregates(version.statistics), report=blind.verdict(version.report)
    )


def _writes(context: Context, version: Version) -> bool:
    return version.user == context.user and (not context.run or version.run == context.run)
