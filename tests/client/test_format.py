"""Frames: what was written is read back; what is torn or damaged is never taken for a record."""

import math
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from larder.journal import format, reader

numbers = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.booleans(), st.none())
documents = st.recursive(
    st.one_of(numbers, st.text(max_size=300), st.binary(max_size=40)),
    lambda inner: st.one_of(st.lists(inner, max_size=20), st.dictionaries(st.text(max_size=40), inner, max_size=20)),
    max_leaves=40,
)
payloads = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=12)


def framed(each: list[bytes]) -> bytes:
    return b"".join(format.frame(payload) for payload in each)


def read(data: bytes) -> list[bytes]:
    return [bytes(payload) for _, payload in format.frames(data)]


@given(documents)
def test_what_is_encoded_is_messagepack(document: Any) -> None:
    assert msgspec.msgpack.decode(format.encode(document)) == document


@given(
    st.dictionaries(st.text(min_size=1, max_size=300), st.floats(), min_size=1, max_size=40),
    st.integers(0, 2**62),
    st.integers(-(2**62), 2**62),
)
def test_points_are_the_record_that_they_stand_for(metrics: dict[str, float], time: int, step: int) -> None:
    payload = format.points(tuple(metrics))(time, step, metrics.values())
    kind, told, at, values = reader.decode(payload)
    assert (kind, told, at) == (format.POINTS, time, step)
    assert list(values) == list(metrics)
    assert all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(values.values(), metrics.values(), strict=True)
    )


def test_points_refuse_what_is_no_number() -> None:
    with pytest.raises(struct.error):
        format.points(("a",))(1, 2, ["high"])


def test_what_has_no_form_becomes_its_text() -> None:
    document = {"a": {1, 1}, "b": object, 3: 2**70, "c": "\udcff"}
    assert msgspec.msgpack.decode(format.encode(document)) == {
        "a": [1],
        "b": "<class 'object'>",
        "3": str(2**70),
        "c": "?",
    }


@given(payloads)
def test_frames_come_back(each: list[bytes]) -> None:
    assert read(framed(each)) == each


@given(payloads, st.data())
def test_a_torn_end_costs_the_last_record_only(each: list[bytes], data: st.DataObject) -> None:
    whole = framed(each)
    cut = data.draw(st.integers(0, len(whole)))
    kept = read(whole[:cut])
    assert kept == each[: len(kept)]
    assert len(framed(each[: len(kept) + 1])) > cut or kept == each


@given(payloads, st.data())
def test_a_damaged_byte_never_makes_a_record_of_other_content(each: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(framed(each))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    kept = read(bytes(whole))
    assert kept == each[: len(kept)]
    assert len(kept) < len(each)


@given(payloads, st.integers(0, 64))
def test_a_hole_of_zeros_holds_no_records(each: list[bytes], zeros: int) -> None:
    assert read(framed(each) + bytes(zeros)) == each


def test_reading_goes_on_after_damage() -> None:
    first, second, third = (format.frame(text) for text in (b"one", b"two", b"three"))
    damaged = bytearray(first + second + third)
    damaged[len(first) + 9] ^= 1
    assert reader.resume(bytes(damaged), len(first)) == len(first) + len(second)
    assert reader.resume(first + second[:-1], len(first)) is None
