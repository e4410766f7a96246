"""Ids are UUIDv7 (RFC 9562): sortable by creation time and unguessable."""

import os
import time


def new_id() -> str:
    """A fresh UUIDv7: 48 bits of Unix milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_id(text: str) -> bool:
    """Whether `text` has the shape of an id: 36 lower-case characters, hexadecimal with dashes."""
    return (
        len(text) == 36
        and [index for index, character in enumerate(text) if character == "-"] == [8, 13, 18, 23]
        and all(character in "0123456789abcdef-" for character in text)
    )
