"""Whether a folder still holds what a version says: by size, times and inode where these may be trusted, else by content."""

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from larder.contract.errors import Conflict
from larder.contract.paths import shown
from larder.data.cache import Cache
from larder.data.columns import EXECUTABLE, EXTERNAL, LINK, Tree, size_of
from larder.data.scanning import DOUBT, Stats, hash_file, signature, texts

_SHOWN = 10


@dataclass(frozen=True)
class Differences:
    """What tells a folder from a version: files with other content or another mode, those gone, those not of it."""

    changed: list[str]
    missing: list[str]
    extra: list[str]

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.extra)

    def sentence(self) -> str:
        """In words, with the names of the first ones."""
        parts = []
        for word, names in (("changed", self.changed), ("missing", self.missing), ("added", self.extra)):
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                parts.append(f"{word}: {', '.join(names[:_SHOWN])}{more}")
        return "; ".join(parts)


def compare(
    folder: Path, tree: Tree, cache: Cache, *, stamped: int = 0, hear: Callable[[int], None] = lambda count: None
) -> Differences:
    """How a folder differs from a tree. `stamped`: when (ns) it was last known to hold it as links to the cache."""
    root = os.fsencode(folder)
    began = time.time_ns()
    stats = Stats(cache.stats_place(folder))
    changed: list[bytes] = []
    missing: list[bytes] = []
    learned = False
    for path, record in tree.records.items():
        place = root + b"/" + path
        try:
            found = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            missing.append(path)
            continue
        mode = record[32:33]
        if mode == LINK:
            if not stat.S_ISLNK(found.st_mode) or blake3(os.readlink(place)).digest() != record[:32]:
                changed.append(path)
            continue
        if mode == EXTERNAL and stat.S_ISLNK(found.st_mode):
            try:
                found = os.stat(place)
            except OSError:
                changed.append(path)
                continue
        wrong_mode = mode != EXTERNAL and bool(found.st_mode & stat.S_IXUSR) != (mode == EXECUTABLE)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size_of(record) or wrong_mode:
            changed.append(path)
            continue
        known = stats.known.get(path)
        if known == signature(found) + record or _is_ours(found, record, cache, stamped):
            continue
        if hash_file(place, hear)[0] != record[:32]:
            changed.append(path)
            continue
        stats.known[path] = signature(found) + record
        learned = True
    extra = []
    for where, _, names in os.walk(root):
        inside = where[len(root) + 1 :]
        for name in names:
            path = inside + b"/" + name if inside else name
            if path not in tree.records:
                extra.append(path)
    if learned:
        stats.save(since=began)
    return Differences(*(texts(sorted(each)) for each in (changed, missing, extra)))


def _is_ours(found: os.stat_result, record: bytes, cache: Cache, stamped: int) -> bool:
    """Whether a file is the cache's own, not written into since the folder was known to be right."""
    if not stamped or found.st_mtime_ns > stamped - DOUBT:
        return False
    try:
        kept = os.stat(cache.file(record[:32], executable=record[32:33] == EXECUTABLE))
    except OSError:
        return False
    return (kept.st_ino, kept.st_dev) == (found.st_ino, found.st_dev)


def refuse(folder: Path, address: str, found: Differences) -> None:
    """Raise Conflict with the names of the files, when there are differences."""
    if found:
        raise Conflict(
            f"{shown(os.fsencode(folder))} does not hold {address}: {found.sentence()}.",
            hint=f"Get it anew, or commit what you changed as a version of its own. `larder data get {address}` brings it.",
        )
