"""Ids are UUIDv7 (RFC 9562): sortable by creation time and unguessable."""

import os
import time


def new_id() -> str:
    """A fresh UUIDv7: 48 bits of Unix milliseconds, 12 bits of the fraction of one, 62 random bits.

    The fraction (RFC 9562, section 6.2, method 3) keeps ids made within one millisecond in their order.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8)) >> 2
    value = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_id(text: str) -> bool:
    """Whether `text` has the shape of an id: 36 lower-case characters, hexadecimal with dashes."""
    return (
        len(text) == 36
        and [index for index, character in enumerate(text) if character == "-"] == [8, 13, 18, 23]
        and all(character in "0123456789abcdef-" for character in text)
    )
