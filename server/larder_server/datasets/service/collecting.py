"""Frees the bytes that no version needs, beside writers and readers.

A chunk is doomed in one transaction and removed in a later one, and who says meanwhile that it is there takes it back.
Transactions that rely on chunks and those that doom or remove them never overlap, so that a promise that was made before
is seen when the versions are looked at again in between.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from larder.contract.datasets import PACK, Collect, Collected
from larder.contract.errors import Conflict, Invalid, NotFound
from larder.contract.ids import new_id
from larder_server.datasets import events
from larder_server.datasets.rules import packs as pack_rules
from larder_server.datasets.rules.columns import EXTERNAL, HASH
from larder_server.datasets.service.trees import Reader
from larder_server.datasets.store import content as store
from larder_server.datasets.store import versions
from larder_server.datasets.store.content import ARRIVING, GONE, STORED, Pack
from larder_server.kernel.context import Context
from larder_server.kernel.steps import Steps

LONGEST = 6 * 3_600_000_000
"""Microseconds after which a collection that nobody hears of is given up."""

DAY = 24 * 3_600_000_000
WORTH = 0.5
"""A pack of which less is needed is written anew."""

_AT_ONCE = 5_000
_FRESH = 3_600_000_000
"""Microseconds for which a list of chunks is kept, whether or not a version needs it."""

_NONE = np.zeros(0, f"S{HASH}")

Hashes = npt.NDArray[np.bytes_]


@dataclass
class _Marked:
    """What versions need: chunks and contents by domain, objects of trees; and what was looked at already."""

    chunks: dict[str, Hashes] = field(default_factory=dict)
    contents: dict[str, set[bytes]] = field(default_factory=dict)
    trees: set[str] = field(default_factory=set)
    seen: set[tuple[str, str, str]] = field(default_factory=set)
    pins: int = 0
    open: set[str] = field(default_factory=set)


def collect(steps: Steps, order: Collect) -> Collected:
    """Free the bytes that no version needs, or say how many those are. Conflict: somebody else collects now."""
    if not 0 <= order.grace <= 365 * 86_400:
        raise Invalid("grace is 0 seconds to a year", field="grace")
    if order.dry:
        return _Collection(steps, grace=order.grace).told()
    holder = new_id()
    until = steps.now() + LONGEST
    if not steps.transact(lambda context: store.begin_collection(context, holder=holder, until=until)):
        raise Conflict("a collection is at work already", hint="wait for its end")
    done = False
    try:
        collected = _Collection(steps, grace=order.grace).run()
        done = True
    finally:
        steps.transact(lambda context: store.end_collection(context, holder=holder, done=done))
    figures = {name: getattr(collected, name) for name in ("packs", "rewritten", "chunks", "bytes")}
    if collected.bytes or collected.chunks:
        steps.transact(lambda context: context.emit(events.collected(figures)))
    return collected


def collect_daily(steps: Steps) -> Collected | None:
    """Collect where nobody has for a day."""
    if steps.now() - steps.view(store.last_collection) < DAY:
        return None
    try:
        return collect(steps, Collect(dry=False))
    except Conflict:
        return None  # another server does it


class _Collection:
    def __init__(self, steps: Steps, *, grace: int) -> None:
        self._steps = steps
        self._before = steps.now() - grace * 1_000_000
        self._reader = Reader(steps.objects, steps.tenant)

    # -- what is needed

    def _mark(self, marked: _Marked | None = None) -> _Marked:
        """What versions need that are there now; with `marked` only what has come since."""
        known = marked or _Marked()
        found = _Marked(seen=set(known.seen), pins=known.pins)

        def look(context: Context) -> tuple[list[Any], store.Pins, dict[str, list[store.Content]]]:
            return versions.trees(context), store.pins(context, after=known.pins), store.every_content(context)

        kept, pins, long = self._steps.view(look)
        hashes: dict[str, list[Hashes]] = {}
        for one in kept:
            if one.version.state == "open":
                found.open.add(one.version.id)
            key = (one.domain, one.base, one.delta)
            if key in found.seen:
                continue
            found.seen.add(key)
            try:
                self._mark_tree(found, hashes, *key)
            except NotFound:
                # deleted while it was looked at, by another collection that is done; else it is broken, and told
                if self._steps.view(lambda context, id=one.version.id: versions.version(context, id)) is not None:  # type: ignore[misc]
                    raise
        found.pins = pins.last
        for domain, columns in pins.hashes.items():
            hashes.setdefault(domain, []).extend(_column(column) for column in columns)
        for domain, parts in hashes.items():
            needed = np.unique(np.concatenate([_NONE, *parts]))
            mine = {one.hash: one for one in long.get(domain, ())}
            live = {hash for hash in mine if _holds(needed, hash)}
            found.contents[domain] = live
            if live:
                needed = np.unique(np.concatenate([needed, *(_column(mine[hash].chunks) for hash in live)]))
            found.chunks[domain] = needed
        return found

    def _mark_tree(
        self, found: _Marked, hashes: dict[str, list[Hashes]], domain: str, base_name: str, delta_name: str
    ) -> None:
        tree = self._reader.named(base_name, delta_name)
        into = hashes.setdefault(domain, [])
        if base_name and (domain, base_name, "*") not in found.seen:
            # the whole base, also what this delta hides: others see it, and at worst a chunk lives longer
            found.seen.add((domain, base_name, "*"))
            found.trees.update((base_name, *tree.base.segments))
            into.extend(_column(block.hashes) for block in tree.base.blocks(0, len(tree.base)))
        if delta_name:
            found.trees.add(delta_name)
            rows = [row.hash for row in tree.delta.now if row is not None and row.mode != EXTERNAL]
            into.append(_column(b"".join(rows)))

    # -- what is to be done

    def _look(self, marked: _Marked) -> "_Plan":
        """What would be freed when these are the needs."""
        all_packs = {pack.seq: pack for pack in self._steps.view(store.packs)}
        plan = _Plan(all_packs)
        busy = {seq for seq, pack in all_packs.items() if pack.version in marked.open}
        live: dict[int, int] = {}

        def scan(context: Context) -> None:
            for rows in store.every_chunk(context):
                domains = {row.domain for row in rows}
                needed = {
                    domain: set(np.intersect1d(
                        _column(b"".join(bytes(row.hash) for row in rows if row.domain == domain)),
                        marked.chunks.get(domain, _NONE),
                    ).tolist())
                    for domain in domains
                }  # fmt: skip
                for row in rows:
                    hash = bytes(row.hash)
                    # numpy takes the zeros off the end of what it compares
                    if hash.rstrip(b"\0") in needed[row.domain] or row.created > self._before or row.pack in busy:
                        live[row.pack] = live.get(row.pack, 0) + row.length
                    else:
                        plan.dead.setdefault(row.domain, []).append(hash)

        self._steps.view(scan)
        self._look_at_packs(plan, live, busy)
        for object_ in self._steps.view(store.tree_objects):
            if object_.hash in marked.trees or object_.created > self._before:
                continue
            if object_.state == STORED or (object_.state == ARRIVING and object_.created < self._steps.now() - DAY):
                plan.trees[object_.hash] = object_.bytes
        return plan

    def _look_at_packs(self, plan: "_Plan", live: Mapping[int, int], busy: Set[int]) -> None:
        """Packs that nobody needs, and those of which little is needed; `live` are the bytes that are."""
        plan.drop.clear()
        plan.rewrite.clear()
        for seq, pack in plan.packs.items():
            if pack.state == GONE or seq in busy or pack.created > self._before:
                continue
            kept = live.get(seq, 0)
            if not kept:
                plan.drop.append(pack)
            elif pack.state == STORED and kept + pack_rules.HEAD < WORTH * pack.bytes:
                plan.rewrite.setdefault(pack.domain, []).append((pack, kept))

    def _look_again_at_packs(self, plan: "_Plan", marked: _Marked) -> None:
        """As the chunks are now: some may have been taken back, and others have become idle without being doomed."""
        live: dict[int, int] = {}

        def scan(context: Context) -> None:
            for rows in store.every_chunk(context):
                for row in rows:
                    live[row.pack] = live.get(row.pack, 0) + row.length

        self._steps.view(scan)
        self._look_at_packs(plan, live, {seq for seq, pack in plan.packs.items() if pack.version in marked.open})

    def told(self) -> Collected:
        """What would be freed."""
        marked = self._mark()
        return self._figures(self._look(marked), dry=True)

    def _figures(self, plan: "_Plan", *, dry: bool) -> Collected:
        freed = sum(pack.bytes for pack in plan.drop) + sum(plan.trees.values())
        rewritten = 0
        for groups in plan.groups().values():
            for group in groups:
                freed += sum(pack.bytes - kept for pack, kept in group) - pack_rules.HEAD
                rewritten += len(group)
        stored = sum(pack.bytes for pack in plan.packs.values() if pack.state != GONE)
        trees = sum(one.bytes for one in self._steps.view(store.tree_objects) if one.state != GONE)
        return Collected(
            dry=dry, packs=len(plan.drop), rewritten=rewritten, chunks=sum(map(len, plan.dead.values())), bytes=freed,
            kept_bytes=stored + trees - freed,
        )  # fmt: skip

    def run(self) -> Collected:
        """Free it."""
        marked = self._mark()
        doomed = self._look(marked).dead
        for domain, batch in _batches(doomed):
            self._exclusively(lambda context, domain=domain, batch=batch: store.doom(context, domain, batch))  # type: ignore[misc]
        # whoever relied on one of these before it was doomed is seen now; whoever does later takes it back
        trees_before = {one.hash for one in self._steps.view(store.tree_objects) if one.state == STORED}
        later = self._mark(marked)
        whole = _joined(marked, later)
        plan = self._look(whole)
        dead = {domain: set(hashes) for domain, hashes in plan.dead.items()}
        spared = {
            domain: [hash for hash in hashes if hash not in dead.get(domain, ())] for domain, hashes in doomed.items()
        }
        plan.dead = {
            domain: [hash for hash in hashes if hash in dead.get(domain, ())] for domain, hashes in doomed.items()
        }
        # an object whose version was committed after the second look is not known to it
        plan.trees = {hash: size for hash, size in plan.trees.items() if hash in trees_before or self._is_old(hash)}
        for domain, batch in _batches(spared):
            self._exclusively(lambda context, domain=domain, batch=batch: store.spare(context, domain, batch))  # type: ignore[misc]
        for domain, batch in _batches(plan.dead):
            self._exclusively(lambda context, domain=domain, batch=batch: store.delete_doomed(context, domain, batch))  # type: ignore[misc]
        self._look_again_at_packs(plan, whole)
        collected = self._figures(plan, dry=False)
        self._drop_contents(whole)
        for groups in plan.groups().values():
            for group in groups:
                self._rewrite([pack for pack, _ in group])
        self._drop_packs(plan)
        self._drop_trees(plan)
        return collected

    def _is_old(self, hash: str) -> bool:
        """Whether an object has been arriving for so long that nobody will commit it."""
        limit = self._steps.now() - DAY
        return any(
            one.hash == hash and one.state == ARRIVING and one.created < limit
            for one in self._steps.view(store.tree_objects)
        )

    def _exclusively(self, work: Callable[[Context], None]) -> None:
        def locked(context: Context) -> None:
            store.exclude(context)
            work(context)

        self._steps.transact(locked)

    # -- doing it

    def _drop_contents(self, marked: _Marked) -> None:
        """Lists of chunks that no version needs. A commit makes those that it relies on fresh."""
        limit = min(self._before, self._steps.now() - _FRESH)
        for domain, known in self._steps.view(store.every_content).items():
            live = marked.contents.get(domain, set())
            gone = [one.hash for one in known if one.hash not in live and one.created < limit]
            if gone:
                self._exclusively(
                    lambda context, domain=domain, gone=gone: store.delete_contents(  # type: ignore[misc]
                        context, domain, gone, before=limit
                    )
                )

    def _rewrite(self, group: Sequence[Pack]) -> None:
        """Move what is needed of some packs into a new one. A pack with a damaged chunk is left as it is."""
        seqs = {pack.seq: pack for pack in group}
        rows: list[Any] = []

        def scan(context: Context) -> None:
            for found in store.every_chunk(context):
                rows.extend(row for row in found if row.pack in seqs)

        self._steps.view(scan)
        body = bytearray(pack_rules.MAGIC + os.urandom(pack_rules.HEAD - len(pack_rules.MAGIC)))
        moved: dict[int, list[tuple[bytes, int]]] = {}
        for seq, pack in seqs.items():
            mine = sorted((row for row in rows if row.pack == seq), key=lambda row: int(row.place))
            data = self._steps.objects.ranges(
                self._steps.tenant, pack.hash, [(row.place, row.place + row.length) for row in mine]
            )
            sound = all(
                pack_rules.chunk(stored, size=row.size, hash=bytes(row.hash)) is not None
                for row, stored in zip(mine, data, strict=True)
            )
            if not sound:
                continue
            for row, stored in zip(mine, data, strict=True):
                moved.setdefault(seq, []).append((bytes(row.hash), len(body)))
                body += stored
        if not moved:
            return
        name, domain, length = blake3(body).hexdigest(), group[0].domain, len(body)
        self._steps.transact(lambda context: store.insert_pack(context, name, domain=domain, bytes=length, version=""))
        self._steps.objects.put(self._steps.tenant, bytes(body))

        def move(context: Context) -> None:
            new = store.pack(context, name)
            assert new is not None, "it was announced"
            for seq, chunks in moved.items():
                store.move_chunks(
                    context, domain, old=seq, new=new.seq, hashes=[hash for hash, _ in chunks],
                    places=[place for _, place in chunks],
                )  # fmt: skip
            store.set_packs(context, list(moved), GONE)
            store.set_packs(context, [new.seq], STORED)

        self._exclusively(move)
        for seq in moved:
            self._steps.objects.delete(self._steps.tenant, seqs[seq].hash)

    def _drop_packs(self, plan: "_Plan") -> None:
        """Packs without a chunk: no chunk is ever added to one that is stored."""
        gone = [pack for pack in plan.packs.values() if pack.state == GONE]
        for pack in plan.drop:
            given_up = False

            def give_up(context: Context, pack: Pack = pack) -> None:
                nonlocal given_up
                given_up = store.give_up_pack(context, pack)

            self._exclusively(give_up)
            if given_up:
                self._steps.objects.delete(self._steps.tenant, pack.hash)
        for pack in gone:
            self._steps.objects.delete(self._steps.tenant, pack.hash)
        # for a while the name is remembered: who still sends such a pack is told
        old = [pack.seq for pack in gone if pack.created < self._steps.now() - 2 * DAY]
        if old:
            self._steps.transact(lambda context: store.drop_packs(context, old))

    def _drop_trees(self, plan: "_Plan") -> None:
        hashes = list(plan.trees)
        left = [one.hash for one in self._steps.view(store.tree_objects) if one.state == GONE]
        if hashes:
            self._exclusively(lambda context: store.set_trees(context, hashes, GONE))
        for hash in [*hashes, *left]:
            self._steps.objects.delete(self._steps.tenant, hash)
        if hashes or left:
            self._steps.transact(lambda context: store.drop_trees(context, [*hashes, *left]))


@dataclass
class _Plan:
    """What is to be freed."""

    packs: dict[int, Pack]
    dead: dict[str, list[bytes]] = field(default_factory=dict)
    drop: list[Pack] = field(default_factory=list)
    rewrite: dict[str, list[tuple[Pack, int]]] = field(default_factory=dict)
    trees: dict[str, int] = field(default_factory=dict)

    def groups(self) -> dict[str, list[list[tuple[Pack, int]]]]:
        """The packs to be written anew, by domain, those together that become one."""
        found: dict[str, list[list[tuple[Pack, int]]]] = {}
        for domain, packs in self.rewrite.items():
            groups: list[list[tuple[Pack, int]]] = []
            size = PACK
            for pack, kept in packs:
                if size + kept > PACK:
                    groups.append([])
                    size = pack_rules.HEAD
                groups[-1].append((pack, kept))
                size += kept
            found[domain] = groups
        return found


def _joined(one: _Marked, other: _Marked) -> _Marked:
    chunks = dict(one.chunks)
    for domain, hashes in other.chunks.items():
        chunks[domain] = np.union1d(chunks[domain], hashes) if domain in chunks else hashes
    return _Marked(
        chunks=chunks, trees=one.trees | other.trees, open=other.open, pins=other.pins, seen=other.seen,
        contents={
            domain: one.contents.get(domain, set()) | other.contents.get(domain, set())
            for domain in {*one.contents, *other.contents}
        },
    )  # fmt: skip


def _batches(hashes: dict[str, list[bytes]]) -> Iterator[tuple[str, list[bytes]]]:
    for domain, mine in hashes.items():
        for start in range(0, len(mine), _AT_ONCE):
            yield domain, mine[start : start + _AT_ONCE]


def _column(hashes: bytes) -> Hashes:
    return np.frombuffer(hashes, f"S{HASH}")


def _holds(needed: Hashes, hash: bytes) -> bool:
    place = int(np.searchsorted(needed, _column(hash))[0])
    return place < len(needed) and bool(needed[place] == _column(hash)[0])
