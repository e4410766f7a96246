"""Restored code, kept by its hash: a run's own copy of a tree that was restored before costs a few milliseconds and no git."""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from larder.agent.cache import Cache, Cancelled, Entry, never

LIMIT = 5_000_000_000
"""Bytes of restored trees that are kept."""

_TREE = "tree"
_GIT = ".git"
_PIECE = 1 << 30
_SMALL = 1 << 16


class _Damaged(Exception):
    """A kept tree is not what was put there."""


@dataclass(frozen=True)
class Copy:
    """A tree of one's own; `kept` is the one it was copied from, which `.git` borrows its objects of."""

    folder: Path
    kept: Path
    entry: Entry

    def close(self) -> None:
        """The copy is no longer needed."""
        self.entry.close()


class Trees:
    """Restored trees in `root`."""

    def __init__(self, root: Path, limit: int = LIMIT) -> None:
        self._cache = Cache(root, limit)

    def copy(
        self,
        fact: dict[str, Any],
        folder: Path,
        restore: Callable[[Path], object],
        *,
        cancelled: Cancelled = never,
    ) -> Copy:
        """Put the tree of the code fact into the new folder `folder`; `restore` makes it where it is not yet kept.

        The copy shares nothing with the kept tree that a script may change in place. Its `.git`, where it has one, is
        small: HEAD, index and configuration are copied, the objects are borrowed.
        """
        # of a clone that names a commit only that is known
        key = f"{fact.get('tree') or fact['commit']}.{str(fact.get('commit') or '')[:16]}".rstrip(".")

        def make(draft: Path) -> dict[str, Any]:
            restore(draft / _TREE)
            return _listed(draft / _TREE)

        for _ in range(2):
            entry = self._cache.get(key, make, cancelled=cancelled)
            try:
                _copy(entry.folder / _TREE, folder, entry.about)
            except _Damaged:
                # Somebody has written into the kept tree: it is made anew, and checked by its hash again.
                self._cache.drop(entry)
                shutil.rmtree(folder, ignore_errors=True)
                continue
            except BaseException:
                entry.close()
                raise
            return Copy(folder, entry.folder, entry)
        raise OSError(errno.EIO, f"The restored code in {self._cache.root / key} is changed again and again")


def _listed(tree: Path) -> dict[str, Any]:
    """The folders, files (mode, size, time of change) and links of a tree."""
    folders: list[str] = []
    files: list[tuple[str, int, int, int]] = []
    links: list[tuple[str, str]] = []
    has_git = (tree / _GIT).is_dir()
    for where, below, names in os.walk(tree):
        inside = os.path.relpath(where, tree)
        inside = "" if inside == "." else f"{inside}/"
        if not inside and has_git:
            below.remove(_GIT)
        for name in list(below):
            if os.path.islink(os.path.join(where, name)):
                below.remove(name)
                names.append(name)
            else:
                folders.append(inside + name)
        for name in names:
            path = os.path.join(where, name)
            found = os.lstat(path)
            if stat.S_ISLNK(found.st_mode):
                links.append((inside + name, os.readlink(path)))
            else:
                files.append((inside + name, stat.S_IMODE(found.st_mode), found.st_size, found.st_mtime_ns))
    return {"folders": sorted(folders), "files": files, "links": links, "git": has_git}


def _copy(tree: Path, folder: Path, listed: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True)
        target = f"{folder}/"
        source = f"{tree}/"
        for name in listed["folders"]:
            os.mkdir(target + name)
        for name, mode, size, changed in listed["files"]:
            _copy_file(source + name, target + name, mode, size, changed)
        for name, to in listed["links"]:
            os.symlink(to, target + name)
        if listed["git"]:
            _copy_git(source + _GIT, target + _GIT)
    except FileNotFoundError as error:
        raise _Damaged from error


def _copy_file(source: str, target: str, mode: int, size: int, changed: int) -> None:
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.fstat(reading)
        if (found.st_size, found.st_mtime_ns) != (size, changed):
            raise _Damaged
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            if size <= _SMALL:
                os.write(writing, os.read(reading, _SMALL))
            else:
                _copy_bytes(reading, writing, size)
            if mode & 0o022 or mode & 0o111:
                os.fchmod(writing, mode)  # what the process's mask has taken away
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_bytes(reading: int, writing: int, size: int) -> None:
    left = size
    while left:
        try:
            # Shares the blocks where the file system can, until one of the two is written to.
            copied = os.copy_file_range(reading, writing, min(left, _PIECE))
        except (AttributeError, OSError):
            copied = os.write(writing, os.read(reading, 1 << 20))
        if not copied:
            raise _Damaged
        left -= copied


def _copy_git(source: str, target: str) -> None:
    """Enough of a repository for `git rev-parse HEAD`, `git diff` and the like."""
    # Each run passes here: plain names and calls, since paths and copies of the library take longer than the kernel.
    os.makedirs(f"{target}/objects/info")
    os.mkdir(f"{target}/refs")
    _write(f"{target}/objects/info/alternates", os.fsencode(f"{source}/objects\n"))
    for name in ("HEAD", "config", "index", "packed-refs", "shallow"):
        with contextlib.suppress(FileNotFoundError):
            _write(f"{target}/{name}", _read(f"{source}/{name}"))
    for where, below, names in os.walk(f"{source}/refs"):
        there = target + where[len(source) :]
        for name in below:
            os.mkdir(f"{there}/{name}")
        for name in names:
            _write(f"{there}/{name}", _read(f"{where}/{name}"))


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _write(path: str, content: bytes) -> None:
    with open(path, "xb", buffering=0) as file:
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]
