"""Format, width and height of a picture by its first bytes; no library is needed for that. Pure."""

import struct

FORMATS = ("png", "jpeg", "gif", "webp", "bmp")
"""What is known; a fact keeps the place in this list."""

ENDINGS = {b"png": 0, b"jpg": 1, b"jpeg": 1, b"gif": 2, b"webp": 3, b"bmp": 4}

HEAD = 1 << 18
"""So many bytes are enough: only JPEG has its size behind other things, colours and thumbnails."""

_TWO = struct.Struct(">II").unpack_from
_TWO_SHORT = struct.Struct("<HH").unpack_from
_TWO_SIGNED = struct.Struct("<ii").unpack_from
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})


def size(data: bytes) -> tuple[int, int, int] | None:
    """Place of the format in `FORMATS`, width and height in pixels; None when it is no picture that we know."""
    try:
        found = _size(data)
    except (struct.error, IndexError):
        return None
    return found if found is not None and 0 < found[1] < 1 << 31 and 0 < found[2] < 1 << 31 else None


def _size(data: bytes) -> tuple[int, int, int] | None:
    begin = data[:2]
    if begin == b"\xff\xd8":
        return _jpeg(data)
    if begin == b"\x89P":
        return (0, *_TWO(data, 16)) if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" else None
    if begin == b"GI":
        return (2, *_TWO_SHORT(data, 6)) if data[:6] in (b"GIF87a", b"GIF89a") else None
    if begin == b"RI" and data[8:12] == b"WEBP":
        return _webp(data)
    if begin == b"BM":
        if struct.unpack_from("<I", data, 14)[0] == 12:
            return (4, *_TWO_SHORT(data, 18))
        width, height = _TWO_SIGNED(data, 18)
        return 4, width, abs(height)  # below zero it only says that the first line is the upper one
    return None


def _jpeg(data: bytes) -> tuple[int, int, int] | None:
    at = 2
    while data[at] == 0xFF:
        mark = data[at + 1]
        if mark in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return 1, width, height
        if mark == 0xFF:  # filling
            at += 1
        elif mark in _BARE:
            at += 2
        else:
            length = data[at + 2] << 8 | data[at + 3]
            if length < 2 or mark == 0xDA:
                return None
            at += 2 + length
    return None


def _webp(data: bytes) -> tuple[int, int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 3, 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return 3, 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = _TWO_SHORT(data, 26)
        return 3, width & 0x3FFF, height & 0x3FFF
    return None
