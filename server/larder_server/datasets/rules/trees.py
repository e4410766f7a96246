"""A tree is a base, cut into blocks that versions share, and a delta of what is otherwise.

The base is sorted by the bytes of paths and cut after paths that their own bytes choose, so that an entry more or less
changes one block. Blocks lie one after the other in segments; the root says where. A delta is one object: for each path
that differs from the base what it holds now and what it holds in the base, so that two trees of one base are compared
without a look at it. Every object begins with random bytes: none ever comes back under the name of a deleted one.
"""

import itertools
import json
import os
import struct
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import zstandard
from blake3 import blake3

from larder_server.datasets.rules import columns
from larder_server.datasets.rules.columns import HASH, Builder, Columns, Ints, Paths, Row

LEAST, MOST, ONE_IN = 64, 8_192, 1_024
"""Entries of a block: at least, at most, and after which share of the paths one ends."""

SMALL = 2_000
"""A delta of so many paths is kept beside any base; a larger one up to a fiftieth of the base."""

SEGMENTS = 16
"""A base whose blocks lie in more segments is written as a whole."""

NONCE = 16
SEGMENT = 32 << 20

Change = tuple[bytes, Row | None, Row | None]
"""A path, what it held, what it holds; None where it is not there."""


class Objects(Protocol):
    """Reads the objects of trees. What it has decoded it keeps for a while."""

    def whole(self, name: str, decode: Callable[[bytes], Any]) -> Any:
        """An object, decoded."""
        ...

    def part(self, name: str, start: int, length: int, decode: Callable[[bytes], Any]) -> Any:
        """A stretch of an object, decoded."""
        ...

    def parts(self, wanted: Sequence[tuple[str, int, int]], decode: Callable[[bytes], Any]) -> list[Any]:
        """Several stretches, decoded: name, start, length."""
        ...


class _Block(msgspec.Struct, array_like=True):
    paths: bytes
    sizes: bytes
    modes: bytes
    external: dict[int, str]
    metadata: dict[int, dict[str, Any]]


class _Root(msgspec.Struct, array_like=True):
    segments: list[str]
    lasts: bytes
    counts: bytes
    sums: bytes
    segment: bytes
    starts: bytes
    lengths: bytes
    hashes: bytes
    folders: tuple[int, int, int]


class _Folders(msgspec.Struct, array_like=True):
    paths: bytes
    depths: bytes
    firsts: bytes
    files: bytes
    sums: bytes


class _Delta(msgspec.Struct, array_like=True):
    paths: bytes
    now: bytes
    now_there: bytes
    was: bytes
    was_there: bytes


_packer = msgspec.msgpack.Encoder().encode


def _compressed(value: Any) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(_packer(value))


def _expanded(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data)


_COUNT = struct.Struct("<I")


def write_block(data: Columns) -> bytes:
    """A block as it lies in its segment: the hashes, which nothing makes smaller, and all else packed."""
    rest = _packer(_Block(data.paths.data, data.sizes, data.modes, data.external, data.metadata))
    return _COUNT.pack(len(data)) + data.hashes + zstandard.ZstdCompressor(level=1).compress(rest)


def read_block(data: bytes) -> Columns:
    """A block as it was written."""
    end = _COUNT.size + HASH * int(_COUNT.unpack_from(data)[0])
    block = msgspec.msgpack.decode(_expanded(data[end:]), type=_Block)
    return Columns(
        paths=block.paths, hashes=data[_COUNT.size : end], sizes=block.sizes, modes=block.modes,
        external=block.external, metadata=block.metadata,
    )  # fmt: skip


# -- folders -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Folders:
    """Every folder of a base with what lies below it, sorted by the bytes of its path and a slash."""

    paths: Paths
    depths: Ints
    firsts: Ints
    files: Ints
    sums: Ints

    def place(self, path: bytes) -> int:
        """Where a folder stands, -1 where there is none. `path` ends in a slash, or is empty for the root."""
        place = bisect_left(self.paths, path)
        return place if place < len(self.paths) and self.paths[place] == path else -1

    def children(self, place: int) -> Ints:
        """The folders right below one."""
        start, stop = self.paths.under(self.paths[place])
        return start + np.flatnonzero(self.depths[start:stop] == self.depths[place] + 1)


def read_folders(data: bytes) -> Folders:
    """The folders of a base as they lie in its segment."""
    found = msgspec.msgpack.decode(_expanded(data), type=_Folders)
    depths, firsts, files, sums = (
        np.frombuffer(column, "<i8") for column in (found.depths, found.firsts, found.files, found.sums)
    )
    return Folders(Paths(found.paths), depths, firsts, files, sums)


def folders_of(paths: Sequence[bytes], sizes: Ints) -> _Folders:
    """The folders of sorted paths."""
    totals = np.concatenate(([0], np.cumsum(sizes)))
    found: list[tuple[bytes, int, int, int, int]] = []
    open_: list[tuple[bytes, int]] = [(b"", 0)]
    last = b""

    def close(place: int) -> None:
        path, first = open_.pop()
        found.append((path, len(open_), first, place - first, int(totals[place] - totals[first])))

    for place, path in enumerate(paths):
        folder = path[: path.rfind(b"/") + 1]
        if folder == last:
            continue
        while not folder.startswith(open_[-1][0]):
            close(place)
        start = len(open_[-1][0])
        while (slash := folder.find(b"/", start)) >= 0:
            open_.append((folder[: slash + 1], place))
            start = slash + 1
        last = folder
    while open_:
        close(len(paths))
    found.sort()
    names, depths, firsts, files, sums = zip(*found, strict=True)
    packed = [np.array(column, "<i8").tobytes() for column in (depths, firsts, files, sums)]
    return _Folders(b"".join([name + b"\0" for name in names]), *packed)


# -- bases ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Base:
    """A root, and the way to its blocks."""

    objects: Objects
    segments: list[str] = field(default_factory=list)
    lasts: Paths = field(default_factory=lambda: Paths(b""))
    counts: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    sums: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    segment: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    starts: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    lengths: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    hashes: bytes = b""
    folder_place: tuple[int, int, int] = (0, 0, 0)

    @cached_property
    def ranks(self) -> Ints:
        """How many entries stand before each block, and all."""
        return np.concatenate(([0], np.cumsum(self.counts)))

    @property
    def files(self) -> int:
        """All entries."""
        return int(self.ranks[-1])

    def __len__(self) -> int:
        return len(self.counts)

    def block(self, place: int) -> Columns:
        """A block."""
        found: Columns = self.objects.part(*self._where(place), read_block)
        return found

    def blocks(self, start: int, stop: int) -> Iterator[Columns]:
        """Blocks one after the other, some read at a time."""
        for place in range(start, stop, 64):
            yield from self.objects.parts([self._where(one) for one in range(place, min(place + 64, stop))], read_block)

    def _where(self, place: int) -> tuple[str, int, int]:
        return self.segments[int(self.segment[place])], int(self.starts[place]), int(self.lengths[place])

    def hash(self, place: int) -> bytes:
        """The hash of what a block holds: equal blocks have equal ones."""
        return self.hashes[place * HASH : place * HASH + HASH]

    def place(self, path: bytes) -> int:
        """The block that a path belongs to; that of a path behind all others is the last one."""
        return min(bisect_left(self.lasts, path), len(self) - 1)

    def find(self, path: bytes) -> Row | None:
        """What a path holds in the base."""
        place = bisect_left(self.lasts, path)
        return None if place >= len(self) else self.block(place).find(path)

    @cached_property
    def folders(self) -> Folders:
        """The folders."""
        if not len(self):
            none = np.zeros(1, np.int64)
            return Folders(Paths(b"\0"), none, none, none, none)
        segment, start, length = self.folder_place
        found: Folders = self.objects.part(self.segments[segment], start, length, read_folders)
        return found


def read_base(objects: Objects, name: str) -> Base:
    """The base of that name; empty for the empty name."""
    if not name:
        return Base(objects)

    def decode(data: bytes) -> Base:
        root = msgspec.msgpack.decode(_expanded(data[NONCE:]), type=_Root)
        counts, sums, segment, starts, lengths = (
            np.frombuffer(column, "<i8") for column in (root.counts, root.sums, root.segment, root.starts, root.lengths)
        )
        return Base(
            objects, root.segments, Paths(root.lasts), counts, sums, segment, starts, lengths, root.hashes, root.folders
        )

    found: Base = objects.whole(name, decode)
    return found


class Written(NamedTuple):
    """Objects to be stored, and the name of the one that stands for them."""

    name: str
    objects: dict[str, bytes]


def cuts(paths: Sequence[bytes]) -> list[int]:
    """Where blocks end: after these many paths."""
    crc = zlib.crc32
    chosen = [place for place, path in enumerate(paths, 1) if not crc(path) % ONE_IN]
    found: list[int] = []
    start = 0
    for place in [*chosen, len(paths)]:
        while place - start > MOST:
            start += MOST
            found.append(start)
        if place - start >= LEAST or (place == len(paths) and place > start):
            found.append(place)
            start = place
    return found


def write_base(data: Columns, old: Base, *, random: Callable[[int], bytes] = os.urandom) -> Written:
    """The objects of a base with these entries; blocks that the old base has are taken from there."""
    paths = data.paths.split()
    sizes = data.bytes_of
    objects: dict[str, bytes] = {}
    known = {old.hash(place): place for place in range(len(old))} if len(old.segments) < SEGMENTS else {}
    segments: dict[str, int] = {}
    rows: list[tuple[int, int, int, int, int]] = []
    fresh = bytearray(random(NONCE))
    waiting: list[int] = []  # blocks whose segment is not named yet
    lasts, hashes = [], []
    start = 0

    def close() -> int:
        nonlocal fresh
        body = bytes(fresh)
        name = blake3(body).hexdigest()
        objects[name] = body
        number = segments.setdefault(name, len(segments))
        for place in waiting:
            count, total, _, begin, length = rows[place]
            rows[place] = (count, total, number, begin, length)
        waiting.clear()
        fresh = bytearray(random(NONCE))
        return number

    for stop in cuts(paths):
        block = data.cut(start, stop)
        packed = write_block(block)
        # the same entries are packed into the same bytes; where another release packs otherwise, a block is written anew
        hash = blake3(packed).digest()
        count, total = stop - start, int(sizes[start:stop].sum())
        if (place := known.get(hash)) is not None:
            number = segments.setdefault(old.segments[int(old.segment[place])], len(segments))
            rows.append((count, total, number, int(old.starts[place]), int(old.lengths[place])))
        else:
            if len(fresh) + len(packed) > SEGMENT and waiting:
                close()
            waiting.append(len(rows))
            rows.append((count, total, -1, len(fresh), len(packed)))
            fresh += packed
        lasts.append(paths[stop - 1])
        hashes.append(hash)
        start = stop
    folders = _compressed(folders_of(paths, sizes))
    begin = len(fresh)
    fresh += folders
    number = close()
    packed_columns = [np.array(column, "<i8").tobytes() for column in zip(*rows, strict=True)] or [b""] * 5
    counts, sums, segment, starts, lengths = packed_columns
    root = _Root(
        list(segments), b"".join([path + b"\0" for path in lasts]), counts, sums, segment, starts, lengths,
        b"".join(hashes), (number, begin, len(folders)),
    )  # fmt: skip
    body = random(NONCE) + _compressed(root)
    name = blake3(body).hexdigest()
    return Written(name, {**objects, name: body})


# -- deltas --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Delta:
    """What is otherwise than in the base: sorted paths, what they hold now, what they hold in the base."""

    paths: list[bytes] = field(default_factory=list)
    now: list[Row | None] = field(default_factory=list)
    was: list[Row | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths)

    def place(self, path: bytes) -> int:
        """Where a path stands, -1 where it is as in the base."""
        place = bisect_left(self.paths, path)
        return place if place < len(self.paths) and self.paths[place] == path else -1

    def under(self, prefix: bytes) -> tuple[int, int]:
        """The places of paths that begin with a prefix."""
        if not prefix:
            return 0, len(self)
        return bisect_left(self.paths, prefix), bisect_left(self.paths, columns.after(prefix))

    def changes(self, start: int = 0, stop: int | None = None) -> list[tuple[bytes, Row | None]]:
        """Paths and what they hold now."""
        return list(zip(self.paths[start:stop], self.now[start:stop], strict=True))


def _side(rows: Sequence[Row | None]) -> tuple[bytes, bytes]:
    there = bytes(row is not None for row in rows)
    return write_block(columns.of_rows((b"", row) for row in rows if row is not None)), there


def _read_side(data: bytes, there: bytes) -> list[Row | None]:
    rows = iter(read_block(data).rows())
    return [next(rows) if one else None for one in there]


def write_delta(delta: Delta, *, random: Callable[[int], bytes] = os.urandom) -> Written:
    """The object of a delta; none for an empty one."""
    if not len(delta):
        return Written("", {})
    paths = b"".join([path + b"\0" for path in delta.paths])
    body = random(NONCE) + _compressed(_Delta(paths, *_side(delta.now), *_side(delta.was)))
    name = blake3(body).hexdigest()
    return Written(name, {name: body})


def read_delta(objects: Objects, name: str) -> Delta:
    """The delta of that name; empty for the empty name."""

    def decode(data: bytes) -> Delta:
        found = msgspec.msgpack.decode(_expanded(data[NONCE:]), type=_Delta)
        return Delta(
            found.paths.split(b"\0")[:-1],
            _read_side(found.now, found.now_there),
            _read_side(found.was, found.was_there),
        )

    if not name:
        return Delta()
    delta: Delta = objects.whole(name, decode)
    return delta


# -- trees ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Tree:
    """A base and a delta with their names."""

    base: Base
    delta: Delta
    base_name: str = ""
    delta_name: str = ""

    def find(self, path: bytes) -> Row | None:
        """What a path holds, None where it is not there."""
        place = self.delta.place(path)
        return self.delta.now[place] if place >= 0 else self.base.find(path)

    def stretches(self, *, low: bytes | None = None, prefix: bytes = b"") -> Iterator[Columns]:
        """The entries after a path whose paths begin with a prefix, in order, some at a time."""
        base, delta = self.base, self.delta
        begin = prefix if low is None or low < prefix else low
        end = columns.after(prefix) if prefix else None
        place = bisect_left(base.lasts, begin) if begin else 0
        stop = len(base) if end is None else min(bisect_left(base.lasts, end) + 1, len(base))
        step, _ = delta.under(prefix)
        last = delta.under(prefix)[1]
        if low is not None:
            step = max(step, columns.between(delta.paths, low, None)[0])
        for number, block in enumerate(base.blocks(place, stop), place):
            first = 0 if not begin else bisect_left(block.paths, begin)
            if low is not None and first < len(block) and block.paths[first] == low:
                first += 1
            bound = len(block) if end is None else bisect_left(block.paths, end)
            until = step
            if number < len(base) - 1:
                until = columns.between(delta.paths, None, base.lasts[number])[1]
            until = min(max(until, step), last) if number < stop - 1 else last
            if until == step and first == 0 and bound == len(block):
                yield block
            else:
                builder = Builder()
                columns.overlay(block.cut(first, bound), delta.changes(step, until), builder)
                yield builder.columns()
            step = until
        if step < last:
            builder = Builder()
            columns.overlay(Columns(), delta.changes(step, last), builder)
            yield builder.columns()

    def all(self) -> Columns:
        """All entries."""
        builder = Builder()
        for stretch in self.stretches():
            builder.add(stretch)
        return builder.columns()


class Page(NamedTuple):
    """Entries, and the last path where more follow."""

    entries: Columns
    next: bytes


def page(tree: Tree, *, low: bytes | None, prefix: bytes, limit: int, part: int = 0, parts: int = 0) -> Page:
    """Entries after a path whose paths begin with a prefix; with `parts` those of one part."""
    builder = Builder()
    for stretch in tree.stretches(low=low, prefix=prefix):
        if builder.count >= limit:
            if len(stretch):
                found = builder.columns()
                return Page(found, found.paths[len(found) - 1])
            continue
        if parts:
            stretch = stretch.of_part(part, parts)
        left = limit - builder.count
        builder.add(stretch, 0, min(left, len(stretch)))
        if len(stretch) > left:
            found = builder.columns()
            return Page(found, found.paths[len(found) - 1])
    return Page(builder.columns(), b"")


class Listed(NamedTuple):
    """What lies right in a folder: names of folders with files and bytes below, and how many files; of all below."""

    folders: list[tuple[bytes, int, int]]
    direct: int
    files: int
    bytes: int


def listed(tree: Tree, path: bytes) -> Listed | None:
    """What lies in a folder (its path ends in a slash, or is empty); None where there is none."""
    base, delta = tree.base, tree.delta
    place = base.folders.place(path)
    folders: dict[bytes, list[int]] = {}
    files = total = direct = 0
    depth = len(path)
    if place >= 0:
        index = base.folders
        children = index.children(place)
        files, total = int(index.files[place]), int(index.sums[place])
        direct = files - int(index.files[children].sum())
        folders = {
            index.paths[child][depth:-1]: [count, size]
            for child, count, size in zip(
                children.tolist(), index.files[children].tolist(), index.sums[children].tolist(), strict=True
            )
        }
    start, stop = delta.under(path)
    for step in range(start, stop):
        name, slash, _ = delta.paths[step][depth:].partition(b"/")
        now, was = delta.now[step], delta.was[step]
        more = (now is not None) - (was is not None)
        grown = (now.size if now else 0) - (was.size if was else 0)
        files += more
        total += grown
        if slash:
            counts = folders.setdefault(name, [0, 0])
            counts[0] += more
            counts[1] += grown
        else:
            direct += more
    if path and not files:
        return None
    kept = sorted((name, count, size) for name, (count, size) in folders.items() if count)
    return Listed(kept, direct, files, total)


def direct_files(tree: Tree, path: bytes, *, skip: int, limit: int) -> list[tuple[bytes, Row]]:
    """The files right in a folder, by name, without those of its sub-folders."""
    if limit <= 0:
        return []
    base, delta = tree.base, tree.delta
    depth = len(path)
    start, stop = delta.under(path)
    changes = [
        (delta.paths[step], delta.now[step], delta.was[step])
        for step in range(start, stop)
        if b"/" not in delta.paths[step][depth:]
    ]
    gaps = _gaps(base, path)
    # changes come between the files of the base: skip whole stretches of these as long as no change stands among them
    found: list[tuple[bytes, Row]] = []
    left, wanted = skip, limit
    step = 0

    def put(name: bytes, row: Row) -> bool:
        nonlocal left
        if left:
            left -= 1
            return False
        found.append((name, row))
        return len(found) >= wanted

    for low, high in gaps:
        while low < high:
            number = int(np.searchsorted(base.ranks, low, side="right")) - 1
            until = min(high, int(base.ranks[number + 1]))
            bound = base.lasts[number]
            quiet = step >= len(changes) or changes[step][0] > bound
            if quiet and until - low <= left:
                left -= until - low
                low = until
                continue
            block = base.block(number)
            offset = int(base.ranks[number])
            for place in range(low - offset, until - offset):
                name = block.paths[place]
                while step < len(changes) and changes[step][0] < name:
                    if (row := changes[step][1]) is not None and put(changes[step][0], row):
                        return found
                    step += 1
                if step < len(changes) and changes[step][0] == name:
                    now = changes[step][1]
                    step += 1
                    if now is not None and put(name, now):
                        return found
                elif put(name, block.row(place)):
                    return found
            low = until
    for name, now, _ in changes[step:]:
        if now is not None and put(name, now):
            return found
    return found


def names_in(tree: Tree, path: bytes) -> set[bytes]:
    """The names of the folders and files right in a folder; none where there is no such folder."""
    found = listed(tree, path)
    if found is None:
        return set()
    base, delta = tree.base, tree.delta
    depth = len(path)
    names: set[bytes] = set()
    for low, high in _gaps(base, path):
        while low < high:
            number = int(np.searchsorted(base.ranks, low, side="right")) - 1
            until, offset = min(high, int(base.ranks[number + 1])), int(base.ranks[number])
            names.update(name[depth:] for name in base.block(number).paths[low - offset : until - offset].split())
            low = until
    start, stop = delta.under(path)
    for step in range(start, stop):
        name = delta.paths[step][depth:]
        if b"/" not in name:
            names.discard(name) if delta.now[step] is None else names.add(name)
    return names | {name for name, _, _ in found.folders}


def _gaps(base: Base, path: bytes) -> list[tuple[int, int]]:
    """The stretches of a base's entries that lie right in a folder, by their ranks."""
    index = base.folders
    place = index.place(path)
    if place < 0:
        return []
    children = index.children(place)
    firsts, ends = index.firsts[children], index.firsts[children] + index.files[children]
    begin, end = int(index.firsts[place]), int(index.firsts[place] + index.files[place])
    lows = [begin, *ends.tolist()]
    highs = [*firsts.tolist(), end]
    return [(low, high) for low, high in zip(lows, highs, strict=True) if high > low]


# -- changes -------------------------------------------------------------------------------------------------------


def same(one: Row | None, other: Row | None) -> bool:
    """Whether two rows say the same of a path."""
    return one == other


class Applied(NamedTuple):
    """A tree with changes: its names, the objects to be stored, what it counts against the one before."""

    base: str
    delta: str
    objects: dict[str, bytes]
    added: int
    removed: int
    changed: int
    files: int
    size: int
    total: int
    """The sum of the hashes of its entries, modulo 2 to the 256th."""


class Totals(NamedTuple):
    """What a tree is known to hold."""

    files: int = 0
    size: int = 0
    total: int = 0


_MODULUS = 1 << 256


def named(totals: Totals) -> str:
    """The name of a tree: equal trees have equal names."""
    return blake3(totals.total.to_bytes(HASH, "little") + totals.files.to_bytes(8, "little")).hexdigest()


def sum_of(data: Columns) -> int:
    """The sum of the hashes of entries."""
    if not len(data):
        return 0
    paths, hashes, modes = data.paths.split(), data.hashes, data.modes
    texts = [
        path + b"\0" + hashes[place * HASH : place * HASH + HASH] + modes[place : place + 1]
        for place, path in enumerate(paths)
    ]
    for place in {*data.external, *data.metadata}:
        more = json.dumps([data.external.get(place, ""), data.metadata.get(place)], sort_keys=True).encode()
        texts[place] += more
    lanes = np.frombuffer(b"".join([blake3(text).digest() for text in texts]), "<u4").reshape(-1, 8)
    summed = lanes.sum(axis=0, dtype=np.uint64)
    return sum(int(lane) << (32 * place) for place, lane in enumerate(summed)) % _MODULUS


def apply(tree: Tree, totals: Totals, changes: "Changes", *, random: Callable[[int], bytes] = os.urandom) -> Applied:
    """A tree with changes laid over it."""
    base, delta = tree.base, tree.delta
    if not len(base) and not len(delta) and not changes.removed and len(changes.columns) > SMALL:
        data = changes.columns
        written = write_base(data, base, random=random)
        count, size = len(data), int(data.bytes_of.sum())
        return Applied(written.name, "", written.objects, count, 0, 0, count, size, sum_of(data))
    news = changes.rows()
    paths = sorted(news)
    laid_before = {path: (now, was) for path, now, was in zip(delta.paths, delta.now, delta.was, strict=True)}
    merged = dict(laid_before)
    added = removed = changed = grown = 0
    gone: list[tuple[bytes, Row]] = []
    came: list[tuple[bytes, Row]] = []
    for path, old in zip(paths, before(tree, paths), strict=True):
        now = news[path]
        if now == old:
            continue
        added += old is None
        removed += now is None
        changed += now is not None and old is not None
        if old is not None:
            gone.append((path, old))
            grown -= old.size
        if now is not None:
            came.append((path, now))
            grown += now.size
        # not in the delta: what it held is what the base holds
        was = laid_before[path][1] if path in laid_before else old
        if now == was:
            merged.pop(path, None)
        else:
            merged[path] = (now, was)
    total = (totals.total + sum_of(columns.of_rows(came)) - sum_of(columns.of_rows(gone))) % _MODULUS
    files, size = totals.files + added - removed, totals.size + grown
    if not added and not removed and not changed:
        return Applied(tree.base_name, tree.delta_name, {}, 0, 0, 0, files, size, total)
    order = sorted(merged)
    laid = Delta(order, [merged[path][0] for path in order], [merged[path][1] for path in order])
    if len(laid) > max(SMALL, base.files // 50):
        data = Tree(base=base, delta=laid).all()
        if len(data) > SMALL:
            written = write_base(data, base, random=random)
            return Applied(written.name, "", written.objects, added, removed, changed, files, size, total)
        # so little is left that it stands by itself
        laid = Delta(data.paths.split(), list(data.rows()), [None] * len(data))
        tree = Tree(base=Base(base.objects), delta=Delta())
    written = write_delta(laid, random=random)
    return Applied(tree.base_name, written.name, written.objects, added, removed, changed, files, size, total)


def before(tree: Tree, paths: Sequence[bytes]) -> list[Row | None]:
    """What sorted paths hold; each block is opened once."""
    base, delta = tree.base, tree.delta
    found: list[Row | None] = []
    number, block = -1, Columns()
    for path in paths:
        place = delta.place(path)
        if place >= 0:
            found.append(delta.now[place])
            continue
        wanted = bisect_left(base.lasts, path)
        if wanted >= len(base):
            found.append(None)
            continue
        if wanted != number:
            number, block = wanted, base.block(wanted)
        found.append(block.find(path))
    return found


@dataclass(frozen=True, eq=False)
class Changes:
    """Entries that a tree gets, sorted by path, each path once; and paths that it loses, none of them among those."""

    columns: Columns = field(default_factory=Columns)
    removed: list[bytes] = field(default_factory=list)

    def rows(self) -> dict[bytes, Row | None]:
        """What becomes of each path."""
        found: dict[bytes, Row | None] = dict.fromkeys(self.removed)
        found.update(zip(self.columns.paths.split(), self.columns.rows(), strict=True))
        return found


def gathered(parts: Sequence[tuple[Columns, list[bytes]]]) -> Changes:
    """Changes from the parts in which they came: what a later part says of a path counts."""
    builder = Builder()
    for data, _ in parts:
        builder.add(data)
    whole = builder.columns()
    paths = whole.paths.split()
    removed = [path for _, gone in parts for path in gone]
    if not removed and rising(paths):
        return Changes(whole)
    last: dict[bytes, int] = {}
    place = 0
    for data, gone in parts:
        for path in gone:
            last[path] = -1
        for path in data.paths.split():
            last[path] = place
            place += 1
    kept = sorted((path, place) for path, place in last.items() if place >= 0)
    builder = Builder()
    for _, place in kept:
        builder.add(whole, place, place + 1)
    return Changes(builder.columns(), sorted(path for path, place in last.items() if place < 0))


def rising(paths: Sequence[bytes]) -> bool:
    """Whether each path comes after the one before."""
    return all(one < other for one, other in itertools.pairwise(paths))


# -- differences ---------------------------------------------------------------------------------------------------


def difference(old: Tree, new: Tree) -> list[Change]:
    """What tells one tree from another, by path."""
    if old.base_name == new.base_name:
        found: dict[bytes, tuple[Row | None, Row | None]] = {
            path: (now, was) for path, now, was in zip(old.delta.paths, old.delta.now, old.delta.was, strict=True)
        }
        for path, now, was in zip(new.delta.paths, new.delta.now, new.delta.was, strict=True):
            before = found.get(path)
            found[path] = (was if before is None else before[0], now)
        return sorted(
            ((path, before, now) for path, (before, now) in found.items() if before != now), key=lambda item: item[0]
        )
    return _between_bases(old, new)


def _between_bases(old: Tree, new: Tree) -> list[Change]:
    ours, theirs = ({tree.base.hash(place) for place in range(len(tree.base))} for tree in (old, new))
    shared = ours & theirs
    before, after = (
        _other_rows(tree.base, (place for place in range(len(tree.base)) if tree.base.hash(place) not in shared))
        for tree in (old, new)
    )
    # what only one delta names, and stands in no block that only one has, stands in a block that both have, or nowhere:
    # what that delta says of its own base then holds for the other base, too
    kept: dict[bytes, Row] = {}
    for tree, mine, other, others in ((old, before, after, new), (new, after, before, old)):
        for path, was in zip(tree.delta.paths, tree.delta.was, strict=True):
            if was is not None and path not in mine and path not in other and others.delta.place(path) < 0:
                kept[path] = was
    before, after = {**before, **kept}, {**after, **kept}
    for tree, rows in ((old, before), (new, after)):
        for path, now in zip(tree.delta.paths, tree.delta.now, strict=True):
            if now is None:
                rows.pop(path, None)
            else:
                rows[path] = now
    found: list[Change] = [(path, row, after.get(path)) for path, row in before.items() if after.get(path) != row]
    found += [(path, None, row) for path, row in after.items() if path not in before]
    return sorted(found, key=lambda item: item[0])


def _other_rows(base: Base, places: Iterable[int]) -> dict[bytes, Row]:
    found: dict[bytes, Row] = {}
    for place in places:
        block = base.block(place)
        found.update(zip(block.paths.split(), block.rows(), strict=True))
    return found


class Moved(NamedTuple):
    """One change with its kind; `before` is the old path of a renamed file."""

    kind: str
    path: bytes
    before: bytes
    old: Row | None
    new: Row | None


KINDS = ("added", "removed", "changed", "renamed")


def told(changes: Sequence[Change]) -> list[Moved]:
    """Changes in words: a path that went and one that came with the same content are one that was renamed."""
    gone: dict[bytes, list[tuple[bytes, Row]]] = {}
    for path, old, new in changes:
        if new is None and old is not None and old.size:
            gone.setdefault(old.hash, []).append((path, old))
    for candidates in gone.values():
        candidates.reverse()
    pairs: dict[bytes, tuple[bytes, Row]] = {}
    taken: set[bytes] = set()
    for path, old, new in changes:
        if old is None and new is not None and (candidates := gone.get(new.hash, [])):
            name = path.rpartition(b"/")[2]
            same_name = next((one for one in reversed(candidates[-8:]) if one[0].rpartition(b"/")[2] == name), None)
            chosen = same_name or candidates[-1]
            candidates.remove(chosen)
            pairs[path] = chosen
            taken.add(chosen[0])
    found: list[Moved] = []
    for path, old, new in changes:
        if path in pairs:
            found.append(Moved("renamed", path, pairs[path][0], pairs[path][1], new))
        elif path not in taken:
            kind = "added" if old is None else "removed" if new is None else "changed"
            found.append(Moved(kind, path, b"", old, new))
    return found


class Merged(NamedTuple):
    """What `ours` gets, and the paths that both sides changed otherwise."""

    changes: list[tuple[bytes, Row | None]]
    conflicts: list[bytes]


def merged(ancestor_to_ours: Sequence[Change], ancestor_to_theirs: Sequence[Change], *, prefer: str) -> Merged:
    """What `theirs` changed since the common tree, laid over `ours`."""
    ours = {path: now for path, _, now in ancestor_to_ours}
    changes: list[tuple[bytes, Row | None]] = []
    conflicts: list[bytes] = []
    for path, _, now in ancestor_to_theirs:
        if path in ours:
            if ours[path] == now:
                continue
            conflicts.append(path)
            if prefer != "theirs":
                continue
        changes.append((path, now))
    return Merged(changes, conflicts)
