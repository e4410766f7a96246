"""Lists of values in a statement: a few lengths only, so that few different statements have to be prepared."""

from collections.abc import Iterator, Sequence
from typing import Any

LONGEST = 1_024


def bound(name: str, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """`:name0, :name1, …` and what they stand for; the last value is repeated up to the next power of two."""
    length = 1 << (len(values) - 1).bit_length()
    padded = [*values, *([values[-1]] * (length - len(values)))]
    return ", ".join(f":{name}{index}" for index in range(length)), {
        f"{name}{index}": value for index, value in enumerate(padded)
    }


def pieces(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The values in pieces that fit into one statement."""
    for start in range(0, len(values), LONGEST):
        yield values[start : start + LONGEST]
