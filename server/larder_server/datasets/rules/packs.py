"""What lies in a pack: 16 bytes of head, then chunks one after the other, each as it is or packed by Zstandard. Pure."""

from dataclasses import dataclass

import numpy as np
import zstandard
from blake3 import blake3

from larder.contract.datasets import LARGEST_CHUNK, MOST_ENTRIES, PackIndex
from larder.contract.errors import Invalid

HEAD = 16
MAGIC = b"LPK1"
LARGEST = 64 << 20
"""Bytes that a pack may have."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """The chunks of a pack."""

    hashes: list[bytes]
    places: list[int]
    lengths: list[int]
    sizes: list[int]


def index(order: PackIndex, *, length: int) -> Index:
    """What an index says; Invalid when it makes no sense for a pack of that length."""
    count, rest = divmod(len(order.hashes), 32)
    if rest or not count:
        raise Invalid("a pack holds at least one chunk; hashes have 32 bytes each", field="hashes")
    if count > MOST_ENTRIES:
        raise Invalid(f"a pack holds at most {MOST_ENTRIES:,} chunks, not {count:,}", field="hashes")
    for field in ("offsets", "lengths", "sizes"):
        if len(getattr(order, field)) != 4 * count:
            raise Invalid(f"there are {count} chunks, so {field} has {4 * count} bytes", field=field)
    places, lengths, sizes = (
        np.frombuffer(column, "<u4").astype(np.int64) for column in (order.offsets, order.lengths, order.sizes)
    )
    if int(places.min()) < HEAD or int((places + lengths).max()) > length:
        raise Invalid(f"a chunk lies outside of the pack, which has {length} bytes", field="offsets")
    if int(sizes.max()) > LARGEST_CHUNK:
        raise Invalid(f"a chunk has at most {LARGEST_CHUNK} bytes", field="sizes")
    if bool((lengths > sizes).any()):
        raise Invalid("a chunk takes no more bytes in a pack than it has", field="lengths")
    hashes = [order.hashes[place : place + 32] for place in range(0, 32 * count, 32)]
    return Index(hashes=hashes, places=places.tolist(), lengths=lengths.tolist(), sizes=sizes.tolist())


def check(data: bytes, found: Index, *, name: str) -> None:
    """Invalid, with the chunk, unless each chunk is what its hash says."""
    if data[:4] != MAGIC:
        raise Invalid(f"the object {name[:12]}… is no pack", field="hash")
    view = memoryview(data)
    expand = zstandard.ZstdDecompressor()
    for hash, place, length, size in zip(found.hashes, found.places, found.lengths, found.sizes, strict=True):
        stored = view[place : place + length]
        if (chunk := _chunk(expand, stored, size)) is None or blake3(chunk).digest() != hash:
            raise Invalid(f"the chunk {hash.hex()[:12]}… of the pack {name[:12]}… is not what its hash says",
                          field="hashes", hint="send it again in a new pack")  # fmt: skip


def chunk(stored: bytes | memoryview, *, size: int, hash: bytes) -> bytes | None:
    """A chunk out of what is stored of it; None when it is damaged."""
    found = _chunk(zstandard.ZstdDecompressor(), stored, size)
    return bytes(found) if found is not None and blake3(found).digest() == hash else None


def _chunk(expand: zstandard.ZstdDecompressor, stored: "bytes | memoryview", size: int) -> "bytes | memoryview | None":
    if len(stored) == size:
        return stored
    try:
        # the size that a frame claims is not believed: it says how much memory is taken
        if zstandard.frame_content_size(bytes(stored[:18])) not in (size, -1):
            return None
        found = expand.decompress(stored, max_output_size=size)
    except zstandard.ZstdError:
        return None
    return found if len(found) == size else None
