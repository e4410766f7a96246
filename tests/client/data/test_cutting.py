"""Where content is cut never changes, however it arrives."""

import random

import pytest
from blake3 import blake3

from larder.contract.datasets import LARGEST_CHUNK, LEAST_CHUNK
from larder.data.cutting import Cutter, lengths

# Boundaries of 32 MiB of `random.Random(7)`. A change here means that nothing stored before is found again: a release of
# the library that moves them must not be taken.
GOLDEN = [
    1541168, 1564819, 1182347, 1903461, 1082757, 1194038, 1814544, 1165091, 1187386, 1134142, 1271194, 1345853, 1376012,
    1059345, 1103270, 1138652, 1183224, 1278973, 2064713, 1638664, 1320541, 448850, 1093220, 1097096, 1189346, 1175726,
]  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return random.Random(7).randbytes(32 << 20)


def cut(data, step):
    cutter = Cutter()
    chunks = []
    for at in range(0, len(data), step):
        chunks += cutter.feed(data[at : at + step])
    return [*chunks, *cutter.finish()]


def test_the_boundaries_are_those_of_all_releases(data):
    assert list(lengths(data)) == GOLDEN


@pytest.mark.parametrize("step", [4 << 20, 777_777, 32 << 20])
def test_a_stream_is_cut_like_the_whole(data, step):
    chunks = cut(data, step)
    assert [len(chunk) for chunk in chunks] == GOLDEN
    assert b"".join(chunks) == data


def test_an_edit_in_the_middle_changes_few_chunks(data):
    before = {blake3(chunk).digest() for chunk in cut(data, 4 << 20)}
    edited = data[: 16 << 20] + b"a few bytes more" + data[16 << 20 :]
    new = [chunk for chunk in cut(edited, 4 << 20) if blake3(chunk).digest() not in before]
    assert 1 <= len(new) <= 2


def test_chunks_stay_within_their_limits():
    chunks = cut(bytes(20 << 20), 1 << 20)
    assert {len(chunk) for chunk in chunks} == {LARGEST_CHUNK}
    assert all(LEAST_CHUNK <= length <= LARGEST_CHUNK for length in GOLDEN[:-1])


def test_nothing_has_no_chunk():
    assert list(lengths(b"")) == []
    assert list(Cutter().finish()) == []
