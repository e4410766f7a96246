"""The data cache of this machine: one for all processes and agents, bounded, whole or not there after any kill.

`files/` holds complete contents by hash, read-only; `trees/` versions laid out by hard links to them; `versions/` the
entries of versions; `folders/` what is known of folders elsewhere. What is in use is locked, and stays.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from blake3 import blake3

from larder import config
from larder.contract.datasets import Entries
from larder.contract.errors import Invalid, Unavailable
from larder.data.columns import Tree, entries, put_entries

HELD = 3600.0
"""Seconds for which what was used is kept even when nobody holds it: a script may have been told of the path only."""

_FORMAT = 1
_held: dict[tuple[str, str], int] = {}
"""The trees that this process uses, whichever `Cache` it got them from; closed by its end."""

_holding = threading.Lock()
_LEAST, _SHARE = 50_000_000_000, 0.2
_UNITS = {"": 1, "B": 1, "K": 10**3, "KB": 10**3, "M": 10**6, "MB": 10**6, "G": 10**9, "GB": 10**9, "T": 10**12, "TB": 10**12}  # fmt: skip


class Cache:
    """The cache in a folder: LARDER_CACHE, else `cache/data` in the home folder. Safe between threads and processes.

    `limit`: bytes (LARDER_CACHE_SIZE, such as 200GB; else a fifth of the disk, at most 50 GB).
    """

    def __init__(self, root: "str | os.PathLike[str] | None" = None, *, limit: int | None = None) -> None:
        chosen = root or os.environ.get("LARDER_CACHE") or config.home() / "cache" / "data"
        self.root = Path(chosen).expanduser().absolute()
        self._files = str(self.root / "files")
        self._limit = limit
        for name in ("files", "trees", "versions", "folders", "locks", "making", "commits"):
            with _said(self.root):
                (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o755)

    @property
    def limit(self) -> int:
        """Bytes that it may hold."""
        if self._limit is None:
            text = os.environ.get("LARDER_CACHE_SIZE", "")
            self._limit = parse_size(text) if text else min(_LEAST, int(_SHARE * shutil.disk_usage(self.root).total))
        return self._limit

    # -- contents

    def name(self, hash: bytes, *, executable: bool = False) -> str:
        """The name of a content, relative to `files/`."""
        text = hash.hex()
        return f"{text[:2]}/{text[2:]}.x" if executable else f"{text[:2]}/{text[2:]}"

    def file(self, hash: bytes, *, executable: bool = False) -> Path:
        """Where a content lies, or would lie."""
        return self.root / "files" / self.name(hash, executable=executable)

    def prepare(self) -> None:
        """Make the folders of contents."""
        files = self.root / "files"
        if not (files / "ff").is_dir():
            for number in range(256):
                (files / f"{number:02x}").mkdir(exist_ok=True)

    def adopt(self, draft: "str | Path", hash: bytes, *, executable: bool = False) -> None:
        """Another name, the one of its content, for a complete file on the disk of the cache."""
        place = f"{self._files}/{self.name(hash, executable=executable)}"
        try:
            os.link(draft, place)
        except FileExistsError:
            pass
        except FileNotFoundError:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.link(draft, place)

    def drop(self, hash: bytes) -> None:
        """Forget a content that turned out to be damaged."""
        for executable in (False, True):
            self.file(hash, executable=executable).unlink(missing_ok=True)

    # -- entries of versions

    def tree(self, version: str) -> Tree | None:
        """The entries of a version, when they are known here."""
        try:
            form, check, document = msgspec.msgpack.decode((self.root / "versions" / f"{version}.entries").read_bytes())
            if form != _FORMAT or blake3(document).digest() != check:
                return None
            page = msgspec.msgpack.decode(document, type=Entries)
            found = Tree()
            put_entries(found, page)
        except (OSError, ValueError, msgspec.MsgspecError):
            return None
        return found

    def keep_tree(self, version: str, tree: Tree) -> None:
        """Write down the entries of a committed version."""
        document = msgspec.msgpack.encode(entries(tree, sorted(tree.records)))
        whole = msgspec.msgpack.encode((_FORMAT, blake3(document).digest(), document))
        with contextlib.suppress(OSError):  # a full disk: they are asked for again
            write(self.root / "versions" / f"{version}.entries", whole)

    def known_versions(self) -> list[str]:
        """The versions whose entries are known, the last used first."""
        found = []
        with os.scandir(self.root / "versions") as listed:
            for each in listed:
                if each.name.endswith(".entries"):
                    with contextlib.suppress(OSError):
                        found.append((-each.stat().st_mtime, each.name.removesuffix(".entries")))
        return [name for _, name in sorted(found)]

    # -- trees

    def laid_out(self, key: str) -> Path | None:
        """A laid-out tree, held from now on until this process ends."""
        place = self.root / "trees" / key
        with _holding:
            if (str(self.root), key) not in _held:
                descriptor = self._open(f"tree-{key}")
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if not place.is_dir():
                    os.close(descriptor)
                    return None
                _held[str(self.root), key] = descriptor
        if not place.is_dir():
            return None
        self._touch(key)
        return place

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[int]:
        """Only one process, and one thread, at a time is in here by this name; a killed one is not waited for.

        Gives the open file that is the lock.
        """
        descriptor = self._open(name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def draft(self, key: str) -> Path:
        """An empty folder to lay out a tree in. Whoever asks holds the lock of the key, so what lies there is left over."""
        making = self.root / "making"
        for left in making.glob(f"{key}.*"):
            remove(left)
        place = making / f"{key}.{os.getpid()}"
        place.mkdir(parents=True)
        return place

    def publish(self, draft: Path, key: str, *, size: int = 0) -> None:
        """A complete tree of so many bytes is seen from now on."""
        place = self.root / "trees" / key
        try:
            os.rename(draft, place)
            os.chmod(place, 0o555)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            remove(draft)
        write(self.root / "trees" / f".{key}.used", str(size).encode())

    def size(self, key: str) -> int:
        """Bytes of a laid-out tree."""
        try:
            return int((self.root / "trees" / f".{key}.used").read_text())
        except (OSError, ValueError):
            return 0

    def forget(self, key: str) -> None:
        """Take away a laid-out tree, for example one that was altered."""
        with _holding:
            descriptor = _held.pop((str(self.root), key), None)
            if descriptor is not None:
                os.close(descriptor)
        place = self.root / "trees" / key
        if place.is_dir():
            aside = self.root / "making" / f"{key}.removed.{os.getpid()}.{time.monotonic_ns()}"
            os.chmod(place, stat.S_IRWXU)  # it could not move otherwise
            os.rename(place, aside)
            remove(aside)

    # -- room

    def note(self, added: int) -> None:
        """So many bytes came in; makes room when that was too much."""
        place = self.root / "bytes"
        with self.alone("bytes"):
            try:
                total = int(place.read_text()) + added
            except (OSError, ValueError):
                total = self.measure()
            write(place, str(total).encode())
        if total > self.limit:
            self.sweep()

    def measure(self) -> int:
        """Bytes of all contents."""
        return sum(size for _, size, _, _ in self._contents())

    def sweep(self) -> int:
        """Remove what was used the longest ago until the rest is within the limit; the bytes that are left.

        What a process holds, what was used within the last hour, and what has a name outside of the cache stays.
        """
        total = self.measure()
        trees = sorted((used, key) for key, used in self._used())
        for used, key in [(0.0, ""), *trees]:
            if total <= self.limit:
                break
            if key and (time.time() - used < HELD or (str(self.root), key) in _held or not self._remove_tree(key)):
                continue
            for place, size, links, changed in sorted(self._contents(), key=lambda each: each[3]):
                if total <= self.limit:
                    break
                # One link is the cache's own; one that was just made has its tree still to come.
                if links == 1 and time.time() - changed >= min(HELD, 60.0):
                    with contextlib.suppress(OSError):
                        os.unlink(place)
                        total -= size
        for left in (self.root / "making").iterdir():
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > 24 * HELD:
                    remove(left)
        write(self.root / "bytes", str(total).encode())
        return total

    def _remove_tree(self, key: str) -> bool:
        descriptor = self._open(f"tree-{key}")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.forget(key)
            (self.root / "trees" / f".{key}.used").unlink(missing_ok=True)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _used(self) -> Iterator[tuple[str, float]]:
        trees = self.root / "trees"
        for each in list(trees.iterdir()):
            if not each.name.startswith("."):
                used = 0.0
                with contextlib.suppress(OSError):
                    used = (trees / f".{each.name}.used").stat().st_mtime
                yield each.name, used

    def _contents(self) -> Iterator[tuple[str, int, int, float]]:
        for folder in (self.root / "files").iterdir():
            with contextlib.suppress(OSError), os.scandir(folder) as listed:
                for each in listed:
                    with contextlib.suppress(OSError):
                        found = each.stat(follow_symlinks=False)
                        yield each.path, found.st_blocks * 512, found.st_nlink, found.st_ctime

    def _touch(self, key: str) -> None:
        with contextlib.suppress(OSError):
            (self.root / "trees" / f".{key}.used").touch()

    def _open(self, name: str) -> int:
        place = self.root / "locks" / name
        with _said(self.root):
            return os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    # -- folders elsewhere

    def folder_key(self, folder: "str | bytes | Path") -> str:
        """The name under which something is known of a folder."""
        return blake3(os.path.realpath(os.fsencode(folder))).hexdigest()[:40]

    def stats_place(self, folder: "str | bytes | Path") -> Path:
        """Where the signatures of the files of a folder are kept."""
        return self.root / "folders" / f"{self.folder_key(folder)}.stats"

    def stamp(self, folder: "str | Path", about: dict[str, object]) -> None:
        """Write down which version a folder holds."""
        write(self.root / "folders" / f"{self.folder_key(folder)}.json", msgspec.json.encode(about))

    def stamped(self, folder: "str | Path") -> dict[str, object]:
        """Which version a folder was given; empty when that is not known."""
        try:
            found = msgspec.json.decode((self.root / "folders" / f"{self.folder_key(folder)}.json").read_bytes())
        except (OSError, msgspec.DecodeError):
            return {}
        return found if isinstance(found, dict) else {}


def parse_size(text: str) -> int:
    """Bytes of a text such as 200GB."""
    number = text.strip().upper().rstrip("BKMGT")
    unit = text.strip().upper()[len(number) :]
    try:
        return int(float(number) * _UNITS[unit])
    except (KeyError, ValueError):
        raise Invalid(f"LARDER_CACHE_SIZE is {text!r}, which is no size.", hint="Write it like 200GB.") from None


def write(place: Path, content: bytes) -> None:
    """Write a file that appears whole."""
    draft = place.with_name(f".{place.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        draft.write_bytes(content)
        os.replace(draft, place)
    finally:
        draft.unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Remove a tree whose folders may be read-only."""
    for where, folders, _ in os.walk(folder):
        for name in folders:
            with contextlib.suppress(OSError):
                os.chmod(os.path.join(where, name), stat.S_IRWXU)
    with contextlib.suppress(OSError):
        os.chmod(folder, stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _said(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise full(error, root) from error


def full(error: OSError, place: "str | Path") -> Exception:
    """An error of the disk in words, where it is one that people can mend."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(
            f"The disk of {place} is full.",
            hint="Make room, set LARDER_CACHE_SIZE lower, or LARDER_CACHE to another disk; then do it again: it goes on.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Invalid(f"{place} cannot be written: {error.strerror}.", hint="Name another folder in LARDER_CACHE.")
    return error
