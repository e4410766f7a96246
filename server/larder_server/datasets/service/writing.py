"""From an open version to a committed one."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import zstandard

from larder.contract import paths as path_rules
from larder.contract.datasets import (
    MOST_ENTRIES,
    Commit,
    Contents,
    Entries,
    NewPack,
    NewVersion,
    PackIndex,
    Version,
    VersionState,
    WrittenEntries,
)
from larder.contract.endpoint import Nothing, Role
from larder.contract.errors import Conflict, Denied, Invalid, NotFound
from larder.contract.ids import new_id
from larder_server.datasets import events
from larder_server.datasets.rules import columns, names, packs, trees
from larder_server.datasets.rules.columns import EXTERNAL, HASH, Columns
from larder_server.datasets.rules.trees import Applied, Changes, Totals, Tree
from larder_server.datasets.service import contents, finding
from larder_server.datasets.service.trees import Reader
from larder_server.datasets.store import content as store
from larder_server.datasets.store import versions
from larder_server.datasets.store.versions import Kept
from larder_server.kernel.context import Context
from larder_server.kernel.steps import Steps

SILENCE = 24 * 3_600_000_000
"""An open version of which nothing was heard for so many microseconds is dropped."""

_MOST_PARENTS = 10


class _Part(msgspec.Struct, array_like=True):
    entries: Entries
    removed: bytes
    lists: dict[int, bytes]


_encode = msgspec.msgpack.Encoder().encode
_parts = msgspec.msgpack.Decoder(_Part)


def open_(context: Context, order: NewVersion, dataset_id: str) -> Version:
    """Begin a version, or go on with the one of the same key. NotFound; Invalid: a parent cannot be one."""
    key, run = names.short(order.key, "key"), names.short(order.run or context.run, "run")
    if context.run and run != context.run:
        raise Denied(f"the token of run {context.run} writes versions of that run only", field="run")
    dataset = finding.dataset(context, dataset_id, lock=True)
    if key and (id := versions.open_with_key(context, dataset.id, key=key, user=context.user, run=run)):
        versions.see_version(context, id)
        return finding.shown(context, finding.version(context, id).version)
    if len(order.parents) > _MOST_PARENTS or len(set(order.parents)) != len(order.parents):
        raise Invalid(f"a version has at most {_MOST_PARENTS} parents, each once", field="parents")
    parents = [finding.committed(context, id) for id in order.parents]
    for parent in parents:
        if parent.domain != dataset.domain:
            raise Invalid(
                f"{parent.version.address} cannot be a parent: what is blind stays by itself", field="parents"
            )
    first = parents[0] if parents and not order.empty else None
    version = Version(
        id=new_id(), dataset=dataset.id, project=dataset.project, name=dataset.name, number=0, state=VersionState.OPEN,
        parents=order.parents, message="", user=context.user, created=context.clock.now(), run=run,
        blind=dataset.blind, files=first.version.files if first else 0, bytes=first.version.bytes if first else 0,
        tree=first.version.tree if first else "",
    )  # fmt: skip
    versions.insert_version(
        context, version, key=key, base=first.base if first else "", delta=first.delta if first else "",
        total=first.total if first else 0,
    )  # fmt: skip
    return finding.shown(context, version)


def write(steps: Steps, order: WrittenEntries, version_id: str) -> Nothing:
    """Give an open version entries. NotFound; Conflict: it is committed; Invalid: a path or a column cannot be."""
    if not 0 <= order.part < 1_000_000:
        raise Invalid("a part's number is 0 to 999,999", field="part")
    data = columns.check(order.entries, order.removed)
    if len(data) > MOST_ENTRIES or order.removed.count(b"\0") > MOST_ENTRIES:
        raise Invalid(f"a part has at most {MOST_ENTRIES:,} entries", field="entries")
    names.check_paths(data.paths.data)
    names.check_paths(order.removed)
    for place, chunks in order.lists.items():
        if not 0 <= place < len(data) or not chunks or len(chunks) % HASH:
            raise Invalid("a list of chunks belongs to an entry and has 32 bytes for each chunk", field="lists")
    packed = zstandard.ZstdCompressor(level=1).compress(_encode(_Part(data.entries(), order.removed, order.lists)))

    def put(context: Context) -> Nothing:
        version = finding.being_written(context, version_id).version
        versions.lock_version(context, version.id)
        store.put_part(context, version.id, order.part, packed)
        versions.see_version(context, version.id, wrote=True)
        return Nothing()

    return steps.transact(put)


def lacking(context: Context, order: Contents, version_id: str) -> Contents:
    """Which chunks, or contents of several chunks, are not stored; the others stay as long as the version is open."""
    kept = finding.being_written(context, version_id)
    count, rest = divmod(len(order.hashes), HASH)
    if rest or count > MOST_ENTRIES:
        raise Invalid(f"hashes have 32 bytes each; at most {MOST_ENTRIES:,} at once", field="hashes")
    store.share(context)
    versions.see_version(context, kept.version.id)
    asked = list(dict.fromkeys(contents.cut(order.hashes)))
    # whether a blind dataset holds some content is not for its writers to find out: they are told of their own only
    own = kept.version.id if kept.domain and not context.evaluator else ""
    asked = [hash for hash in asked if hash != contents.NOTHING]
    found = contents.find(context, kept.domain, asked, own=own)
    store.spare(context, kept.domain, found.doomed)
    store.pin(context, kept.version.id, b"".join(found.needed))
    return Contents(hashes=b"".join(hash for hash in asked if hash not in found.present))


def open_pack(context: Context, order: NewPack, version_id: str) -> Nothing:
    """Announce a pack. NotFound; Invalid: no pack is like that; Conflict: another version's pack has that name."""
    kept = finding.being_written(context, version_id)
    _check_name(order.hash)
    if not packs.HEAD < order.bytes <= packs.LARGEST:
        raise Invalid(f"a pack has more than {packs.HEAD} and at most {packs.LARGEST} bytes", field="bytes")
    store.insert_pack(context, order.hash, domain=kept.domain, bytes=order.bytes, version=kept.version.id)
    pack = store.pack(context, order.hash)
    if pack is None or pack.version != kept.version.id or pack.bytes != order.bytes:
        raise Conflict("a pack of this name is another one", hint="begin each pack with fresh random bytes")
    versions.see_version(context, kept.version.id)
    return Nothing()


def close_pack(steps: Steps, order: PackIndex, version_id: str, hash: str) -> Nothing:
    """Take the chunks of a pack that was sent; each is read and compared with its hash.

    NotFound: the pack was not announced, or did not arrive; Invalid: a chunk is not what its hash says.
    """
    _check_name(hash)

    def look(context: Context) -> store.Pack:
        kept = finding.being_written(context, version_id)
        pack = store.pack(context, hash)
        if pack is None or pack.version != kept.version.id:
            raise NotFound(f"the pack {hash[:12]}… was not announced for this version", field="hash")
        return pack

    pack = steps.view(look)
    found = packs.index(order, length=pack.bytes)
    if pack.state != store.ARRIVING:
        return Nothing()
    data = steps.objects.read(steps.tenant, hash)
    if len(data) != pack.bytes:
        raise Invalid(f"the pack {hash[:12]}… has {len(data)} bytes, announced were {pack.bytes}", field="bytes")
    packs.check(data, found, name=hash)

    def take(context: Context) -> bool:
        look(context)
        store.share(context)
        locked = store.pack(context, hash, lock=True)
        if locked is None or locked.state != store.ARRIVING:
            return False
        order = sorted(range(len(found.hashes)), key=found.hashes.__getitem__)
        hashes = [found.hashes[place] for place in order]
        fresh = store.insert_chunks(
            context, pack.domain, pack=pack.seq, hashes=hashes, places=[found.places[place] for place in order],
            lengths=[found.lengths[place] for place in order], sizes=[found.sizes[place] for place in order],
        )  # fmt: skip
        if fresh < len(hashes):
            # sent again although it was there: it stays as long as this version is open, like what LACKING has answered
            rows = [row for row in store.chunks(context, pack.domain, b"".join(hashes)) if row.pack != pack.seq]
            store.spare(context, pack.domain, [hashes[row.i] for row in rows if row.doomed])
            store.pin(context, version_id, b"".join(hashes[row.i] for row in rows))
        versions.see_version(context, version_id)
        if not fresh and not pack.domain:
            store.set_packs(context, [pack.seq], store.GONE)
            return True
        store.set_packs(context, [pack.seq], store.STORED)
        return False

    if steps.transact(take):
        steps.objects.delete(steps.tenant, hash)
    return Nothing()


def commit(steps: Steps, order: Commit, version_id: str) -> Version:
    """Commit an open version.

    NotFound; Invalid: the tree cannot be; Conflict: content is not stored (field `hashes`), or another version is the
    newest by now (field `parents`). One that is committed already is answered as it is.
    """
    message, tags = names.text(order.message, "message"), names.tags(order.tags)

    class _Seen(msgspec.Struct):
        kept: Kept
        writes: int
        parts: list[bytes]

    def look(context: Context) -> _Seen:
        kept = finding.version(context, version_id)
        if kept.version.state is VersionState.COMMITTED:
            return _Seen(kept, 0, [])
        return _Seen(finding.being_written(context, version_id), kept.writes, store.parts(context, version_id))

    seen = steps.view(look)
    kept = seen.kept
    if kept.version.state is VersionState.COMMITTED:
        if kept.version.user != steps.identity.user or (steps.identity.run and kept.version.run != steps.identity.run):
            raise NotFound(f"there is no version {version_id[:100]}")
        return steps.view(lambda context: finding.shown(context, kept.version))
    parts = [_unpacked(part) for part in seen.parts]
    changes = trees.gathered([(_columns(part.entries), part.removed.split(b"\0")[:-1]) for part in parts])
    lists = _lists(parts)
    tree = Reader(steps.objects, steps.tenant).tree(kept)
    check_tree(tree, changes, cases=order.cases)
    needs = needs_of(changes)
    proven = contents.proven(steps, kept, needs, lists)
    applied = trees.apply(tree, Totals(kept.version.files, kept.version.bytes, kept.total), changes)
    put_objects(steps, applied)

    def finish(context: Context) -> Version:
        store.share(context)
        locked = versions.lock_version(context, version_id)
        now = finding.being_written(context, version_id)
        if locked != seen.writes:
            raise Conflict("the version was written to while it was committed", hint="commit again when nobody writes")
        finding.dataset(context, now.version.dataset, lock=True)
        if order.newest:
            _check_newest(context, now.version)
        contents.settle(context, now, needs, proven)
        done = settle(context, now, applied, message=message, tags=tags)
        done = replace(done, statistics=order.statistics, report=order.report)
        versions.commit_version(context, done, base=applied.base, delta=applied.delta, total=applied.total)
        context.emit(events.committed(done))
        return finding.shown(context, done)

    return steps.transact(finish)


def settle(context: Context, kept: Kept, applied: Applied, *, message: str, tags: Sequence[str]) -> Version:
    """An open version with its number and its figures; what was kept for writing it is dropped."""
    if not store.keep_trees(context, list(applied.objects)):
        raise Conflict("this took longer than a day and what was written for it is gone", hint="do it again")
    versions.add_tags(context, kept.version, tags)
    version = replace(
        kept.version, number=versions.next_number(context, kept.version.dataset), state=VersionState.COMMITTED,
        message=message, committed=context.clock.now(), tags=sorted({*kept.version.tags, *tags}), files=applied.files,
        bytes=applied.size, added=applied.added, removed=applied.removed, changed=applied.changed,
        new_bytes=store.bytes_for(context, kept.version.id) + sum(map(len, applied.objects.values())),
        tree=trees.named(Totals(applied.files, applied.size, applied.total)),
    )  # fmt: skip
    store.drop_parts(context, kept.version.id)
    return version


def put_objects(steps: Steps, applied: Applied) -> None:
    """Store the objects of a tree. They are announced first, so that what a crash leaves behind is found."""
    if applied.objects:
        lengths = {name: len(data) for name, data in applied.objects.items()}
        steps.transact(lambda context: store.announce_trees(context, lengths))
        for data in applied.objects.values():
            steps.objects.put(steps.tenant, data)


def delete_version(context: Context, _: Nothing, version_id: str) -> Nothing:
    """Drop an open version, or delete a committed one.

    NotFound; Denied: it is another writer's, and who asks is no maintainer; Conflict: an alias names it.
    """
    kept = finding.version(context, version_id)
    version = kept.version
    if version.state is VersionState.COMMITTED:
        if context.run or (version.user != context.user and not context.role.includes(Role.MAINTAINER)):
            raise Denied(f"{version.address} was made by {version.user}", hint="its maker or a maintainer deletes it")
        if version.aliases:
            raise Conflict(
                f"{version.address} is named by the alias {version.aliases[0]}", hint="move or end the alias"
            )
        context.emit(events.version_deleted(version))
        versions.touch_dataset(context, version.dataset)
    versions.delete_version(context, version_id)
    return Nothing()


def expire(context: Context) -> int:
    """Drop open versions of which nothing was heard for a day; how many."""
    silent = versions.silent_versions(context, before=context.clock.now() - SILENCE)
    for id in silent:
        versions.delete_version(context, id)
    return len(silent)


# -- trees ---------------------------------------------------------------------------------------------------------


def needs_of(changes: Changes) -> dict[bytes, int]:
    """The contents that entries name, with their sizes; those of external entries are not stored here."""
    data = changes.columns
    sizes = data.bytes_of.tolist()
    pairs = dict(zip(contents.cut(data.hashes), sizes, strict=True))
    if data.external:
        pairs = {}
        for place, hash in enumerate(contents.cut(data.hashes)):
            if data.modes[place] != EXTERNAL:
                pairs[hash] = sizes[place]
    if pairs.get(contents.NOTHING, 0):
        raise Conflict("an entry with the hash of no bytes has a size", field="hashes")
    pairs.pop(contents.NOTHING, None)
    return pairs


def check_tree(tree: Tree, changes: Changes, *, cases: bool) -> None:
    """Invalid when the tree with these changes would hold a file that is also a folder, or names that clash."""
    paths = changes.columns.paths.split()
    problem = path_rules.tree_problem(paths, cases=cases)
    if not problem and (len(tree.base) or len(tree.delta)):
        befores = trees.before(tree, paths)
        fresh = [path for path, row in zip(paths, befores, strict=True) if row is None]
        problem = _clash(tree, fresh, sorted(changes.removed))
        if not problem and not cases:
            problem = _case_clash(tree, fresh, sorted(changes.removed))
    if problem:
        raise Invalid(problem, field="entries", hint="rename one of them")


def _clash(tree: Tree, fresh: Sequence[bytes], gone: Sequence[bytes]) -> str:
    """A path that would be a file and a folder."""
    for path in fresh:
        if not _is_gone(tree, path + b"/", gone):
            return f"{path_rules.shown(path)} would be a file and is also a folder."
    removed = set(gone)
    ordered = sorted(parent for parent in _parents(fresh) if parent not in removed)
    for parent, row in zip(ordered, trees.before(tree, ordered), strict=True):
        if row is not None:
            return f"{path_rules.shown(parent)} is a file and would also be a folder."
    return ""


def _case_clash(tree: Tree, fresh: Sequence[bytes], gone: Sequence[bytes]) -> str:
    """A fresh file or folder beside one whose name differs by case only."""
    removed = set(gone)
    beside: dict[bytes, list[bytes]] = {}
    for path in {*fresh, *_parents(fresh)}:
        folder, _, name = path.rpartition(b"/")
        beside.setdefault(folder, []).append(name)
    for folder, names_ in beside.items():
        prefix = folder + b"/" if folder else b""
        known = {_folded(name): name for name in trees.names_in(tree, prefix)}
        for name in names_:
            other = known.get(_folded(name), name)
            if (
                other != name
                and prefix + other not in removed
                and not _is_gone(tree, prefix + other + b"/", gone, file=True)
            ):
                return (
                    f"{path_rules.shown(prefix + other)} and {path_rules.shown(prefix + name)} differ only in upper and"
                    " lower case."
                )
    return ""


def _folded(name: bytes) -> str:
    return name.decode().casefold()


def _parents(paths: Sequence[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for path in paths:
        parent = path.rpartition(b"/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition(b"/")[0]
    return found


def _is_gone(tree: Tree, folder: bytes, gone: Sequence[bytes], *, file: bool = False) -> bool:
    """Whether nothing is left of a folder without the paths that go; with `file` a file of that name is something."""
    below = trees.listed(tree, folder)
    if below is None:
        return not file
    start, stop = columns.below(gone, folder)
    lost = sum(row is not None for row in trees.before(tree, gone[start:stop]))
    return below.files <= lost


# -- helpers -------------------------------------------------------------------------------------------------------


def _check_name(hash: str) -> None:
    if len(hash) != 64 or not all(digit in "0123456789abcdef" for digit in hash):
        raise Invalid("a pack's name is its BLAKE3 hash: 64 hexadecimal digits in lower case", field="hash")


def _unpacked(data: bytes) -> _Part:
    return _parts.decode(zstandard.ZstdDecompressor().decompress(data))


def _columns(entries: Entries) -> Columns:
    return Columns(
        paths=entries.paths, hashes=entries.hashes, sizes=entries.sizes, modes=entries.modes,
        external=entries.external, metadata=entries.metadata,
    )  # fmt: skip


def _lists(parts: Sequence[_Part]) -> dict[bytes, bytes]:
    """Chunks by content, as the writer gave them."""
    return {
        part.entries.hashes[place * HASH : place * HASH + HASH]: chunks
        for part in parts
        for place, chunks in part.lists.items()
    }


def _check_newest(context: Context, version: Version) -> None:
    newest = versions.versions_of(context, version.dataset, limit=1)
    if newest and newest[0].version.id not in version.parents[:1]:
        raise Conflict(f"{newest[0].version.address} is newer than what this version began with", field="parents",
                       hint="take it as the parent, or merge")  # fmt: skip
