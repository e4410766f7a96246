"""What versions hold: entries, folders, differences, bytes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from larder.contract.datasets import (
    MOST_ENTRIES,
    WHOLE,
    Changed,
    Contents,
    Diff,
    DiffQuery,
    EntryPage,
    EntryQuery,
    Folder,
    FolderQuery,
    Item,
    ItemQuery,
    Mode,
    PackPlace,
    PackQuery,
    Places,
    ReadQuery,
    Verified,
)
from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Invalid, NotFound
from larder_server.datasets.rules import columns, names, previews, trees
from larder_server.datasets.rules.columns import EXTERNAL, HASH, Row
from larder_server.datasets.rules.trees import Delta, Tree
from larder_server.datasets.service import contents, finding
from larder_server.datasets.service.trees import Reader
from larder_server.datasets.store import content as store
from larder_server.datasets.store.versions import Kept
from larder_server.kernel.context import Context
from larder_server.kernel.routing import Stream
from larder_server.kernel.steps import Steps

SIGNED_FOR = 3_600
"""Seconds for which an address of the object store opens a pack."""

MOST_RANGES = 2_000
LARGEST_ANSWER = 256 << 20
_MODES = list(Mode)


def entries(steps: Steps, query: EntryQuery, version_id: str) -> EntryPage:
    """Entries of a version. NotFound; Denied: it is blind; Invalid: a part or a limit cannot be."""
    if not 1 <= query.limit <= MOST_ENTRIES:
        raise Invalid(f"a page has 1 to {MOST_ENTRIES:,} entries, not {query.limit}", field="limit")
    if query.parts < 0 or query.parts > 1_000_000 or (query.parts and not 0 <= query.part < query.parts):
        raise Invalid(f"there is no part {query.part} of {query.parts}", field="part")
    kept = finding.readable(steps, version_id, what="entries")
    tree = Reader(steps.objects, steps.tenant).tree(kept)
    low = query.after.encode("utf-8", "surrogatepass") if query.after else None
    prefix = query.prefix.encode("utf-8", "surrogatepass")
    if query.against:
        return _since(steps, query, kept, tree, low=low, prefix=prefix)
    page = trees.page(tree, low=low, prefix=prefix, limit=query.limit, part=query.part, parts=query.parts)
    return EntryPage(entries=page.entries.entries(), next=page.next.decode())


def _since(steps: Steps, query: EntryQuery, kept: Kept, tree: Tree, *, low: bytes | None, prefix: bytes) -> EntryPage:
    """What tells a version from another one of the same dataset."""
    other = finding.readable(steps, query.against, what="entries")
    if other.version.dataset != kept.version.dataset:
        raise Invalid("a version is told from another one of the same dataset", field="against")
    changes = trees.difference(Reader(steps.objects, steps.tenant).tree(other), tree)
    found = Delta([path for path, _, _ in changes], [now for _, _, now in changes])
    start, stop = found.under(prefix)
    if low is not None:
        start = max(start, columns.between(found.paths, low, None)[0])
    came: list[tuple[bytes, Row]] = []
    gone: list[bytes] = []
    following = ""
    for place in range(start, stop):
        path, now, was = found.paths[place], found.now[place], changes[place][1]
        mine = now is not None and _of_part(now, query)
        if not mine and not (was is not None and _of_part(was, query)):
            continue
        if len(came) + len(gone) >= query.limit:
            following = max([*(path for path, _ in came[-1:]), *gone[-1:]]).decode()
            break
        if mine and now is not None:
            came.append((path, now))
        else:
            gone.append(path)  # also what is of another part now
    return EntryPage(
        entries=columns.of_rows(came).entries(), next=following, removed=b"".join(path + b"\0" for path in gone),
        against=query.against,
    )  # fmt: skip


def _of_part(row: Row, query: EntryQuery) -> bool:
    return not query.parts or int.from_bytes(row.hash[:8], "big") % query.parts == query.part


def folder(steps: Steps, query: FolderQuery, version_id: str) -> Folder:
    """What lies in a folder. NotFound: the version or the folder; Denied: it is blind."""
    path = names.folder(query.path)
    _check_page(query.limit, query.offset, most=10_000)
    kept = finding.readable(steps, version_id, what="folder")
    tree = Reader(steps.objects, steps.tenant).tree(kept)
    listed = trees.listed(tree, path)
    if listed is None:
        raise NotFound(f"{kept.version.address} has no folder {query.path[:200]!r}", field="path")
    shown = listed.folders[query.offset : query.offset + query.limit]
    items = [Item(path=(path + name).decode(), folder=True, files=files, bytes=size) for name, files, size in shown]
    skip = max(0, query.offset - len(listed.folders))
    for name, row in trees.direct_files(tree, path, skip=skip, limit=query.limit - len(items)):
        items.append(_item(name, row))
    return Folder(
        path=path.rstrip(b"/").decode(), items=items, total=len(listed.folders) + listed.direct, files=listed.files,
        bytes=listed.bytes,
    )  # fmt: skip


def item(steps: Steps, query: ItemQuery, version_id: str) -> Item:
    """One path, a file or a folder. NotFound; Denied: it is blind."""
    path = names.one_path(query.path)
    kept = finding.readable(steps, version_id, what="item")
    tree = Reader(steps.objects, steps.tenant).tree(kept)
    row = tree.find(path)
    if row is not None:
        return _item(path, row)
    listed = trees.listed(tree, path + b"/")
    if listed is None:
        raise NotFound(f"{kept.version.address} has no {query.path[:200]!r}", field="path")
    return Item(path=query.path, folder=True, files=listed.files, bytes=listed.bytes)


def _item(path: bytes, row: Row) -> Item:
    return Item(
        path=path.decode(), folder=False, files=1, bytes=row.size, hash=row.hash.hex(), mode=_MODES[row.mode],
        external=row.external, metadata=row.metadata or {},
    )  # fmt: skip


def read(steps: Steps, query: ReadQuery, version_id: str) -> Stream:
    """The bytes of one file. NotFound; Denied: it is blind; Conflict: its bytes are elsewhere, or damaged."""
    path = names.one_path(query.path)
    kept = finding.readable(steps, version_id, what="file")
    row = Reader(steps.objects, steps.tenant).tree(kept).find(path)
    if row is None:
        raise NotFound(f"{kept.version.address} has no file {query.path[:200]!r}", field="path")
    if row.mode == EXTERNAL:
        raise Conflict(f"the bytes of {query.path[:200]!r} are not stored here", hint=f"they are at {row.external}")
    damaged = Conflict(f"{query.path[:200]!r} of {kept.version.address} is damaged in the object store",
                       hint="`larder data verify` tells what else is")  # fmt: skip
    chunks = _chunks(steps, kept.domain, row)
    if chunks is None:
        raise damaged
    pieces = contents.pieces(steps, kept.domain, chunks)
    first = next(pieces) if chunks else b""
    if first is None:
        raise damaged

    def all_() -> Iterator[bytes]:
        assert first is not None
        yield first
        for piece in pieces:
            if piece is None:
                raise damaged  # the answer breaks off, so that nobody takes it for the file
            yield piece

    kind = previews.media_type(query.path) if query.show else ""
    return Stream(name=query.path, size=row.size, pieces=all_(), media_type=kind, tag=row.hash.hex())


def _chunks(steps: Steps, domain: str, row: Row) -> list[bytes] | None:
    """The chunks of a file; None when its content is not known."""
    if not row.size:
        return []
    if row.size <= WHOLE:
        return [row.hash]
    found = steps.view(lambda context: store.contents(context, domain, [row.hash])).get(row.hash)
    if found is not None:
        return contents.cut(found.chunks)
    return [row.hash] if steps.view(lambda context: contents.rows_of(context, domain, [row.hash])) else None


# -- differences ---------------------------------------------------------------------------------------------------


def diff(steps: Steps, query: DiffQuery, version_id: str) -> Diff:
    """What tells a version from another. NotFound; Denied: one is blind and more than counts is asked for."""
    _check_page(query.limit, query.offset, most=MOST_ENTRIES, least=0)
    if query.kind and query.kind not in trees.KINDS:
        raise Invalid(f"a change is {', '.join(trees.KINDS)}, not {query.kind[:100]!r}", field="kind")
    new = steps.view(lambda context: finding.committed(context, version_id))
    against = query.against or (new.version.parents[0] if new.version.parents else "")
    old: Kept | None = None
    if against:
        try:
            old = steps.view(lambda context: finding.committed(context, against))
        except NotFound:
            if query.against:
                raise  # a parent that has been deleted is like none
            against = ""
    if query.limit or query.prefix or query.kind:
        for kept in (new, old):
            if kept is not None:
                finding.may_see(steps, kept.version, what="diff")
    reader = Reader(steps.objects, steps.tenant)
    before = reader.named("", "") if old is None else reader.tree(old)
    changes = trees.difference(before, reader.tree(new))
    moved = trees.told(changes)
    counts = dict.fromkeys(trees.KINDS, 0)
    for one in moved:
        counts[one.kind] += 1
    prefix = query.prefix.encode("utf-8", "surrogatepass")
    chosen = [
        one
        for one in moved
        if (not query.kind or one.kind == query.kind) and (one.path.startswith(prefix) or (one.before and one.before.startswith(prefix)))
    ]  # fmt: skip
    listed = [
        Changed(
            kind=one.kind, path=one.path.decode(), before=one.before.decode(),
            old_bytes=one.old.size if one.old else 0, new_bytes=one.new.size if one.new else 0,
            old_hash=one.old.hash.hex() if one.old else "", new_hash=one.new.hash.hex() if one.new else "",
        )
        for one in chosen[query.offset : query.offset + query.limit]
    ]  # fmt: skip
    return Diff(
        version=new.version.id, against=against, **counts, changes=listed, total=len(chosen),
        size_delta=new.version.bytes - (old.version.bytes if old else 0),
    )  # fmt: skip


# -- bytes ---------------------------------------------------------------------------------------------------------


def places(steps: Steps, order: Contents, version_id: str) -> Places:
    """Where contents lie. NotFound: the version, or a content; Denied: it is blind."""
    count, rest = divmod(len(order.hashes), HASH)
    if rest or count > MOST_ENTRIES:
        raise Invalid(f"hashes have 32 bytes each; at most {MOST_ENTRIES:,} at once", field="hashes")
    kept = finding.readable(steps, version_id, what="places")
    asked = contents.cut(order.hashes)

    def look(context: Context) -> Places:
        rows = contents.rows_of(context, kept.domain, set(asked))
        long = store.contents(context, kept.domain, sorted({hash for hash in asked if hash not in rows}))
        parts = {hash: contents.cut(one.chunks) for hash, one in long.items()}
        more = {chunk for chunks in parts.values() for chunk in chunks if chunk not in rows}
        rows.update(contents.rows_of(context, kept.domain, more))
        chunks: list[bytes] = []
        counts = []
        for hash in asked:
            own = parts.get(hash, [hash] if hash in rows else [])
            if hash not in rows and hash not in parts and hash != contents.NOTHING:
                raise NotFound(f"the content {hash.hex()[:12]}… is not stored", field="hashes")
            counts.append(len(own))
            chunks += own
        if lost := next((chunk for chunk in chunks if chunk not in rows), None):
            raise NotFound(f"the chunk {lost.hex()[:12]}… is not stored", field="hashes")
        packs = store.packs_of(context, sorted({rows[chunk].pack for chunk in chunks}))
        number = {seq: place for place, seq in enumerate(packs)}
        found = [rows[chunk] for chunk in chunks]
        return Places(
            counts=_u4(counts), hashes=b"".join(chunks),
            packs=[PackPlace(hash=pack.hash, bytes=pack.bytes) for pack in packs.values()],
            pack=_u4([number[row.pack] for row in found]), offsets=_u4([row.place for row in found]),
            lengths=_u4([row.length for row in found]), sizes=_u4([row.size for row in found]),
        )  # fmt: skip

    found = steps.view(look)
    return replace(
        found,
        packs=[
            replace(pack, url=steps.objects.signed(steps.tenant, pack.hash, seconds=SIGNED_FOR)) for pack in found.packs
        ],
    )


def _u4(values: list[int]) -> bytes:
    return np.array(values, "<u4").tobytes()


def pack_bytes(steps: Steps, query: PackQuery, version_id: str, hash: str) -> Stream:
    """Some bytes of a pack, as they are stored. NotFound: it is not there (any more): ask for the places again."""
    kept = finding.readable(steps, version_id, what="pack")
    pack = steps.view(lambda context: store.pack(context, hash))
    if pack is None or pack.domain != kept.domain or pack.state != store.STORED:
        raise NotFound(f"there is no pack {hash[:12]}…", hint="ask for the places again", field="hash")
    ranges = _ranges(query.ranges, bytes=pack.bytes)
    size = sum(end - begin for begin, end in ranges)
    if size > LARGEST_ANSWER:
        raise Invalid(f"at most {LARGEST_ANSWER >> 20} MB at once", field="ranges")
    found = steps.objects.ranges(steps.tenant, hash, ranges)
    return Stream(name=f"{hash}.pack", size=size, pieces=iter(found))


def _ranges(text: str, *, bytes: int) -> list[tuple[int, int]]:
    found = []
    for one in text.split(","):
        begin, dash, end = one.partition("-")
        if not dash or not (begin + end).isascii() or not begin.isdigit() or not end.isdigit() or len(one) > 30:
            raise Invalid(f"{one[:50]!r} is no range; write begin-end,begin-end", field="ranges")
        if not int(begin) < int(end) <= bytes:
            raise Invalid(f"the range {one} lies outside of the pack, which has {bytes} bytes", field="ranges")
        found.append((int(begin), int(end)))
        if len(found) > MOST_RANGES:
            raise Invalid(f"at most {MOST_RANGES:,} ranges at once", field="ranges")
    return found


def verify(steps: Steps, _: Nothing, version_id: str) -> Verified:
    """Read all stored bytes of a version again. NotFound; Denied: it is blind."""
    kept = finding.readable(steps, version_id, what="verify")
    tree = Reader(steps.objects, steps.tenant).tree(kept)
    wanted: dict[bytes, list[bytes]] = {}
    damaged: list[bytes] = []
    size = 0
    rows: dict[bytes, Row] = {}
    for stretch in tree.stretches():
        for path, row in zip(stretch.paths.split(), stretch.rows(), strict=True):
            if row.mode != EXTERNAL:
                wanted.setdefault(row.hash, []).append(path)
                rows[row.hash] = row
                size += row.size
    # in the order in which they lie in the packs
    for hash in _by_place(steps, kept.domain, list(wanted)):
        row = rows[hash]
        chunks = _chunks(steps, kept.domain, row)
        if chunks is None or not _is_sound(steps, kept.domain, row, chunks):
            damaged += wanted[hash]
    return Verified(
        files=sum(map(len, wanted.values())), bytes=size, damaged=[path.decode() for path in sorted(damaged)]
    )


def _by_place(steps: Steps, domain: str, hashes: list[bytes]) -> list[bytes]:
    found: dict[bytes, tuple[int, int]] = {}
    for start in range(0, len(hashes), MOST_ENTRIES):
        rows = steps.view(
            lambda context, start=start: contents.rows_of(context, domain, hashes[start : start + MOST_ENTRIES])  # type: ignore[misc]
        )
        found.update({hash: (row.pack, row.place) for hash, row in rows.items()})
    return sorted(hashes, key=lambda hash: found.get(hash, (0, 0)))


def _is_sound(steps: Steps, domain: str, row: Row, chunks: list[bytes]) -> bool:
    if len(chunks) == 1 and chunks[0] == row.hash:
        piece = next(contents.pieces(steps, domain, chunks))
        return piece is not None and len(piece) == row.size
    whole = store.Content(hash=row.hash, size=row.size, chunks=b"".join(chunks), user="", checked=False, created=0)
    return contents.is_whole(steps, domain, whole)


def _check_page(limit: int, offset: int, *, most: int, least: int = 1) -> None:
    if not least <= limit <= most:
        raise Invalid(f"a page has {least} to {most:,} lines, not {limit}", field="limit")
    if offset < 0:
        raise Invalid("an offset is 0 or more", field="offset")
