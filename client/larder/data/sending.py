"""Chunks on their way to the server: asked for by hash, packed, sent over several connections while others are read.

Memory stays bounded: who hands on chunks waits while too many bytes are under way.
"""

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from larder.contract import objects
from larder.contract.datasets import (
    CLOSE_PACK,
    LACKING,
    MOST_ENTRIES,
    OPEN_PACK,
    PACK,
    Contents,
    NewPack,
)
from larder.contract.errors import Invalid, LarderError, NotFound, Unavailable
from larder.data.columns import hashes_of
from larder.data.packing import Chunk, Compressor, build
from larder.transport import Transport

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

CONNECTIONS = 3
"""Batches that are asked for, packed and sent at the same time."""

UNDER_WAY = 64 << 20
"""Bytes of chunks that wait in memory at most."""

_BATCH = 8 << 20
_TRIES = 6


def patiently(call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """What a call answers that may be made twice without harm; made again while the server cannot be reached."""
    for attempt in range(_TRIES):
        try:
            return call(*args, **kwargs)
        except Unavailable:
            if attempt + 1 == _TRIES:
                raise
            time.sleep(min(0.2 * 2**attempt, 5.0) * (0.5 + random.random()))
    raise AssertionError("a call ends with an answer or an error")


def lacking(transport: Transport, version: str, hashes: Sequence[bytes]) -> set[bytes]:
    """Those of these hashes whose content the server does not store; it keeps the others for this open version."""
    found: set[bytes] = set()
    for begin in range(0, len(hashes), MOST_ENTRIES):
        asked = Contents(hashes=b"".join(hashes[begin : begin + MOST_ENTRIES]))
        answer = patiently(transport.call, LACKING, asked, version_id=version)
        found.update(hashes_of(answer.hashes))
    return found


class Sender:
    """Sends the chunks of one open version that the server does not store. `add` is called by one thread.

    An error of a connection is raised by the next `add`, or by `finish`.
    """

    def __init__(self, transport: Transport, version: str, *, connections: int = CONNECTIONS) -> None:
        self.sent_chunks = 0
        self.sent_bytes = 0
        """As packed."""
        self._transport = transport
        self._version = version
        self._compressor = Compressor()
        self._seen: set[bytes] = set()
        self._batch: list[Chunk] = []
        self._batch_bytes = 0
        self._batches: queue.SimpleQueue[list[Chunk] | None] = queue.SimpleQueue()
        self._pending: list[Chunk] = []
        self._pending_bytes = 0
        self._under_way = 0
        self._room = threading.Condition()
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"larder-send-{number}", daemon=True)
            for number in range(connections)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, hash: bytes, data: bytes, kind: bytes = b"") -> None:
        """Hand on a chunk; waits while too many are under way."""
        if hash in self._seen:
            return
        if self._error is not None:
            raise self._error
        self._seen.add(hash)
        self._batch.append(Chunk(hash, data, kind))
        self._batch_bytes += len(data)
        # Empty files weigh nothing, but a call takes a limited number.
        if self._batch_bytes >= _BATCH or len(self._batch) >= MOST_ENTRIES:
            self._pass_on()

    def finish(self) -> None:
        """Wait until all are stored."""
        if self._batch:
            self._pass_on()
        self._end()
        if self._error is not None:
            raise self._error
        if self._pending:
            self._send(self._pending)
            self._pending = []

    def abandon(self) -> None:
        """Send no more."""
        self._error = self._error or LarderError("given up")
        self._end()

    def _end(self) -> None:
        for _ in self._threads:
            self._batches.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _pass_on(self) -> None:
        with self._room:
            while self._under_way and self._under_way + self._batch_bytes > UNDER_WAY and self._error is None:
                self._room.wait()
            self._under_way += self._batch_bytes
        self._batches.put(self._batch)
        self._batch, self._batch_bytes = [], 0

    def _done(self, count: int) -> None:
        with self._room:
            self._under_way -= count
            self._room.notify_all()

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            if self._error is not None:
                continue
            try:
                self._look_at(batch)
            except BaseException as error:  # raised where chunks are handed on
                with self._room:
                    self._error = self._error or error
                    self._room.notify_all()

    def _look_at(self, batch: list[Chunk]) -> None:
        wanted = lacking(self._transport, self._version, [chunk.hash for chunk in batch])
        needed = [chunk for chunk in batch if chunk.hash in wanted]
        weight = sum(len(chunk.data) for chunk in needed)
        self._done(sum(len(chunk.data) for chunk in batch) - weight)
        full: list[Chunk] = []
        with self._room:
            self._pending += needed
            self._pending_bytes += weight
            if self._pending_bytes >= PACK or len(self._pending) >= MOST_ENTRIES:
                full, self._pending = self._pending, []
                self._pending_bytes = 0
        if full:
            self._send(full)

    def _send(self, chunks: list[Chunk]) -> None:
        for attempt in range(2):
            pack = build(chunks, self._compressor)
            announced = NewPack(hash=pack.hash, bytes=len(pack.data))
            try:
                patiently(self._transport.call, OPEN_PACK, announced, version_id=self._version)
                patiently(self._transport.upload, objects.PUT, pack.data, hash=pack.hash)
                patiently(self._transport.call, CLOSE_PACK, pack.contents, version_id=self._version, hash=pack.hash)
                break
            except (Invalid, NotFound):
                # It was damaged on its way, or is gone from the store: once more, under another name.
                if attempt:
                    raise
        with self._room:
            self.sent_chunks += len(chunks)
            self.sent_bytes += len(pack.data)
        self._done(sum(len(chunk.data) for chunk in chunks))
