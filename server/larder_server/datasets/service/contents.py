"""Which content is stored, what its chunks are, and its bytes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from blake3 import blake3

from larder.contract.datasets import WHOLE
from larder.contract.errors import Conflict, Invalid, NotFound
from larder_server.datasets.rules import packs
from larder_server.datasets.rules.columns import HASH
from larder_server.datasets.store import content as store
from larder_server.datasets.store.content import Content
from larder_server.datasets.store.versions import Kept
from larder_server.kernel.context import Context
from larder_server.kernel.steps import Steps

NOTHING = blake3(b"").digest()
"""Content without bytes has no chunk and is always there."""

AT_ONCE = 16 << 20
"""Bytes of chunks that are read at a time."""

_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Found:
    """Which of the contents asked for are stored with all their chunks; these and those; chunks that are doomed."""

    present: frozenset[bytes]
    needed: list[bytes]
    doomed: list[bytes]


def cut(hashes: bytes) -> list[bytes]:
    """The hashes of a column."""
    return [hashes[place : place + HASH] for place in range(0, len(hashes), HASH)]


def rows_of(context: Context, domain: str, hashes: Iterable[bytes]) -> dict[bytes, Any]:
    """The rows of those chunks that are there."""
    ordered = sorted(hashes)
    return {ordered[row.i]: row for row in store.chunks(context, domain, b"".join(ordered))}


def find(context: Context, domain: str, hashes: Sequence[bytes], *, own: str = "") -> Found:
    """Which contents are stored; with `own` only chunks that lie in packs of that version count."""
    rows = rows_of(context, domain, hashes)
    long = store.contents(context, domain, sorted(hash for hash in hashes if hash not in rows))
    parts = {hash: cut(content.chunks) for hash, content in long.items()}
    rows.update(rows_of(context, domain, {chunk for chunks in parts.values() for chunk in chunks if chunk not in rows}))
    if own:
        mine = {seq for seq, pack in store.packs_of(context, sorted({row.pack for row in rows.values()})).items()
                if pack.version == own}  # fmt: skip
        rows = {hash: row for hash, row in rows.items() if row.pack in mine}
    present = rows.keys() & set(hashes)
    present |= {hash for hash, chunks in parts.items() if all(chunk in rows for chunk in chunks)}
    needed = present.union(*(parts[hash] for hash in present & parts.keys()))
    doomed = sorted(hash for hash, row in rows.items() if row.doomed and hash in needed)
    return Found(present=frozenset(present), needed=sorted(needed), doomed=doomed)


def proven(steps: Steps, kept: Kept, needs: Mapping[bytes, int], lists: Mapping[bytes, bytes]) -> dict[bytes, Content]:
    """For content of several chunks, the chunks that it is made of.

    A list that its own writer gave is believed, since it spoils no more than what that writer commits, and readers
    look at the whole. What somebody else said is read and compared before another version relies on it.
    """
    long = sorted(hash for hash, size in needs.items() if size > WHOLE or hash in lists)
    known = steps.view(lambda context: store.contents(context, kept.domain, long))
    user = steps.identity.user
    found: dict[bytes, Content] = {}
    for hash in long:
        row, given = known.get(hash), lists.get(hash)
        if row is not None and (row.checked or (row.user == user and given in (None, row.chunks))):
            found[hash] = row
        elif row is not None and is_whole(steps, kept.domain, row):
            found[hash] = replace(row, checked=True)
        elif given is not None:
            found[hash] = Content(hash=hash, size=needs[hash], chunks=given, user=user, checked=False, created=0)
    return found


def settle(context: Context, kept: Kept, needs: Mapping[bytes, int], proven: Mapping[bytes, Content]) -> None:
    """Conflict, about `hashes`, unless all that entries need is stored; from now on it is theirs."""
    parts = {hash: cut(one.chunks) for hash, one in proven.items()}
    wanted = {hash for hash in needs if hash not in proven}
    wanted.update(chunk for chunks in parts.values() for chunk in chunks)
    rows = rows_of(context, kept.domain, wanted)
    if len(rows) != len(wanted):
        lacking = sorted(wanted - rows.keys())
        raise Conflict(
            f"{len(lacking)} of the contents that the entries name are not stored, {lacking[0].hex()[:12]}… is one",
            field="hashes", hint="ask which are lacking and send those again",
        )  # fmt: skip
    for hash, size in needs.items():
        one = rows[hash].size if hash in rows else sum(rows[chunk].size for chunk in parts[hash])
        if one != size:
            raise Invalid(
                f"the content {hash.hex()[:12]}… has {one} bytes, its entry says {size}", field="entries.sizes"
            )
    store.spare(context, kept.domain, [hash for hash, row in rows.items() if row.doomed])
    # written anew also where it is there: the collection of garbage leaves what is fresh
    now = context.clock.now()
    store.put_contents(context, kept.domain, [replace(one, created=now) for one in proven.values()])


def is_whole(steps: Steps, domain: str, content: Content) -> bool:
    """Whether the chunks of a content are that content, by reading them."""
    digest = blake3()
    size = 0
    for piece in pieces(steps, domain, cut(content.chunks)):
        if piece is None:
            return False
        digest.update(piece)
        size += len(piece)
    return digest.digest() == content.hash and size == content.size


def pieces(steps: Steps, domain: str, chunks: Sequence[bytes]) -> Iterator[bytes | None]:
    """The bytes of chunks in their order, each compared with its hash; None for one that is damaged or gone."""
    start = 0
    while start < len(chunks):
        batch = list(chunks[start : start + 64])
        found, rows = _stored(steps, domain, batch)
        taken = 0
        size = 0
        for chunk in batch:
            row = rows.get(chunk)
            if taken and row is not None and size + row.size > AT_ONCE:
                break
            size += row.size if row is not None else 0
            taken += 1
            yield None if row is None else packs.chunk(found.get(chunk, b""), size=row.size, hash=chunk)
        start += taken


def _stored(steps: Steps, domain: str, batch: list[bytes]) -> tuple[dict[bytes, bytes], dict[bytes, Any]]:
    """What is stored of the first chunks of a batch, up to `AT_ONCE` bytes. Packs may be rewritten meanwhile."""
    for left in reversed(range(_TRIES)):

        def look(context: Context) -> tuple[dict[bytes, Any], dict[int, store.Pack]]:
            rows = rows_of(context, domain, set(batch))
            return rows, store.packs_of(context, sorted({row.pack for row in rows.values()}))

        rows, known = steps.view(look)
        wanted: dict[int, list[bytes]] = {}
        size = 0
        for number, chunk in enumerate(batch):
            if (row := rows.get(chunk)) is None:
                continue
            if number and size + row.size > AT_ONCE:
                break
            size += row.size
            if chunk not in wanted.get(row.pack, ()):
                wanted.setdefault(row.pack, []).append(chunk)
        found: dict[bytes, bytes] = {}
        whole = True
        for pack, chunks in wanted.items():
            ranges = [(rows[chunk].place, rows[chunk].place + rows[chunk].length) for chunk in chunks]
            try:
                if pack not in known:
                    raise NotFound("the pack is gone")
                data = steps.objects.ranges(steps.tenant, known[pack].hash, ranges)
            except NotFound:
                whole = False
                continue
            found.update(zip(chunks, data, strict=True))
        if whole or not left:
            return found, rows
    raise AssertionError("the loop returns")
