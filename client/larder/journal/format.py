"""A journal is eight bytes of magic, then frames: length and CRC-32 of the payload, little endian, then the payload.

A payload is a MessagePack array: the kind of record, the time in UTC microseconds, and what the kind needs. Offsets
are positions in the file. A frame of no length does not exist, so a hole of zeros is never taken for records.

Only the standard library is used here: a training process writes, and pays for no library that it does not itself use.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

MAGIC = b"LARDERJ1"
HEADER = struct.Struct("<II")
MAX_PAYLOAD = 64 << 20

POINTS = 1
CONSOLE = 2
FACT = 3
PARAMS = 4
TAGS = 5
SET = 6
ARTIFACT = 7
OPEN = 8
END = 9

SUFFIX = ".journal"
DRAFT = ".draft"
ACK = ".ack"

_HEAD = HEADER.size
_unpack = HEADER.unpack_from
_pack = HEADER.pack
_crc32 = zlib.crc32
_pack_float = struct.Struct(">Bd").pack
_pack_unsigned = struct.Struct(">BQ").pack
_pack_signed = struct.Struct(">Bq").pack


class TooLong(ValueError):
    """A record is longer than a journal takes."""


def frame(payload: bytes) -> bytes:
    """The bytes of one record in a journal."""
    if len(payload) > MAX_PAYLOAD:
        raise TooLong(f"a record of {len(payload)} bytes is longer than a journal takes ({MAX_PAYLOAD})")
    return _pack(len(payload), _crc32(payload)) + payload


def frames(data: bytes, position: int = 0) -> Iterator[tuple[int, memoryview]]:
    """Payloads from `position` on, each with the position after it; stops at a torn or damaged frame."""
    view = memoryview(data)
    size = len(data)
    while position + _HEAD <= size:
        length, checksum = _unpack(data, position)
        start = position + _HEAD
        position = start + length
        if not length or position > size:
            return
        payload = view[start:position]
        if _crc32(payload) != checksum:
            return
        yield position, payload


def points(names: "tuple[str, ...]") -> Callable[..., bytes]:
    """A function of time, step and values that makes the payload of a record of points under these names.

    It takes as value whatever knows how to become a float, and raises `struct.error` for anything else.
    """
    parts = ["3s", "Q", "s", "q"]
    arguments: list[Any] = [b"\x94\x01\xcf", 0, b"\xd3", 0]
    before = _map_head(len(names))
    for name in names:
        before += _text(name) + b"\xcb"
        parts += [f"{len(before)}s", "d"]
        arguments += [before, 0.0]
        before = b""
    pack = struct.Struct(">" + "".join(parts)).pack

    def payload(time: int, step: int, values: Any) -> bytes:
        filled = arguments.copy()
        filled[1] = time
        filled[3] = step
        filled[5::2] = values
        return pack(*filled)

    return payload


def encode(value: Any) -> bytes:
    """MessagePack; what it has no form for becomes its text."""
    parts: list[bytes] = []
    _encode(value, parts)
    return b"".join(parts)


def acknowledged(path: Path) -> int:
    """The offset in an acknowledgement file; 0 when there is none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    return int.from_bytes(data, "little") if len(data) == 8 else 0


def count(path: Path, offset: int) -> int:
    """How many whole records of a journal follow `offset`."""
    found = 0
    with path.open("rb") as file:
        position = offset or len(MAGIC)
        while True:
            file.seek(position)
            start = position
            for end, _ in frames(file.read(MAX_PAYLOAD + _HEAD)):
                found += 1
                position = start + end
            if position == start:
                return found


def _encode(value: Any, parts: list[bytes]) -> None:
    kind = type(value)
    if kind is str:
        parts.append(_text(value))
    elif value is None:
        parts.append(b"\xc0")
    elif kind is bool:
        parts.append(b"\xc3" if value else b"\xc2")
    elif kind is int:
        parts.append(_int(value))
    elif kind is float:
        parts.append(_pack_float(0xCB, value))
    elif isinstance(value, Mapping):
        parts.append(_map_head(len(value)))
        for key, inner in value.items():
            parts.append(_text(str(key)))
            _encode(inner, parts)
    elif isinstance(value, list | tuple | set | frozenset):
        size = len(value)
        parts.append(bytes((0x90 | size,)) if size < 16 else b"\xdd" + size.to_bytes(4))
        for inner in value:
            _encode(inner, parts)
    elif isinstance(value, bytes | bytearray):
        parts.append(b"\xc6" + len(value).to_bytes(4) + value)
    elif isinstance(value, str):
        parts.append(_text(str(getattr(value, "value", value))))
    elif isinstance(value, int):
        parts.append(_int(int(value)))
    elif isinstance(value, float):
        parts.append(_pack_float(0xCB, value))
    elif getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        _encode(value.item(), parts)
    else:
        parts.append(_text(str(value)))


def _int(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes((value,))
    if value < 0:
        return _pack_signed(0xD3, value) if value >= -(2**63) else _text(str(value))
    return _pack_unsigned(0xCF, value) if value < 2**64 else _text(str(value))


def _text(text: str) -> bytes:
    # Lone surrogates, as in file names that are no UTF-8, would not arrive.
    raw = text.encode("utf-8", "replace")
    size = len(raw)
    if size < 32:
        return bytes((0xA0 | size,)) + raw
    return (b"\xd9" + size.to_bytes(1) if size < 256 else b"\xdb" + size.to_bytes(4)) + raw


def _map_head(size: int) -> bytes:
    return bytes((0x80 | size,)) if size < 16 else b"\xdf" + size.to_bytes(4)
