"""What a run needs of a machine, as people write it: `gpus=1,memory=8GB,label.site=lab`."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from larder.contract.errors import Invalid
from larder.contract.queues import Needs

EXECUTORS = ("process", "container")
"""Executors by name."""

_LABEL = "label."
_SIZES = {
    "": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12,
    "ki": 2**10, "kib": 2**10, "mi": 2**20, "mib": 2**20, "gi": 2**30, "gib": 2**30, "ti": 2**40, "tib": 2**40,
}  # fmt: skip
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_TIME = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_TIME_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


def parse(text: str, *, base: Needs | None = None) -> Needs:
    """The needs that `text` says, over those of `base`.

    Parts are separated by commas: `cpus=2.5`, `memory=8GB`, `gpus=1`, `gpu_memory=10GiB`, `executor=container`,
    `image=IMAGE`, `time=2h` (or `seconds=…`), and `label.NAME=VALUE` for each label. GB are 10⁹ bytes, GiB 2³⁰.
    Raises Invalid with a sentence.
    """
    return _read([part for part in text.split(",") if part.strip()], base or Needs())


def of(given: "Needs | str | Mapping[str, Any] | None") -> Needs | None:
    """Needs as the SDK takes them: themselves, a text, or a mapping of the same names (`labels` a mapping)."""
    if given is None or isinstance(given, Needs):
        return given
    if isinstance(given, str):
        return parse(given)
    labels = given.get("labels") or {}
    parts = [f"{name}={value}" for name, value in given.items() if name != "labels"]
    return _read([*parts, *(f"{_LABEL}{name}={value}" for name, value in labels.items())], Needs())


def size(text: str, name: str = "size") -> int:
    """Bytes: `8GB`, `512MiB`, `1.5g` or a plain number."""
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None or found[2] not in _SIZES:
        raise Invalid(f"{name}={text} is no size.", hint="Say it like 8GB or 512MiB.")
    return round(float(found[1]) * _SIZES[found[2]])


def seconds(text: str, name: str = "time") -> float:
    """Seconds: `90s`, `15m`, `2h`, `1h30m`, `3d` or a plain number of seconds."""
    text = text.strip().lower()
    if _TIME.fullmatch(text):
        return sum(float(number) * _SECONDS[unit] for number, unit in _TIME_PART.findall(text))
    try:
        return _number(name, text)
    except Invalid:
        raise Invalid(f"{name}={text} is no length of time.", hint="Say it like 90s, 15m, 2h or 1h30m.") from None


def show(needs: Needs) -> str:
    """The text that `parse` reads as these needs; empty where nothing is needed."""
    parts = [f"cpus={needs.cpus:g}"] if needs.cpus else []
    parts += [f"memory={_shown(needs.memory)}"] if needs.memory else []
    parts += [f"gpus={needs.gpus}"] if needs.gpus else []
    parts += [f"gpu_memory={_shown(needs.gpu_memory)}"] if needs.gpu_memory else []
    parts += [f"{name}={value}" for name, value in (("executor", needs.executor), ("image", needs.image)) if value]
    parts += [f"{_LABEL}{name}={value}" for name, value in sorted(needs.labels.items())]
    parts += [f"time={_clock(needs.seconds)}"] if needs.seconds else []
    return ",".join(parts)


def _read(parts: Iterable[str], found: Needs) -> Needs:
    seen: set[str] = set()
    for part in parts:
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign or not value:
            raise Invalid(f"{part.strip()!r} is no need.", hint="Say NAME=VALUE, such as gpus=1,memory=8GB.")
        if name in seen:
            raise Invalid(f"The need {name} is said twice.")
        seen.add(name)
        if name.startswith(_LABEL) and len(name) > len(_LABEL):
            found = replace(found, labels={**found.labels, name[len(_LABEL) :]: value})
        elif name in _PARSERS:
            field, parser = _PARSERS[name]
            found = replace(found, **{field: parser(name, value)})
        else:
            known = ", ".join((*(key for key in _PARSERS if key != "seconds"), "label.NAME"))
            raise Invalid(f"There is no need {name!r}.", hint=f"There are: {known}.")
    return found


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise Invalid(f"{name}={text} is no number from 0.")
    return number


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Invalid(f"{name}={text} is no whole number from 0.")
    return int(text)


def _executor(name: str, text: str) -> str:
    if text not in EXECUTORS:
        raise Invalid(f"There is no executor {text!r}.", hint=f"There are: {', '.join(EXECUTORS)}.")
    return text


def _shown(size: int) -> str:
    for unit in ("TB", "TiB", "GB", "GiB", "MB", "MiB", "KB", "KiB"):
        whole, rest = divmod(size, _SIZES[unit.lower()])
        if whole and not rest:
            return f"{whole}{unit}"
    return str(size)


def _clock(length: float) -> str:
    for unit in ("d", "h", "m"):
        whole, rest = divmod(length, _SECONDS[unit])
        if whole and not rest:
            return f"{whole:.0f}{unit}"
    return f"{length!r}".removesuffix(".0") + "s" if length < 1e15 else f"{length!r}"


_PARSERS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "cpus": ("cpus", _number),
    "memory": ("memory", lambda name, text: size(text, name)),
    "gpus": ("gpus", _count),
    "gpu_memory": ("gpu_memory", lambda name, text: size(text, name)),
    "executor": ("executor", _executor),
    "image": ("image", lambda _, text: text),
    "time": ("seconds", lambda name, text: seconds(text, name)),
    "seconds": ("seconds", lambda name, text: seconds(text, name)),
}
