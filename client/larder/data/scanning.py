"""What lies in a folder, read once: what has not changed since it was last read is not read again.

The scan looks at every file's size, times and inode; content is read only where they tell something new. A file that
was modified less than two seconds before a scan is not trusted by the next one, because a later change could have the
same time.
"""

import errno
import os
import stat
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
from blake3 import blake3

from larder.contract.datasets import WHOLE
from larder.contract.errors import Conflict, Invalid
from larder.contract.paths import LONGEST, link_problem, path_problem, shown
from larder.data.columns import EXECUTABLE, FILE, HASH, LINK, RECORD, paths_column, paths_of, record
from larder.data.cutting import Cutter

DOUBT = 2_000_000_000
"""Nanoseconds; see above."""

_TRIES = 3
_PIECE = 1 << 22
_SHOWN = 5
_SIGNATURE = struct.Struct("<qqqQ")
_FORMAT = 1
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Stats:
    """What is known of the files of one folder: path to signature (size, times, inode) and record, 73 bytes."""

    def __init__(self, place: Path | None = None) -> None:
        self._place = place
        self.known: dict[bytes, bytes] = {}
        if place is not None:
            self._load(place)

    def _load(self, place: Path) -> None:
        try:
            form, paths, signatures, records = msgspec.msgpack.decode(place.read_bytes())
        except (OSError, ValueError, msgspec.MsgspecError):
            return
        if form != _FORMAT:
            return
        width = _SIGNATURE.size
        for at, path in enumerate(paths_of(paths)):
            self.known[path] = signatures[at * width : at * width + width] + records[at * RECORD : at * RECORD + RECORD]

    def save(self, *, since: int) -> None:
        """Writes down what may be trusted; `since` is the time (ns) before which nothing has been looked at."""
        if self._place is None:
            return
        limit = since - DOUBT
        width = _SIGNATURE.size
        kept = [
            (path, each)
            for path, each in self.known.items()
            if int.from_bytes(each[8:16], "little", signed=True) < limit
            and int.from_bytes(each[16:24], "little", signed=True) < limit
        ]
        document = msgspec.msgpack.encode(
            (
                _FORMAT,
                paths_column(path for path, _ in kept),
                b"".join(each[:width] for _, each in kept),
                b"".join(each[width:] for _, each in kept),
            )
        )
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = self._place.with_name(f"{self._place.name}.{os.getpid()}")
            draft.write_bytes(document)
            os.replace(draft, self._place)
        except OSError:  # without it the next scan reads more; that is all
            return


@dataclass
class Scan:
    """A folder at a moment: what is known of it without reading, and what is to be read."""

    root: bytes
    began: int
    """When it began, ns."""
    records: dict[bytes, bytes] = field(default_factory=dict)
    """Of what has not changed, and of links."""
    fresh: list[tuple[bytes, int]] = field(default_factory=list)
    """Paths to be read, with the sizes they had."""
    links: dict[bytes, bytes] = field(default_factory=dict)
    """Where links lead."""
    young: set[bytes] = field(default_factory=set)
    """What was modified too shortly ago for the one who asked."""

    @property
    def unread(self) -> int:
        """Bytes to be read."""
        return sum(size for _, size in self.fresh)


def signature(found: os.stat_result, *, linked: bool = False) -> bytes:
    """What tells that a file has not changed. `linked`: other names for it come and go, which changes one of its times."""
    return _SIGNATURE.pack(
        found.st_size, found.st_mtime_ns, 0 if linked else found.st_ctime_ns, found.st_ino & 0xFFFFFFFFFFFFFFFF
    )


def mode_of(found: os.stat_result) -> bytes:
    """The mode of a regular file."""
    return EXECUTABLE if found.st_mode & stat.S_IXUSR else FILE


def scan(root: bytes, stats: Stats, *, settle: float = 0.0, prefix: bytes = b"") -> Scan:
    """Look at all files below a folder; Invalid names what a version cannot hold.

    `settle`: what was modified less than so many seconds ago is set aside as `young`. `prefix` stands before the paths.
    """
    found = Scan(root, time.time_ns())
    youngest = found.began - int(settle * 1e9) if settle else None
    records, fresh, known, width = found.records, found.fresh, stats.known, _SIGNATURE.size
    pack = _SIGNATURE.pack
    odd: list[str] = []
    folders = [b""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root + b"/" + folder if folder else root) as listed:
                for entry in listed:
                    path = folder + entry.name
                    try:
                        looked = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:  # gone meanwhile
                        continue
                    kind = looked.st_mode & 0o170000
                    if kind == stat.S_IFREG:
                        if youngest is not None and max(looked.st_mtime_ns, looked.st_ctime_ns) > youngest:
                            found.young.add(path)
                            continue
                        had = known.get(path)
                        if had is not None:
                            seen = pack(
                                looked.st_size, looked.st_mtime_ns, looked.st_ctime_ns,
                                looked.st_ino & 0xFFFFFFFFFFFFFFFF,
                            )  # fmt: skip
                            if had[:width] == seen:
                                records[path] = had[width:]
                                continue
                        fresh.append((path, looked.st_size))
                    elif kind == stat.S_IFDIR:
                        folders.append(path + b"/")
                    elif kind == stat.S_IFLNK:
                        found.links[path] = _target(root, path)
                    else:
                        odd.append(f"{shown(path)} ({_KINDS.get(kind, 'no file')})")
        except FileNotFoundError:
            if not folder:
                raise
        except OSError as error:
            raise _unreadable(folder or root, error) from error
    _check(root, found, odd)
    for path, target in found.links.items():
        records[path] = record(blake3(target).digest(), LINK, len(target))
    if prefix:
        found.records = {prefix + path: each for path, each in records.items()}
    return found


def _check(root: bytes, found: Scan, odd: list[str]) -> None:
    name = shown(root)
    if odd:
        raise Invalid(
            f"{name} holds what is no file: {', '.join(sorted(odd)[:_SHOWN])}.",
            hint="Move it elsewhere: a version holds files and links within its tree.",
        )
    for paths in (found.records, (path for path, _ in found.fresh), found.links):
        together = b"\0".join(paths)
        try:
            together.decode()
        except UnicodeDecodeError:
            bad = sorted(path for path in together.split(b"\0") if path_problem(path))
            raise Invalid(
                f"{name} holds names that are not in UTF-8: {', '.join(map(shown, bad[:_SHOWN]))}.",
                hint="Rename them, for example with convmv.",
            ) from None
        if together and max(map(len, together.split(b"\0"))) > LONGEST:
            raise Invalid(f"{name} holds a path of more than {LONGEST} bytes.", hint="Use fewer or shorter folders.")
    for path, target in sorted(found.links.items()):
        problem = link_problem(path, target)
        if problem:
            raise Invalid(
                f"The link {shown(path)} in {name} {problem}.",
                hint="Copy in what it leads to, or record it as an external reference.",
            )


def _target(root: bytes, path: bytes) -> bytes:
    """Where a link leads, relative to its folder."""
    target = os.readlink(root + b"/" + path)
    if target.startswith(b"/"):
        for base in (os.path.abspath(root), os.path.realpath(root)):
            if target.startswith(base + b"/"):
                target = os.path.relpath(target, os.path.dirname(base + b"/" + path))
                break
    return target


class Read(NamedTuple):
    """The content of a file: whole where it is short, else cut, and then already handed on chunk by chunk."""

    record: bytes
    signature: bytes
    data: bytes | None
    chunks: list[bytes] | None = None


def read(place: bytes, path: bytes, hand_on: Callable[[bytes, bytes], None], hear: Callable[[int], None]) -> Read:
    """Read a file as it is at one moment. `hand_on` gets the hash and the bytes of each chunk of long content, and `hear`
    the number of bytes of each piece of it; of short content both are not told, it is answered.

    What changes while it is read is read again, and refused when it does not come to rest.
    """
    for _ in range(_TRIES):
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ELOOP:
                continue
            raise _unreadable(path, error) from error
        try:
            before = os.fstat(descriptor)
            if before.st_mode & 0o170000 != stat.S_IFREG:
                continue
            size = before.st_size
            chunks: list[bytes] | None = None
            data: bytes | None = None
            if size <= WHOLE:
                data = os.read(descriptor, size + 1)
                while len(data) < size:
                    more = os.read(descriptor, size + 1 - len(data))
                    if not more:
                        break
                    data += more
                hash, length = blake3(data).digest(), len(data)
            else:
                hash, length, chunks = _long(descriptor, size, hand_on, hear)
            after = os.fstat(descriptor)
        except OSError as error:
            raise _unreadable(path, error) from error
        finally:
            os.close(descriptor)
        if (
            length == size == after.st_size
            and before.st_mtime_ns == after.st_mtime_ns
            and before.st_ctime_ns == after.st_ctime_ns
        ):
            return Read(record(hash, mode_of(before), size), signature(before), data, chunks)
        if chunks is not None:
            hear(-length)
    raise Conflict(
        f"{shown(path)} changed while it was read, {_TRIES} times.",
        hint="Wait until its writer is done; `watch` commits only what has come to rest.",
    )


def _long(
    descriptor: int, size: int, hand_on: Callable[[bytes, bytes], None], hear: Callable[[int], None]
) -> tuple[bytes, int, list[bytes]]:
    # On a machine with cores to spare the whole and the chunks are hashed beside one another.
    whole = blake3(max_threads=blake3.AUTO)
    cutter = Cutter()
    piece = memoryview(bytearray(_PIECE))
    chunks: list[bytes] = []
    length = 0
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def take(cut: Iterator[bytes]) -> None:
        for chunk in cut:
            hash = blake3(chunk).digest()
            chunks.append(hash)
            hand_on(hash, chunk)

    while count := os.readv(descriptor, [piece]):
        length += count
        whole.update(piece[:count])
        take(cutter.feed(piece[:count]))
        hear(count)
        if length > size:  # it grows; what was read so far is of no use
            break
    take(cutter.finish())
    return whole.digest(), length, chunks


def hash_file(place: "bytes | str | Path", hear: Callable[[int], None] = lambda count: None) -> tuple[bytes, int]:
    """The hash and the length of a file."""
    hasher = blake3(max_threads=blake3.AUTO)
    piece = memoryview(bytearray(_PIECE))
    length = 0
    with open(place, "rb", buffering=0) as file:
        while count := file.readinto(piece):
            hasher.update(piece[:count])
            length += count
            hear(count)
    return hasher.digest(), length


def texts(paths: Iterable[bytes]) -> list[str]:
    """Paths as text."""
    return [path.decode("utf-8", "surrogateescape") for path in paths]


def _unreadable(path: bytes, error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return error
    return Invalid(f"{shown(path)} cannot be read: {error.strerror}.", hint="Mend its rights, or leave it out.")


__all__ = ["HASH", "Read", "Scan", "Stats", "hash_file", "mode_of", "read", "scan", "signature", "texts"]
