"""A record is one append of one frame: what `os.write` has taken survives the death of the process.

Promises: safe for threads and for signal handlers; never raises for a full disk or a failing one, but keeps what it
cannot write in memory, in order, until there is room, and counts what it could not keep; leaves no torn frame behind
while it lives; one file for each process, never shared after a fork.
"""

import fcntl
import os
import threading
import time
import zlib
from collections import deque
from pathlib import Path
from typing import Any

from larder import guard
from larder.contract import ids
from larder.journal import format, room

_pack = format.HEADER.pack
_crc32 = zlib.crc32
_write = os.write

MOST_WAITING = 16 << 20
"""Bytes that are kept in memory at most while the disk is full."""


class Writer:
    """Appends records to a journal of its own in the folder of a run."""

    def __init__(self, folder: Path, opening: dict[str, Any]) -> None:
        self.id = ids.new_id()
        self.path = folder / f"{self.id}{format.SUFFIX}"
        self._dropped = 0
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._flushing = False
        # A lock that its holder may take again: a signal handler may log in the middle of a log.
        self.lock = threading.RLock()
        # Under its final name a journal is locked and says who writes it, so that no reader takes it for a dead one.
        draft = folder / f"{self.id}{format.DRAFT}"
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            head = format.MAGIC + format.frame(format.encode((format.OPEN, opening["time"], opening)))
            if os.write(file, head) != len(head):
                raise OSError("the disk is full")
            os.rename(draft, self.path)
        except BaseException:
            os.close(file)
            draft.unlink(missing_ok=True)
            raise
        self._file = file

    def record(self, kind: int, *content: Any) -> bool:
        """Writes down a record as of now; whether it is in the journal. Raises only for one that is too long."""
        payload = format.encode((kind, time.time_ns() // 1000, *content))
        if len(payload) > format.MAX_PAYLOAD:
            raise format.TooLong(f"a record of {len(payload)} bytes is longer than a journal takes")
        return self.append(payload)

    def append(self, payload: bytes) -> bool:
        """Whether the payload is in the journal, and so survives the death of this process."""
        frame = _pack(len(payload), _crc32(payload)) + payload
        with self.lock:
            if self._waiting and not self.flush():
                return self._keep(frame)
            try:
                written = _write(self._file, frame)
            except OSError as error:
                return self._missed(frame, error)
            return written == len(frame) or self._short(frame, written)

    @property
    def lost(self) -> int:
        """Records that are not in the journal: what could not be kept, and what still waits for room on the disk."""
        return self._dropped + len(self._waiting)

    def flush(self) -> bool:
        """Writes what waits for room on the disk; whether nothing waits any more."""
        with self.lock:
            if self._flushing:  # we are in a signal handler, in the middle of it
                return False
            self._flushing = True
            try:
                while self._waiting:
                    frame = self._waiting[0]
                    try:
                        self._rest(frame, _write(self._file, frame))
                    except OSError:
                        return False
                    self._waiting.popleft()
                    self._waiting_bytes -= len(frame)
            finally:
                self._flushing = False
            return True

    def settle(self, patience: float | None = None) -> bool:
        """As `flush`, but tries again for a while: the last chance of what waits in memory."""
        for _ in room.tries("the end", self.path, patience=patience):
            if self.flush():
                return True
            if self.closed:
                break
        return False

    @property
    def size(self) -> int:
        """Bytes in the journal."""
        return os.stat(self.path).st_size

    @property
    def closed(self) -> bool:
        """Whether nothing can be appended any more."""
        return self._file < 0

    def close(self) -> None:
        """Lets go of the file and so of the sign of life on it."""
        with self.lock:
            self.flush()
            file, self._file = self._file, -1
            if file >= 0:
                os.close(file)

    def abandon(self) -> None:
        """What a forked child does with the writer of its parent: another thread may hold the lock for ever."""
        file, self._file = self._file, -1
        self._waiting, self._waiting_bytes = deque(), 0  # the parent writes them
        if file >= 0:
            os.close(file)

    def _short(self, frame: bytes, written: int) -> bool:
        """Part of a frame was written, as much as the disk held; the rest follows or the part is taken back."""
        try:
            self._rest(frame, written)
        except OSError as error:
            return self._missed(frame, error)
        return True

    def _rest(self, frame: bytes, written: int) -> None:
        if written == len(frame):
            return
        start = os.lseek(self._file, 0, os.SEEK_END) - written
        try:
            while written < len(frame):
                written += _write(self._file, frame[written:])
        except OSError:
            os.ftruncate(self._file, start)
            raise

    def _missed(self, frame: bytes, error: OSError) -> bool:
        return self._keep(frame, f"{guard.describe(error)} ({self.path}); the work goes on")

    def _keep(self, frame: bytes, why: str = "") -> bool:
        if self._file < 0 or self._waiting_bytes + len(frame) > MOST_WAITING:
            # The oldest stay: what is kept shall be without a gap for as long as possible.
            self._dropped += 1
            guard.warn("journal full", f"records are being lost, {why or self.path}")
        else:
            self._waiting.append(frame)
            self._waiting_bytes += len(frame)
            guard.warn("journal", f"records wait in memory for room on the disk, {why}")
        return False
