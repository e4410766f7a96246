"""Contents from the server into the cache: what is lacking, in few big ranges of packs, side by side, each chunk checked.

Two processes that want the same bring it once: a lock a pack, and for long content a lock a content. A content gets its
name in the cache when it is complete; a killed fetch leaves at most pieces of long content, which the next one uses.
"""

import contextlib
import os
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

from blake3 import blake3

from larder.contract.datasets import (
    ENTRIES,
    PACK_BYTES,
    PLACES,
    WHOLE,
    Contents,
    EntryQuery,
    PackPlace,
    PackQuery,
)
from larder.contract.errors import Conflict, NotFound, Unavailable
from larder.data.cache import Cache, full
from larder.data.columns import Tree, hashes_of, paths_of, put_entries
from larder.data.packing import unpack
from larder.data.sending import patiently
from larder.transport import Transport

CONNECTIONS = 4
_CALL = 8 << 20
"""Bytes asked for at once."""

_RANGES = 200
"""Ranges asked for at once: they travel in the address."""

_ASKED = 20_000
_HOLE = bytes(1 << 16)


class Piece(NamedTuple):
    """A chunk and where it lies: in which pack, and where in the content."""

    hash: bytes
    pack: int
    offset: int
    length: int
    size: int
    at: int


@dataclass
class Content:
    """A content that is wanted, and the file in which it begins to exist; several names may be linked to that."""

    hash: bytes
    size: int
    executable: bool
    draft: str
    pieces: list[Piece] = field(default_factory=list)


def entries(transport: Transport, version: str, dataset: str, cache: Cache, *, part: int = 0, parts: int = 0) -> Tree:
    """The entries of a version, or of a part; what is known of another version of the dataset need not travel."""
    found = cache.tree(version)
    if found is not None:
        return found.part(part, parts) if parts else found
    base, known = "", Tree()
    if not parts:
        for each in _relatives(cache, dataset, version):
            found = cache.tree(each)
            if found is not None:
                base, known = each, found
                break
    tree = _listed(transport, version, part=part, parts=parts, base=base, known=known)
    if not parts:
        cache.keep_tree(version, tree)
        _relate(cache, dataset, version)
    return tree


def _listed(transport: Transport, version: str, *, part: int, parts: int, base: str, known: Tree) -> Tree:
    tree, after, first = Tree(), "", True
    while True:
        query = EntryQuery(after=after, part=part, parts=parts, against=base)
        page = transport.call(ENTRIES, query, version_id=version)
        if first and base and page.against == base:
            tree = known
        first = False
        for path in paths_of(page.removed):
            tree.drop(path)
        put_entries(tree, page.entries)
        if not page.next:
            return tree
        after = page.next


def _relatives(cache: Cache, dataset: str, version: str) -> list[str]:
    try:
        lines = (cache.root / "versions" / f"{dataset}.list").read_text().split()
    except OSError:
        return []
    return [each for each in reversed(lines) if each != version][:3]


def relate(cache: Cache, dataset: str, version: str) -> None:
    """Write down that a version belongs to a dataset, so that the next one is asked for as a difference to it."""
    _relate(cache, dataset, version)


def _relate(cache: Cache, dataset: str, version: str) -> None:
    with contextlib.suppress(OSError), (cache.root / "versions" / f"{dataset}.list").open("a") as file:
        file.write(f"{version}\n")


class Fetcher:
    """Brings contents of one version. `hear` is told the bytes of finished files and their number."""

    def __init__(
        self,
        transport: Transport,
        version: str,
        cache: Cache,
        *,
        named: Callable[[bytes], str] = lambda hash: hash.hex()[:12],
        hear: Callable[[int, int], None] = lambda count, files: None,
        connections: int = CONNECTIONS,
    ) -> None:
        self.fetched = 0
        """Bytes that came over the network."""
        self.brought = 0
        """Bytes of contents that were made of them."""
        self._transport = transport
        self._version = version
        self._cache = cache
        self._named = named
        self._hear = hear
        self._connections = connections
        self._lock = threading.Lock()
        self._began = time.time_ns()

    def fetch(self, contents: Sequence[Content]) -> None:
        """Bring all of these; each lies in its draft afterwards, and under its name in the cache."""
        for begin in range(0, len(contents), _ASKED):
            self._fetch(contents[begin : begin + _ASKED])

    def _fetch(self, contents: Sequence[Content]) -> None:
        waiting = [each for each in contents if each.size]
        for each in contents:
            if not each.size:
                self._finish(each, b"")
        for _ in range(3):
            if not waiting:
                return
            packs = self._places(waiting)
            by_pack: dict[int, list[Content]] = defaultdict(list)
            jobs: list[Callable[[], list[Content]]] = []
            for each in waiting:
                if len(each.pieces) == 1 and each.size <= WHOLE:
                    by_pack[each.pieces[0].pack].append(each)
                else:
                    jobs.append(partial(self._long, each, packs))
            for number, wanted in by_pack.items():
                jobs.append(partial(self._short, packs[number], wanted))
            waiting = self._together(jobs)
        if waiting:
            raise NotFound(
                f"{self._named(waiting[0].hash)}: its pack is not in the object store, although the version names it.",
                hint="Ask who runs the server to restore it from a backup; `larder data verify` lists what is lost.",
            )

    def _together(self, jobs: Sequence[Callable[[], list[Content]]]) -> list[Content]:
        """What the jobs could not bring because a pack had moved meanwhile."""
        left: list[Content] = []
        if len(jobs) == 1:
            return jobs[0]()
        with ThreadPoolExecutor(self._connections, thread_name_prefix="larder-fetch") as pool:
            futures = [pool.submit(job) for job in jobs]
            try:
                for future in futures:
                    left += future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise
        return left

    def _places(self, contents: Sequence[Content]) -> list[PackPlace]:
        asked = Contents(hashes=b"".join(each.hash for each in contents))
        places = patiently(self._transport.call, PLACES, asked, version_id=self._version)
        counts = struct.unpack(f"<{len(contents)}I", places.counts)
        hashes = hashes_of(places.hashes)
        numbers = f"<{len(hashes)}I"
        pack, offsets, lengths, sizes = (
            struct.unpack(numbers, column) for column in (places.pack, places.offsets, places.lengths, places.sizes)
        )
        begin = 0
        for content, count in zip(contents, counts, strict=True):
            at = 0
            content.pieces = []
            for number in range(begin, begin + count):
                content.pieces.append(
                    Piece(hashes[number], pack[number], offsets[number], lengths[number], sizes[number], at)
                )
                at += sizes[number]
            begin += count
            if at != content.size:
                raise Unavailable(
                    f"The server says that {self._named(content.hash)} has {at} bytes, not {content.size}."
                )
        return places.packs

    # -- short contents: many to a pack

    def _short(self, pack: PackPlace, wanted: list[Content]) -> list[Content]:
        with self._cache.alone(f"pack-{pack.hash[:32]}") as lock:
            lacking = wanted
            # Whoever has brought something of it has left a byte, at that time.
            left = os.fstat(lock)
            if left.st_size and left.st_mtime_ns > self._began - 1_000_000_000:
                lacking = [each for each in wanted if not self._there(each)]
            lacking.sort(key=lambda each: each.pieces[0].offset)
            by_piece = {each.pieces[0].hash: each for each in lacking}

            def take(piece: Piece, data: bytes) -> None:
                self._finish(by_piece[piece.hash], data)

            try:
                os.pwrite(lock, b"+", 0)
                self._bring(pack, [each.pieces[0] for each in lacking], take)
            except NotFound:
                return [each for each in lacking if not os.path.exists(each.draft)]
        return []

    def _there(self, content: Content) -> bool:
        """Whether another process has brought it meanwhile."""
        try:
            os.link(self._cache.file(content.hash, executable=content.executable), content.draft)
        except FileNotFoundError:
            return False
        except FileExistsError:
            return True
        self._hear(content.size, 1)
        return True

    def _finish(self, content: Content, data: bytes) -> None:
        try:
            descriptor = os.open(
                content.draft,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
                0o555 if content.executable else 0o444,
            )
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            finally:
                os.close(descriptor)
            self._cache.adopt(content.draft, content.hash, executable=content.executable)
        except OSError as error:
            raise full(error, self._cache.root) from error
        with self._lock:
            self.brought += len(data)
        self._hear(len(data), 1)

    # -- long contents: many chunks to one

    def _long(self, content: Content, packs: Sequence[PackPlace]) -> list[Content]:
        with self._cache.alone(f"content-{content.hash.hex()[:32]}"):
            place = self._cache.root / "making" / f"{content.hash.hex()}.part"
            if self._there(content):
                place.unlink(missing_ok=True)
                return []
            try:
                if not os.access(place, os.W_OK):  # one that was complete, and killed before it had its name
                    place.unlink(missing_ok=True)
                with open(os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0) as file:
                    left = self._assemble(content, packs, file.fileno())
                    if left:
                        return [content]
                    if not _is(file.fileno(), content):
                        raise Conflict(
                            f"{self._named(content.hash)} arrived damaged: its chunks do not make up its content.",
                            hint="Fetch it again; if it stays so, what the server stores is damaged.",
                        )
                    os.fchmod(file.fileno(), 0o555 if content.executable else 0o444)
                self._cache.adopt(place, content.hash, executable=content.executable)
                os.replace(place, content.draft)
            except OSError as error:
                raise full(error, self._cache.root) from error
            except Conflict:
                place.unlink(missing_ok=True)
                raise
        self._hear(0, 1)
        with self._lock:
            self.brought += content.size
        return []

    def _assemble(self, content: Content, packs: Sequence[PackPlace], descriptor: int) -> bool:
        """Fill the file; whether a pack was not where it was said to be."""
        had = os.fstat(descriptor).st_size
        os.ftruncate(descriptor, content.size)
        by_pack: dict[int, list[Piece]] = defaultdict(list)
        where: dict[bytes, list[int]] = defaultdict(list)
        for piece in content.pieces:
            where[piece.hash].append(piece.at)
            # What a killed fetch has left is used as far as it is right.
            if had and blake3(os.pread(descriptor, piece.size, piece.at)).digest() == piece.hash:
                self._hear(piece.size, 0)
            else:
                by_pack[piece.pack].append(piece)

        def take(piece: Piece, data: bytes) -> None:
            for at in where[piece.hash]:
                _write_at(descriptor, data, at)
                self._hear(len(data), 0)

        for number, pieces in by_pack.items():
            once = {piece.hash: piece for piece in pieces}
            try:
                self._bring(packs[number], sorted(once.values(), key=lambda each: each.offset), take)
            except NotFound:
                return True
        return False

    # -- packs

    def _bring(self, pack: PackPlace, pieces: Sequence[Piece], take: Callable[[Piece, bytes], None]) -> None:
        """Bring chunks of a pack, in the order of their places."""
        for group in _groups(pieces):
            damaged = self._try(pack, group, take)
            if damaged:
                damaged = self._try(pack, damaged, take)
            if damaged:
                raise Conflict(
                    f"The pack {pack.hash[:12]}… is damaged: a chunk of {self._named(damaged[0].hash)} has not the content"
                    " that it should have. Nothing of it was kept.",
                    hint="Ask who runs the server to restore the pack; `larder data verify` names all damaged files.",
                )

    def _try(self, pack: PackPlace, pieces: Sequence[Piece], take: Callable[[Piece, bytes], None]) -> list[Piece]:
        """The chunks that arrived damaged."""
        ranges = _ranges(pieces)
        data = memoryview(self._read(pack, ranges))
        with self._lock:
            self.fetched += len(data)
        begins: list[int] = []
        at = 0
        for begin, end in ranges:
            begins.append(at - begin)
            at += end - begin
        damaged, number = [], 0
        for piece in pieces:
            while piece.offset >= ranges[number][1]:
                number += 1
            begin = begins[number] + piece.offset
            chunk = unpack(data[begin : begin + piece.length], piece.size, piece.hash)
            if chunk is None:
                damaged.append(piece)
            else:
                take(piece, chunk)
        return damaged

    def _read(self, pack: PackPlace, ranges: Sequence[tuple[int, int]]) -> bytes:
        expected = sum(end - begin for begin, end in ranges)
        if pack.url:
            try:
                data = b"".join(patiently(self._transport.read_from, pack.url, begin, end) for begin, end in ranges)
                if len(data) == expected:
                    return data
            except (Unavailable, NotFound):
                pass  # the address has run out, or cannot be reached from here: the server can
        asked = PackQuery(ranges=",".join(f"{begin}-{end}" for begin, end in ranges))
        data = cast(
            bytes,
            patiently(self._transport.call, PACK_BYTES, asked, version_id=self._version, hash=pack.hash),
        )
        if len(data) != expected:
            raise Unavailable(f"The pack {pack.hash[:12]}… ended after {len(data)} of {expected} bytes; try again.")
        return data


def _groups(pieces: Sequence[Piece]) -> Iterable[list[Piece]]:
    group: list[Piece] = []
    weight = 0
    for piece in pieces:
        if group and (weight + piece.length > _CALL or (len(group) >= _RANGES and piece.offset != _end(group[-1]))):
            yield group
            group, weight = [], 0
        group.append(piece)
        weight += piece.length
    if group:
        yield group


def _end(piece: Piece) -> int:
    return piece.offset + piece.length


def _ranges(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    """Ranges of a pack that hold these chunks, which come in the order of their places."""
    found: list[tuple[int, int]] = []
    for piece in pieces:
        if found and piece.offset <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], _end(piece)))
        else:
            found.append((piece.offset, _end(piece)))
    return found


def _write_at(descriptor: int, data: bytes, at: int) -> None:
    if not data.strip(b"\0"):
        # What is nothing but zeros stays a hole, so that a sparse file is sparse again. It may hold something else.
        end = at + len(data)
        while at < end:
            piece = os.pread(descriptor, min(len(_HOLE), end - at), at)
            if piece.strip(b"\0"):
                os.pwrite(descriptor, bytes(len(piece)), at)
            at += len(piece)
        return
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, at)
        at += written
        rest = rest[written:]


def _is(descriptor: int, content: Content) -> bool:
    """Whether the file has the content, read once more: chunks may be right and their list wrong."""
    hasher = blake3(max_threads=blake3.AUTO)
    at = 0
    while piece := os.pread(descriptor, 1 << 22, at):
        hasher.update(piece)
        at += len(piece)
    return at == content.size and hasher.digest() == content.hash


def partials(cache: Cache) -> list[Path]:
    """Pieces of long contents that a fetch has left."""
    return sorted((cache.root / "making").glob("*.part"))
