"""A pack gives back what was put in, and nothing that was damaged."""

import os
import struct

from blake3 import blake3

from larder.data.packing import HEAD, MAGIC, Chunk, Compressor, build, unpack


def chunk(data, kind=b""):
    return Chunk(blake3(data).digest(), data, kind)


def unpacked(pack):
    index = pack.contents
    count = f"<{len(index.hashes) // 32}I"
    columns = (struct.unpack(count, each) for each in (index.offsets, index.lengths, index.sizes))
    for number, (offset, length, size) in enumerate(zip(*columns, strict=True)):
        yield unpack(pack.data[offset : offset + length], size, index.hashes[number * 32 : number * 32 + 32])


def test_chunks_come_back():
    contents = [b"", b"a", os.urandom(5000), b"text " * 10_000, bytes(1 << 20)]
    pack = build([chunk(each) for each in contents], Compressor())
    assert list(unpacked(pack)) == contents
    assert pack.data[:4] == MAGIC and blake3(pack.data).hexdigest() == pack.hash
    assert len(pack.data) < HEAD + 5000 + 3000


def test_two_packs_never_have_one_name():
    one, two = (build([chunk(b"same")], Compressor()) for _ in range(2))
    assert one.hash != two.hash


def test_what_does_not_get_smaller_is_kept_as_it_is():
    data = os.urandom(20_000)
    assert Compressor().pack(chunk(data)) is data


def test_a_kind_that_never_gets_smaller_is_hardly_tried():
    compressor = Compressor()
    for _ in range(40):
        compressor.pack(chunk(os.urandom(9000), b".jpg"))
    text = chunk(b"text " * 10_000, b".jpg")
    tried = [len(compressor.pack(text)) < len(text.data) for _ in range(40)]
    assert True in tried and tried.index(True) > 0, "of many only some are tried, and one that pays is found"
    assert len(compressor.pack(chunk(b"text " * 10_000, b".txt"))) < 1000, "other kinds are not concerned"


def test_damaged_chunks_are_not_answered():
    data = b"text " * 1000
    hash = blake3(data).digest()
    packed = Compressor().pack(chunk(data))
    assert unpack(packed, len(data), hash) == data
    assert unpack(packed[:-1] + b"\0", len(data), hash) is None
    assert unpack(packed[: len(packed) // 2], len(data), hash) is None
    assert unpack(b"no frame", len(data), hash) is None
    assert unpack(data[:-1] + b"!", len(data), hash) is None


def test_a_frame_that_claims_more_than_its_chunk_has_is_not_unpacked():
    bomb = Compressor().pack(chunk(bytes(1 << 24)))
    assert unpack(bomb, 1000, blake3(bytes(1 << 24)).digest()) is None
