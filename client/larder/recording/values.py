"""What user code hands over, as a journal takes it: numbers, steps, names."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST_NAME = 500


def now() -> int:
    """The time of this machine, in UTC microseconds."""
    return time.time_ns() // 1000


def flat(metrics: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """Metrics by flat name: nested mappings join their names with `/`."""
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{path}{key}/")
        else:
            yield f"{path}{key}", value


def number(value: Any) -> float:
    """A metric as a float; TypeError when it is none."""
    if isinstance(value, int | float):
        return float(value)
    item = getattr(value, "item", None)
    if callable(item):
        value = item()
    if isinstance(value, str | bytes) or value is None:
        raise TypeError(f"a {type(value).__name__} is no number")
    return float(value)


def whole(step: Any) -> int:
    """A step as an int; ValueError when it is none."""
    item = getattr(step, "item", None)
    if callable(item):
        step = item()
    if isinstance(step, int):
        return int(step)
    found = number(step)
    if not found.is_integer():
        raise ValueError(f"a step is a whole number, not {found}")
    return int(found)


def key(name: str) -> str:
    """The name of a metric or parameter; ValueError when it cannot be one."""
    text = str(name)
    if not text or len(text) > LONGEST_NAME or not text.isprintable():
        raise ValueError(f"a name is 1 to {LONGEST_NAME} printable characters, not {text[:60]!r}")
    return text


def printable(text: str, what: str) -> str:
    """A name or tag in one line; what cannot be printed is a space."""
    cleaned = "".join(character if character.isprintable() else " " for character in str(text)).strip()[:LONGEST_NAME]
    if not cleaned:
        raise ValueError(f"the {what} is empty")
    return cleaned


def artifact_name(name: str) -> str:
    """The name of an artifact, which may be a path inside the run and not outside."""
    text = key(name)
    if text.startswith("/") or "\\" in text or any(part in ("", ".", "..") for part in text.split("/")):
        raise ValueError(f"{text!r} names no place inside the run")
    return text


def stem(name: str) -> str:
    """The last part of a name."""
    return str(name).rsplit("/", 1)[-1]
