"""Packs: many chunks one after the other in one object, each as it is or packed by Zstandard."""

import os
import struct
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from blake3 import blake3

from larder.contract.datasets import PackIndex

MAGIC = b"LPK1"
"""The first bytes of a pack; twelve random ones follow, so that no two packs have one name."""

HEAD = 16

_LEVEL = 3
_SAMPLE = 4096
_LEAST = 128
"""Shorter chunks are kept as they are."""

_WORTH = 0.9
_DULL = 8
"""After so many chunks of a kind that do not get smaller, only each thirty-second is tried."""

_local = threading.local()


class Chunk(NamedTuple):
    """A chunk on its way: its hash, its bytes, and the kind of its file, which tells whether packing it pays."""

    hash: bytes
    data: bytes
    kind: bytes = b""


class Pack(NamedTuple):
    """A pack: its name, its bytes, and what lies in it."""

    hash: str
    data: bytes
    contents: PackIndex


class Compressor:
    """Packs chunks where that saves a tenth; learns which kinds of files it does not pay for. Safe between threads."""

    def __init__(self) -> None:
        self._dull: dict[bytes, int] = {}

    def pack(self, chunk: Chunk) -> bytes:
        """The bytes to keep: packed, or as they are (then they are as many as the chunk has)."""
        data = chunk.data
        if len(data) < _LEAST:
            return data
        dull = self._dull.get(chunk.kind, 0)
        if dull >= _DULL and dull % 32:
            self._dull[chunk.kind] = dull + 1
            return data
        compress = _tools()[0]
        # A long chunk is tried by a piece of its middle: what does not get smaller is found out for next to nothing.
        middle = len(data) // 2
        if len(data) > 2 * _SAMPLE and len(compress(data[middle : middle + _SAMPLE])) > _WORTH * _SAMPLE:
            self._dull[chunk.kind] = dull + 1
            return data
        packed: bytes = compress(data)
        if len(packed) > _WORTH * len(data):
            self._dull[chunk.kind] = dull + 1
            return data
        self._dull[chunk.kind] = 0
        return packed


def build(chunks: Sequence[Chunk], compressor: Compressor) -> Pack:
    """A pack of these chunks."""
    pieces = [MAGIC + os.urandom(HEAD - len(MAGIC))]
    pieces += [compressor.pack(chunk) for chunk in chunks]
    offsets, at = [], HEAD
    for piece in pieces[1:]:
        offsets.append(at)
        at += len(piece)
    count = f"<{len(chunks)}I"
    index = PackIndex(
        hashes=b"".join(chunk.hash for chunk in chunks),
        offsets=struct.pack(count, *offsets),
        lengths=struct.pack(count, *map(len, pieces[1:])),
        sizes=struct.pack(count, *(len(chunk.data) for chunk in chunks)),
    )
    data = b"".join(pieces)
    return Pack(blake3(data, max_threads=blake3.AUTO).hexdigest(), data, index)


def unpack(kept: "bytes | memoryview", size: int, hash: bytes) -> bytes | None:
    """The bytes of a chunk as it lies in a pack; None when they are damaged."""
    try:
        data = bytes(kept) if len(kept) == size else _tools()[1](kept, size)
    except Exception:  # the library has one kind of error, and it is not loaded where nothing is packed
        return None
    return data if len(data) == size and blake3(data).digest() == hash else None


def _tools() -> Any:
    """Compress and decompress of this thread: neither may be shared."""
    tools = getattr(_local, "tools", None)
    if tools is None:
        import zstandard  # late: who only reads what is not packed does not pay for it

        decompress = zstandard.ZstdDecompressor().decompress
        tools = _local.tools = (
            zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress,
            # A damaged frame must not claim more memory than the chunk has.
            lambda kept, size: _within(decompress, kept, size),
        )
    return tools


def _within(decompress: Any, kept: "bytes | memoryview", size: int) -> bytes:
    import zstandard

    if zstandard.frame_content_size(kept) != size:
        raise ValueError("another size")
    data: bytes = decompress(kept, max_output_size=size)
    return data
