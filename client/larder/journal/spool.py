"""Bytes of artifacts wait beside the journal, under their hash, until the companion has uploaded them.

A copy is made before the call returns: what the user does to the file afterwards does not matter.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from larder.contract import ids
from larder.journal import room

FOLDER = "files"


def store(folder: Path, source: "Path | bytes") -> tuple[str, int]:
    """Puts a file or bytes into the spool of a run's folder; answers hash and size. Waits a while on a full disk."""
    for last in room.tries("an artifact", folder):
        try:
            return _store(folder, source)
        except OSError as error:
            if last or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
    raise AssertionError("the last try has succeeded or failed")


def _store(folder: Path, source: "Path | bytes") -> tuple[str, int]:
    from blake3 import blake3  # only who keeps an artifact pays for it

    spool = folder / FOLDER
    spool.mkdir(exist_ok=True)
    draft = spool / f".{ids.new_id()}"
    try:
        if isinstance(source, bytes):
            draft.write_bytes(source)
        else:
            shutil.copyfile(source, draft)
        # The copy is hashed, not the source, which may change in between.
        hasher = blake3(max_threads=blake3.AUTO)
        size = draft.stat().st_size
        if size:
            hasher.update_mmap(draft)
        name = hasher.hexdigest()
        os.replace(draft, spool / name)
    finally:
        draft.unlink(missing_ok=True)
    return name, size


def tree(root: Path) -> Iterator[tuple[str, Path]]:
    """Regular files under a folder by relative path; links only where they stay inside of it."""
    inside = root.resolve()
    for parent, folders, files in os.walk(root):
        folders.sort()
        for file in sorted(files):
            path = Path(parent, file)
            target = path.resolve()
            if target.is_relative_to(inside) and stat.S_ISREG(os.stat(target).st_mode):
                yield path.relative_to(root).as_posix(), path


def skipped(root: Path) -> list[str]:
    """What `tree` leaves out: links that lead outside, links to folders, and things that are no files."""
    kept = {name for name, _ in tree(root)}
    return [
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*"))
        if (path.is_symlink() or not path.is_dir()) and path.relative_to(root).as_posix() not in kept
    ]
