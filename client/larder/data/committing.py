"""A commit: one pass over what is new, hashing and sending beside one another, then the entries, then one last word.

What was killed goes on where it was: content that was sent is there, files that were read are known, and the open
version is found again by its key.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from larder.contract.datasets import (
    COMMIT,
    DELETE_VERSION,
    MOST_ENTRIES,
    OPEN,
    VERSION,
    WHOLE,
    WRITE,
    Commit,
    Dataset,
    NewVersion,
    Version,
    VersionState,
    WrittenEntries,
)
from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Invalid, LarderError, Unavailable
from larder.contract.ids import new_id
from larder.contract.paths import shown, tree_problem
from larder.data import external, uses
from larder.data.cache import Cache, write
from larder.data.columns import EXTERNAL, FILE, HASH, LINK, Tree, entries, paths_column, record, size_of
from larder.data.progress import Meter
from larder.data.scanning import Scan, Stats, read, scan
from larder.data.sending import Sender, lacking, patiently
from larder.data.statistics import Gathering
from larder.transport import Transport

_SAVE = 5.0
"""Seconds after which what was read so far is written down, for the case that we are killed."""


@dataclass
class Source:
    """One thing that is committed: a file or folder here, or bytes, and where it goes in the tree."""

    path: bytes
    place: Path | None = None
    data: bytes | None = None


@dataclass
class Wish:
    """What a commit shall hold, beside its files."""

    whole: Path | None = None
    """A folder: the tree becomes what it holds."""
    sources: list[Source] = field(default_factory=list)
    """Added to the tree."""
    remove: list[bytes] = field(default_factory=list)
    """Paths, or folders, that are taken away."""
    external: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tree: Tree | None = None
    """The whole tree, all of whose content is stored already, or lies in `contents`."""
    contents: Callable[[bytes], Iterable[bytes]] | None = None
    """The chunks of a content of `tree`."""
    message: str = ""
    tags: Sequence[str] = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    empty: bool = False
    newest: bool = False
    cases: bool = False
    settle: float = 0.0
    skip: frozenset[bytes] = frozenset()
    """Paths in folders that are not looked at."""
    run: str = ""


class Committing:
    """Makes one version of one dataset."""

    def __init__(
        self,
        transport: Transport,
        cache: Cache,
        dataset: Dataset,
        parents: Sequence[Version],
        base: Tree | None,
        wish: Wish,
    ) -> None:
        self.transport, self.cache, self.dataset, self.wish = transport, cache, dataset, wish
        self.parents = parents
        self.unknown = base is None
        """Nobody may tell us what the parent holds: it is blind."""
        self.base = base if base is not None and not wish.empty else Tree()
        self.known = {each[:HASH] for each in (base.records.values() if base is not None else ())}
        self.version: Version | None = None
        self.sender: Sender | None = None
        self.lists: dict[bytes, bytes] = {}
        self.inline: dict[bytes, bytes] = {}
        self.scans: list[tuple[Scan, Stats, bytes]] = []
        self.saved = time.monotonic()
        self.gathering: Gathering | None = None
        if wish.tree is None and (self._blindly or not self.unknown):  # else nobody here knows the whole tree
            self.gathering = Gathering(cache.root / "facts" / f"{dataset.id}.facts")

    # -- in order

    def commit(self, meter: Meter) -> Version | None:
        """The committed version; None when it would hold what its parent holds."""
        tree = self.target(meter)
        self._check(tree)
        with self._resumable() as state:
            self.state = state
            try:
                self._read(tree, meter)
                self._apply_metadata(tree)
                changed = tree.changes(self.base)
                gone = self._gone(tree)
                if not changed and not gone and self.parents and not self.wish.empty:
                    return None
                self._check_trusted(tree, changed, meter)
                if self.sender is not None:
                    self.sender.finish()
                return self._finish(tree, changed, gone, meter)
            except BaseException:
                if self.sender is not None:
                    self.sender.abandon()
                raise
            finally:
                self._save(last=True)

    def target(self, meter: Meter) -> Tree:
        """The tree to come; of what must be read yet it has only the paths, in `scans`."""
        wish = self.wish
        if wish.tree is not None:
            return wish.tree.copy()
        tree = Tree() if wish.whole is not None else self.base.copy()
        for path in wish.remove:
            self._remove(tree, path)
        if wish.whole is not None:
            self._scan_folder(tree, wish.whole, b"", meter)
        for source in wish.sources:
            if source.data is not None:
                hash = blake3(source.data).digest()
                self._bytes(tree, source.path, hash, source.data)
            elif source.place is not None and source.place.is_dir():
                self._scan_folder(tree, source.place, source.path, meter)
            elif source.place is not None:
                self._scan_file(source.place, source.path, meter)
        self._externals(tree, meter)
        return tree

    def _check(self, tree: Tree) -> None:
        """Invalid when a version cannot hold these paths."""
        paths = set(tree.records)
        for found, _, prefix in self.scans:
            paths.update(prefix + path for path, _ in found.fresh)
        if self.parents and paths == self.base.records.keys():
            return
        if not paths and not self.wish.empty:
            what = "The version would hold no files."
            if self.wish.whole is not None:
                what = f"{shown(os.fsencode(self.wish.whole))} holds no files."
            elif not self.wish.remove:
                what = "There is nothing to commit: no file was named."
            raise Invalid(what, hint="Is it the right folder? A version without files is made with empty=True.")
        problem = tree_problem(paths, cases=self.wish.cases)
        if problem:
            raise Invalid(
                problem, hint="Rename one of them; names that differ by case only can be allowed: cases=True."
            )

    # -- what is there

    def _scan_folder(self, tree: Tree, folder: Path, prefix: bytes, meter: Meter) -> None:
        root = os.path.abspath(os.fsencode(folder))
        stats = Stats(self.cache.stats_place(root))
        try:
            found = scan(root, stats, settle=self.wish.settle)
        except (FileNotFoundError, NotADirectoryError):
            raise Invalid(f"There is no folder {str(folder)!r}.") from None
        if self.wish.skip:
            found.fresh = [each for each in found.fresh if each[0] not in self.wish.skip]
            for path in self.wish.skip:
                found.records.pop(path, None)
                found.links.pop(path, None)
        if prefix:
            prefix += b"/"
        if prefix or tree.external or tree.metadata:
            for path, each in found.records.items():
                tree.put(prefix + path, each)
        else:
            tree.records.update(found.records)
        for path, target in found.links.items():
            self.inline[found.records[path][:HASH]] = target
        for path in found.young:
            # It has not come to rest: what the parent says of it goes on.
            had = self.base.records.get(prefix + path)
            if had is not None:
                tree.put(prefix + path, had)
        meter.total += found.unread
        self.scans.append((found, stats, prefix))

    def _scan_file(self, place: Path, path: bytes, meter: Meter) -> None:
        root, name = os.path.split(os.path.abspath(os.fsencode(place)))
        try:
            size = os.stat(place).st_size
        except OSError as error:
            raise Invalid(f"There is no file {str(place)!r}.") from error
        meter.total += size
        found = Scan(os.path.realpath(os.path.join(root, name)), time.time_ns(), fresh=[(b"", size)])
        self.scans.append((found, Stats(), path))

    def _bytes(self, tree: Tree, path: bytes, hash: bytes, data: bytes) -> None:
        if len(data) > WHOLE:
            raise Invalid(
                f"{shown(path)}: content given as bytes may have {WHOLE} of them at most.", hint="Write it to a file."
            )
        tree.put(path, record(hash, FILE, len(data)))
        self.inline[hash] = data

    def _externals(self, tree: Tree, meter: Meter) -> None:
        for name, given in self.wish.external.items():
            address, size, hash = (given, None, "") if isinstance(given, str | Path) else given
            address = external.normal(address)
            path = name.encode()
            if size is None or not hash:
                found, size = external.look(address, self.transport, meter.add)
            else:
                found = bytes.fromhex(hash)
            tree.put(path, record(found, EXTERNAL, int(size)), external=address)

    def _remove(self, tree: Tree, path: bytes) -> None:
        if path in tree.records:
            tree.drop(path)
            return
        below = [each for each in tree.records if each.startswith(path.rstrip(b"/") + b"/")]
        if not below and not self.unknown:
            raise Invalid(
                f"The parent has no file or folder {shown(path)}.", hint="`larder data ls` shows what it has."
            )
        for each in below:
            tree.drop(each)

    def _apply_metadata(self, tree: Tree) -> None:
        for path in tree.records:
            # What was known of an item is known of it as long as its content stays.
            had = self.base.metadata.get(path)
            if had and tree.records[path] == self.base.records[path]:
                tree.metadata[path] = had
        for name, given in self.wish.metadata.items():
            path = name.encode()
            if path not in tree.records:
                raise Invalid(f"There is no file {name!r} in the version that its metadata could belong to.")
            tree.metadata[path] = dict(given)

    # -- content

    def _read(self, tree: Tree, meter: Meter) -> None:
        """Read what is fresh, and hand on what may be lacking."""
        gathering, known, hand_on = self.gathering, self.known, self._hand_on
        plain = not tree.external and not tree.metadata
        weight = files = 0
        for found, stats, prefix in self.scans:
            for path, _ in found.fresh:
                full = prefix + path
                place = found.root + b"/" + path if path else found.root
                kind = _kind(full)
                record, signature, data, chunks = read(place, full, partial(hand_on, kind), meter.add)
                if plain:
                    tree.records[full] = record
                else:
                    tree.put(full, record)
                hash = record[:HASH]
                stats.known[path] = signature + record
                if gathering is not None:
                    gathering.look(full, record, data, place)
                if chunks is not None:
                    self.lists[hash] = b"".join(chunks)
                elif data is not None:
                    weight += len(data)
                    if hash not in known:
                        hand_on(kind, hash, data)
                files += 1
                if files == 64 or weight > 1 << 20 or chunks is not None:
                    meter.add(weight, files)
                    weight = files = 0
                    if time.monotonic() - self.saved > _SAVE:
                        self._save()
            meter.add(weight, files)
            weight = files = 0
            if path_gone := set(stats.known) - {path for path, _ in found.fresh} - set(found.records):
                for path in path_gone:
                    del stats.known[path]

    def _hand_on(self, kind: bytes, hash: bytes, chunk: bytes) -> None:
        if self.sender is None:
            self.sender = Sender(self.transport, self._open().id)
        self.sender.add(hash, chunk, kind)

    def _check_trusted(self, tree: Tree, changed: Sequence[bytes], meter: Meter) -> None:
        """Content that was not read just now, because its file is known, and that the parent does not have: is it there?"""
        doubtful: dict[bytes, bytes] = {}
        read_now = {prefix + path for found, _, prefix in self.scans for path, _ in found.fresh}
        for path in changed:
            each = tree.records[path]
            if each[:HASH] not in self.known and path not in read_now and each[32:33] != EXTERNAL:
                doubtful.setdefault(each[:HASH], path)
        if doubtful:
            wanted = lacking(self.transport, self._open().id, list(doubtful))
            self._send_again(tree, {hash: doubtful[hash] for hash in wanted}, meter)

    def _send_again(self, tree: Tree, wanted: Mapping[bytes, bytes], meter: Meter) -> None:
        """Hand on content by hash, read once more from where it is known to lie."""
        for hash, path in wanted.items():
            kind = _kind(path)
            if hash in self.inline:
                self._hand_on(kind, hash, self.inline[hash])
                continue
            if self.wish.contents is not None:
                size, list_ = size_of(tree.records[path]), []
                for chunk in self.wish.contents(hash):
                    name = blake3(chunk).digest()
                    list_.append(name)
                    self._hand_on(kind, name, chunk)
                if size > WHOLE:
                    self.lists[hash] = b"".join(list_)
                meter.add(size, 1)
                continue
            took = read(self._place(path), path, partial(self._hand_on, kind), meter.add)
            if took.record[:HASH] != hash:
                raise Conflict(f"{shown(path)} changed during the commit.", hint="Commit again.")
            if took.chunks is not None:
                self.lists[hash] = b"".join(took.chunks)
            elif took.data is not None:
                self._hand_on(kind, hash, took.data)
                meter.add(len(took.data))
            meter.add(0, 1)

    def _place(self, path: bytes) -> bytes:
        """The file here that is this path of the tree."""
        for found, stats, prefix in reversed(self.scans):
            if not path.startswith(prefix):
                continue
            inside = path[len(prefix) :]
            if inside in found.records or inside in stats.known:
                return found.root + b"/" + inside if inside else found.root
        raise Conflict(
            f"The server does not store the content of {shown(path)}, and it is not here either.",
            hint="Commit the folder that has it.",
        )

    # -- the version

    def _open(self) -> Version:
        if self.version is None:
            order = NewVersion(
                parents=[each.id for each in self.parents],
                empty=self.wish.empty or self._blindly,
                run=self.wish.run or uses.run(),
                key=self.state.key,
            )
            self.version = patiently(self.transport.call, OPEN, order, dataset_id=self.dataset.id)
        return self.version

    @property
    def _blindly(self) -> bool:
        """The whole tree is sent, because what the parent has is not told."""
        return self.unknown and (self.wish.whole is not None or self.wish.tree is not None)

    def _gone(self, tree: Tree) -> list[bytes]:
        if self.unknown:
            return [] if self._blindly else list(self.wish.remove)
        return tree.lost(self.base)

    def _finish(self, tree: Tree, changed: Sequence[bytes], gone: Sequence[bytes], meter: Meter) -> Version:
        version = self._open()
        self._write(version, tree, changed, gone)
        order = Commit(
            message=self.wish.message,
            tags=list(self.wish.tags),
            statistics=self._statistics(tree),
            report=dict(self.wish.report),
            newest=self.wish.newest,
            cases=self.wish.cases,
        )
        for attempt in range(3):
            try:
                done = self._commit(version, order)
                break
            except Conflict as error:
                if error.field != "hashes" or attempt == 2:
                    if error.field != "hashes":
                        self._drop(version)
                    raise
                # The server took away what nobody needed at that moment.
                self._resend(version, tree, changed, meter)
        else:
            raise AssertionError("a commit ends with a version or an error")
        self.state.remove()
        if not self.unknown:
            self.cache.keep_tree(done.id, tree)
        return done

    def _resend(self, version: Version, tree: Tree, changed: Sequence[bytes], meter: Meter) -> None:
        contents = {tree.records[path][:HASH]: path for path in changed if tree.records[path][32:33] != EXTERNAL}
        wanted = lacking(self.transport, version.id, list(contents))
        # Of long content we cannot say which chunks are lost, where its list alone is known.
        wanted |= {hash for hash in self.lists if hash in contents}
        self.sender = Sender(self.transport, version.id)
        self._send_again(tree, {hash: contents[hash] for hash in wanted}, meter)
        self.sender.finish()
        self._write(version, tree, changed, self._gone(tree))

    def _write(self, version: Version, tree: Tree, changed: Sequence[bytes], gone: Sequence[bytes]) -> None:
        parts = max(1, -(-len(changed) // MOST_ENTRIES), -(-len(gone) // MOST_ENTRIES))
        before = self.state.parts
        # Noted before the first is written: a later attempt must empty those that it does not need.
        self.state.note(max(parts, before))
        for part in range(max(parts, before)):
            begin = part * MOST_ENTRIES
            paths = changed[begin : begin + MOST_ENTRIES]
            lists = {}
            if self.lists:
                for at, path in enumerate(paths):
                    each = tree.records[path]
                    if each[:HASH] in self.lists and each[32:33] not in (EXTERNAL, LINK):
                        lists[at] = self.lists[each[:HASH]]
            change = WrittenEntries(
                part=part,
                entries=entries(tree, paths),
                removed=paths_column(gone[begin : begin + MOST_ENTRIES]),
                lists=lists,
            )
            patiently(self.transport.call, WRITE, change, version_id=version.id)

    def _statistics(self, tree: Tree) -> dict[str, Any]:
        given = dict(self.wish.statistics)
        if self.gathering is None:
            return given
        parent = self.parents[0].statistics if self.parents and not self.unknown else {}
        return self.gathering.document(tree, self.base, parent, self._lies) | given

    def _lies(self, path: bytes) -> bytes | None:
        """Where the content of a path of the tree lies in what was scanned."""
        for found, _, prefix in reversed(self.scans):
            inside = path[len(prefix) :]
            if path.startswith(prefix) and inside in found.records:
                return found.root + b"/" + inside
        return None

    def _commit(self, version: Version, order: Commit) -> Version:
        for attempt in range(4):
            try:
                return self.transport.call(COMMIT, order, version_id=version.id)
            except Unavailable:
                if attempt == 3:
                    raise
                time.sleep(0.3 * 2**attempt)
                # The answer may have been lost, not the question.
                found = patiently(self.transport.call, VERSION, Nothing(), version_id=version.id)
                if found.state is VersionState.COMMITTED:
                    return found
        raise AssertionError("a commit ends with a version or an error")

    def _drop(self, version: Version) -> None:
        with contextlib.suppress(LarderError):
            self.transport.call(DELETE_VERSION, Nothing(), version_id=version.id)
        self.state.remove()

    # -- what the next attempt finds

    @contextlib.contextmanager
    def _resumable(self) -> "Any":
        about = [self.transport.url, self.dataset.id, [each.id for each in self.parents], self.wish.empty]
        about += [str(self.wish.whole or ""), [[each.path, str(each.place)] for each in self.wish.sources]]
        name = blake3(msgspec.msgpack.encode(about)).hexdigest()[:40]
        place = self.cache.root / "commits" / f"{name}.json"
        descriptor = os.open(self.cache.root / "locks" / f"commit-{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Another process commits the same at this moment; each goes its own way.
                yield _State(None)
                return
            yield _State(place)
        finally:
            os.close(descriptor)

    def _save(self, *, last: bool = False) -> None:
        began = time.monotonic()
        for found, stats, _ in self.scans:
            if found.fresh or (last and found.records.keys() != stats.known.keys()):
                stats.save(since=found.began)
        now = time.monotonic()
        # A large folder takes a while to write down: most of the time is for the work itself.
        self.saved = now + 20 * (now - began)


class _State:
    """The key of an open version, and how many parts of entries it may have by now; on disk, where there is a place."""

    def __init__(self, place: Path | None) -> None:
        self._place = place
        self.key, self.parts = new_id(), 0
        if place is None:
            return
        with contextlib.suppress(OSError, ValueError, TypeError, msgspec.DecodeError):
            self.key, self.parts = msgspec.json.decode(place.read_bytes(), type=tuple[str, int])
        self.note(self.parts)

    def note(self, parts: int) -> None:
        self.parts = parts
        if self._place is not None:
            with contextlib.suppress(OSError):
                write(self._place, msgspec.json.encode((self.key, parts)))

    def remove(self) -> None:
        if self._place is not None:
            self._place.unlink(missing_ok=True)


def _kind(path: bytes) -> bytes:
    """What the name of a file ends in: like ends, like content."""
    dot = path.rfind(b".")
    return path[dot:].lower() if dot > path.rfind(b"/") + 1 else b""
