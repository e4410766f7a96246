"""A tree laid out in a folder: hard links to the cache where they may be, else copies (clones of blocks where the disk can).

What is lacking is fetched straight into its place, and gets its name in the cache when it is complete.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from larder.contract.errors import Conflict, Invalid
from larder.contract.paths import check_path, link_problem, shown, tree_problem
from larder.data import external
from larder.data.cache import Cache, full, remove
from larder.data.columns import EXECUTABLE, EXTERNAL, LINK, Tree, size_of
from larder.data.fetching import Content, Fetcher
from larder.data.scanning import Stats, hash_file, signature
from larder.transport import Transport

_CLONE = 0x40049409
_NO_LINKS = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP)


@dataclass
class Laid:
    """What laying out took: bytes that were in the cache, and bytes that came over the network."""

    cached: int = 0
    fetched: int = 0


def lay(
    tree: Tree,
    draft: Path,
    cache: Cache,
    fetcher: Fetcher,
    *,
    transport: Transport,
    copy: bool = False,
    stats: Stats | None = None,
    hear: Callable[[int, int], None] = lambda count, files: None,
) -> Laid:
    """Lay out a tree in an empty folder. `copy`: files that may be written, whose signatures go into `stats`."""
    problem = tree_problem(tree.records, cases=True)
    if problem:
        raise Invalid(f"The version cannot be laid out: {problem}")
    cache.prepare()
    laid = Laid()
    try:
        _Layer(tree, draft, cache, fetcher, transport, copy, stats, hear, laid).lay()
    except OSError as error:
        raise full(error, draft) from error
    laid.fetched = fetcher.fetched
    return laid


class _Layer:
    def __init__(
        self,
        tree: Tree,
        draft: Path,
        cache: Cache,
        fetcher: Fetcher,
        transport: Transport,
        copy: bool,
        stats: Stats | None,
        hear: Callable[[int, int], None],
        laid: Laid,
    ) -> None:
        self.tree, self.cache, self.fetcher, self.transport = tree, cache, fetcher, transport
        self.copy, self.stats, self.hear, self.laid = copy, stats, hear, laid
        self.root = os.fsencode(draft)
        self.began = time.time_ns()
        self.files = os.open(cache.root / "files", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.clones = True
        self.seen: Stats | None = None

    def lay(self) -> None:
        scratch: Path | None = None
        try:
            lacking, links = self._first()
            if lacking or links:
                scratch = self.cache.draft(f"scratch-{os.urandom(8).hex()}")
            if lacking:
                self._bring(lacking, scratch)  # type: ignore[arg-type]
            if links:
                self._links(links, scratch)  # type: ignore[arg-type]
        finally:
            os.close(self.files)
            if scratch is not None:
                remove(scratch)
            if self.seen is not None:
                self.seen.save(since=self.began)

    def _first(self) -> tuple[list[bytes], list[bytes]]:
        """Place all that the cache has; the paths of files and of links that it may have to fetch."""
        lacking: list[bytes] = []
        links: list[bytes] = []
        records, link, files, known = self.tree.records, os.link, self.files, 0
        heard = 0
        for folder, names in self._folders():
            with self._opened(folder) as here:
                for name in names:
                    path = folder + name
                    each = records[path]
                    mode = each[32:33]
                    if mode == LINK:
                        links.append(path)
                        continue
                    if mode == EXTERNAL and self._external_is_there(path, each):
                        continue
                    text = each[:32].hex()
                    source = f"{text[:2]}/{text[2:]}.x" if mode == EXECUTABLE else f"{text[:2]}/{text[2:]}"
                    try:
                        if self.copy:
                            self._copy(source, name, here, path, mode == EXECUTABLE)
                        else:
                            link(source, name, src_dir_fd=files, dst_dir_fd=here)
                    except FileNotFoundError:
                        lacking.append(path)
                        continue
                    except OSError as error:
                        if error.errno not in _NO_LINKS:
                            raise
                        self._copy(source, name, here, path, mode == EXECUTABLE, locked=not self.copy)
                    size = size_of(each)
                    known += size
                    heard += 1
                    if heard % 256 == 0:
                        self.hear(0, 256)
        self.laid.cached += known
        self.hear(known, heard % 256)
        return lacking, links

    def _folders(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Folders, each with `/` at its end, and the names of the files in them."""
        by_folder: dict[bytes, list[bytes]] = {}
        for path in self.tree.records:
            cut = path.rfind(b"/") + 1
            names = by_folder.get(path[:cut])
            if names is None:
                check_path(path)
                by_folder[path[:cut]] = [path[cut:]]
            else:
                names.append(path[cut:])
        for names in by_folder.values():
            # The folder was looked at as a part of its first file; a name alone can do little harm.
            for bad in (b"", b".", b".."):
                if bad in names:
                    raise Invalid(f"The version cannot be laid out: it names {shown(bad)} as a file.")
        for folder in sorted(by_folder):
            os.makedirs(self.root + b"/" + folder, exist_ok=True)
            yield folder, by_folder[folder]

    @contextlib.contextmanager
    def _opened(self, folder: bytes) -> Iterator[int]:
        here = os.open(self.root + b"/" + folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield here
        finally:
            os.close(here)

    def _copy(
        self, source: str, name: bytes, here: int, path: bytes, executable: bool, *, locked: bool = False
    ) -> None:
        """A file of its own with the content; `locked` where it stands for a link and is not to be written."""
        mode = (0o555 if executable else 0o444) if locked else (0o777 if executable else 0o666)
        incoming = os.open(source, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.files)
        try:
            outgoing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=here)
            try:
                self._pour(incoming, outgoing)
                if self.stats is not None:
                    self.stats.known[path] = signature(os.fstat(outgoing)) + self.tree.records[path]
            finally:
                os.close(outgoing)
        finally:
            os.close(incoming)

    def _pour(self, incoming: int, outgoing: int) -> None:
        if self.clones:
            try:
                fcntl.ioctl(outgoing, _CLONE, incoming)
                return
            except OSError:
                self.clones = False
        if hasattr(os, "copy_file_range"):
            with contextlib.suppress(OSError):
                while os.copy_file_range(incoming, outgoing, 1 << 26):
                    pass
                if os.fstat(outgoing).st_size == os.fstat(incoming).st_size:
                    return
        at = 0
        os.lseek(outgoing, 0, os.SEEK_SET)
        while piece := os.pread(incoming, 1 << 20, at):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(outgoing, rest) :]
            at += len(piece)

    def _bring(self, paths: list[bytes], scratch: Path) -> None:
        """Fetch what the cache lacks, and place it."""
        contents: dict[tuple[bytes, bool], Content] = {}
        first: dict[tuple[bytes, bool], bytes] = {}
        wanted: list[Content] = []
        direct = not self.copy and os.stat(self.root).st_dev == os.stat(self.cache.root).st_dev
        for path in paths:
            each = self.tree.records[path]
            key = (each[:32], each[32:33] == EXECUTABLE)
            if key in contents:
                continue
            draft = os.fsdecode(self.root + b"/" + path) if direct else str(scratch / f"{len(contents)}")
            content = Content(hash=key[0], size=size_of(each), executable=key[1], draft=draft)
            contents[key], first[key] = content, path
            # The same content with other rights may be here already.
            if key[1] and self._clone(self.cache.file(key[0]), content):
                self.laid.cached += content.size
            elif each[32:33] == EXTERNAL:
                self._bring_external(path, content)
            else:
                wanted.append(content)
        self.fetcher.fetch(wanted)
        for path in paths:
            each = self.tree.records[path]
            key = (each[:32], each[32:33] == EXECUTABLE)
            if direct and first[key] == path:
                continue
            folder, name = path[: path.rfind(b"/") + 1], path[path.rfind(b"/") + 1 :]
            source = self.cache.name(key[0], executable=key[1])
            with self._opened(folder) as here:
                if self.copy:
                    self._copy(source, name, here, path, key[1])
                    continue
                try:
                    os.link(source, name, src_dir_fd=self.files, dst_dir_fd=here)
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    self._copy(source, name, here, path, key[1], locked=True)

    def _clone(self, other: Path, content: Content) -> bool:
        if not other.exists() or hash_file(other)[0] != content.hash:  # somebody may have written into the cache
            return False
        incoming = os.open(other, os.O_RDONLY | os.O_CLOEXEC)
        outgoing = os.open(
            content.draft, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o555 if content.executable else 0o444
        )
        try:
            self._pour(incoming, outgoing)
        finally:
            os.close(incoming)
            os.close(outgoing)
        self.cache.adopt(content.draft, content.hash, executable=content.executable)
        return True

    def _links(self, paths: list[bytes], scratch: Path) -> None:
        """Links, whose targets are content, too."""
        contents = {}
        for path in paths:
            each = self.tree.records[path]
            hash = each[:32]
            if not self.cache.file(hash).exists():
                contents[hash] = Content(
                    hash=hash, size=size_of(each), executable=False, draft=str(scratch / f"link-{hash.hex()}")
                )
        self.fetcher.fetch(list(contents.values()))
        for path in paths:
            target = self.cache.file(self.tree.records[path][:32]).read_bytes()
            problem = link_problem(path, target)
            if problem:
                raise Invalid(f"The version cannot be laid out: its link {shown(path)} {problem}.")
            place = self.root + b"/" + path
            os.symlink(target, place)
            if self.tree.records[path][:32] not in contents:
                self.hear(len(target), 1)

    # -- what is recorded but not stored

    def _external_is_there(self, path: bytes, each: bytes) -> bool:
        """Place what lies in a mounted folder as a link to it, once it is known to be what was recorded."""
        address = self.tree.external.get(path, "")
        place = external.mounted(address)
        if place is None:
            return False
        if self.seen is None:
            self.seen = Stats(self.cache.root / "folders" / "external.stats")
        key = os.fsencode(place)
        try:
            found = os.stat(place)
        except OSError as error:
            raise Conflict(
                f"{shown(path)} is recorded as {address}, which cannot be read: {error.strerror}.",
                hint="Is it mounted?",
            ) from error
        record = each[:32]
        if not stat.S_ISREG(found.st_mode) or found.st_size != size_of(each):
            raise external.altered(shown(path), address)
        known = self.seen.known.get(key)
        if known is None or known[:32] != signature(found) or known[32:64] != record:
            if hash_file(place) != (record, size_of(each)):
                raise external.altered(shown(path), address)
            self.seen.known[key] = signature(found) + each
        os.symlink(place, self.root + b"/" + path)
        return True

    def _bring_external(self, path: bytes, content: Content) -> None:
        address = self.tree.external[path]
        draft = f"{content.draft}.incoming"
        try:
            external.bring(address, content.hash, content.size, draft, self.transport, shown(path))
            os.chmod(draft, 0o444)
            os.replace(draft, content.draft)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
        self.cache.adopt(content.draft, content.hash)
        self.fetcher.fetched += content.size
        self.hear(content.size, 1)
