"""What a journal says, up to the first byte that cannot be believed."""

import fcntl
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from larder.journal import format

_HEAD = format.HEADER.size
_CHUNK = 4 << 20
_unpack = format.HEADER.unpack_from

decode: Callable[[Any], Any] = msgspec.msgpack.Decoder().decode
"""A record of a payload."""


def resume(data: bytes, position: int) -> int | None:
    """The position of the next whole frame after damage at `position`, or None."""
    view = memoryview(data)
    for start in range(position + 1, len(data) - _HEAD):
        length, checksum = _unpack(data, start)
        end = start + _HEAD + length
        if not 0 < length <= format.MAX_PAYLOAD or end > len(data):
            continue
        if zlib.crc32(view[start + _HEAD : end]) == checksum:
            return start
    return None


class Journal:
    """One journal file with the offset that the server has acknowledged, kept beside it.

    The writer holds a lock on its file for as long as it lives, however it ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = path.name.removesuffix(format.SUFFIX)
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._ack = path.with_suffix(format.ACK)
        self._opening: dict[str, Any] | None = None
        self._ending: dict[str, Any] | None = None
        self._searched = 0

    def close(self) -> None:
        """Lets go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def known(self) -> bool:
        """Whether the file is a journal in the format that is read here."""
        return os.pread(self._file, len(format.MAGIC), 0) == format.MAGIC

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._file).st_size

    @property
    def modified(self) -> int:
        """When the file was last written, in UTC microseconds."""
        return os.fstat(self._file).st_mtime_ns // 1000

    @property
    def alive(self) -> bool:
        """Whether the process that writes this journal still lives."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return False

    @property
    def acknowledged(self) -> int:
        """Everything before this offset is durable on the server."""
        return format.acknowledged(self._ack)

    def acknowledge(self, offset: int) -> None:
        """Remembers what the server has."""
        file = os.open(self._ack, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Eight bytes in one write: a reader sees the old offset or the new one.
            os.pwrite(file, offset.to_bytes(8, "little"), 0)
        finally:
            os.close(file)

    def read(self, offset: int, limit: int) -> bytes:
        """At most `limit` bytes from `offset`, but always room for the frame that begins there."""
        data = os.pread(self._file, limit, offset)
        head = 0 if offset else len(format.MAGIC)
        if len(data) == limit and limit >= head + _HEAD:
            length = _unpack(data, head)[0]
            if head + _HEAD + length > limit and length <= format.MAX_PAYLOAD:
                data = os.pread(self._file, head + _HEAD + length, offset)
        return data

    def records(self, offset: int = 0) -> Iterator[tuple[int, list[Any]]]:
        """Records from `offset` on, each with the offset after it."""
        position = offset
        while True:
            start = position
            for end, payload in format.frames(self.read(start, _CHUNK), 0 if start else len(format.MAGIC)):
                position = start + end
                yield position, decode(payload)
            if position == start:
                return

    @property
    def opening(self) -> dict[str, Any]:
        """The first words of the journal; empty when they cannot be read."""
        if self._opening is None:
            for _, record in self.records():
                self._opening = record[2] if record[0] == format.OPEN else {}
                break
        return self._opening or {}

    @property
    def role(self) -> str:
        """`main`, `child`, `rank`, `companion` or `agent`."""
        return str(self.opening.get("role", ""))

    def ending(self) -> dict[str, Any] | None:
        """How the journal says that the run ended; None when it does not (yet)."""
        # Looks only at what came since the last question. The second byte of a payload is the kind.
        while self._ending is None:
            start = self._searched
            for end, payload in format.frames(self.read(start, _CHUNK), 0 if start else len(format.MAGIC)):
                self._searched = start + end
                if payload[1] == format.END:
                    self._ending = decode(payload)[2]
                    break
            if self._searched == start:
                break
        return self._ending

    def cut(self, offset: int) -> None:
        """Drops what follows `offset`; for the journal of a dead writer only."""
        os.truncate(self.path, offset)


def journals(folder: Path) -> list[Journal]:
    """The journals of a run's folder, the oldest writer first."""
    found = []
    for path in sorted(folder.glob(f"*{format.SUFFIX}")):
        try:
            journal = Journal(path)
        except FileNotFoundError:  # gone between the listing and now
            continue
        if journal.known:
            found.append(journal)
        else:
            journal.close()
    return found
