"""Parameters: any nested configuration becomes flat names with plain values, and overrides find their way back in."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from larder.contract.values import Param

MASK = "***"
LONGEST = 8000
"""Characters of a value that are kept."""

_SECRET = re.compile(
    r"(?i)(passw(or)?d|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|(?<!pad_)(?<!eos_)(?<!bos_)(?<!unk_)(?<!sep_)(?<!cls_)(?<!mask_)(?<![a-z])token$|credential)"
)


def flat(configuration: Any) -> dict[str, Any]:
    """Nested mappings, dataclasses, namespaces and OmegaConf as one level, names joined by dots; values as they are."""
    found: dict[str, Any] = {}
    for path, value in _leaves(configuration, (), 0):
        found[".".join(path)] = value
    return found


def plain(value: Any) -> Param:
    """A value as a parameter: what is no number and no text becomes JSON or its text."""
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str:
        return _short(value)
    if kind is int or kind is float:
        return value if kind is float or -(2**63) <= value < 2**63 else str(value)
    for base in (bool, int, float, str):
        if isinstance(value, base):
            enumerated = getattr(value, "value", value)
            return plain(base(enumerated if isinstance(enumerated, base) else value))
    if hasattr(value, "value") and type(value).__class__.__name__ in ("EnumMeta", "EnumType"):
        return plain(value.value)
    if isinstance(value, os.PathLike):
        return _short(os.fspath(value))
    if isinstance(value, list | tuple | set | frozenset):
        try:
            return _short(json.dumps([plain(each) for each in value]))
        except (TypeError, ValueError):
            return _short(str(value))
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        return plain(value.item())
    if isinstance(value, type) or callable(value):
        return _short(getattr(value, "__qualname__", None) or type(value).__qualname__)
    return _short(str(value))


def recorded(name: str, value: Any) -> Param:
    """The value as it is recorded: secrets are masked by their name."""
    chosen = plain(value)
    if chosen in (None, "") or isinstance(chosen, bool) or not _SECRET.search(name):
        return chosen
    return chosen if name.lower().endswith("token") and not isinstance(chosen, str) else MASK


def revived(override: Param, value: Any) -> Any:
    """An override in the type of the value that it replaces, where that can be told."""
    if isinstance(override, str) and not isinstance(value, str):
        if isinstance(value, bool):
            return override.strip().lower() in ("1", "true", "yes", "on")
        if isinstance(value, int | float):
            try:
                number = float(override)
            except ValueError:
                return override
            return int(number) if isinstance(value, int) and number.is_integer() else number
        if isinstance(value, list | tuple):
            try:
                parsed = json.loads(override)
            except ValueError:
                return override
            return type(value)(parsed) if isinstance(parsed, list) else override
        if isinstance(value, os.PathLike):
            return type(value)(override)  # type: ignore[call-arg]
    if isinstance(value, int) and not isinstance(value, bool) and isinstance(override, float) and override.is_integer():
        return int(override)
    if type(value) is float and type(override) is int:
        return float(override)
    return override


def put(configuration: Any, name: str, value: Any) -> bool:
    """Sets the flat `name` inside a nested configuration, in place; whether that could be done."""
    owner, _, last = _owner(configuration, name)
    if owner is None:
        return False
    try:
        if isinstance(owner, MutableMapping) or hasattr(owner, "__setitem__"):
            owner[last] = value
        else:
            setattr(owner, last, value)
    except Exception:  # frozen or read-only things stay as they are; the run's own `params` has the value
        return False
    return True


def _owner(configuration: Any, name: str) -> tuple[Any, str, str]:
    """The innermost thing that holds `name`: a key may itself contain dots, so the longest match wins."""
    if _has(configuration, name):
        return configuration, "", name
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        head, tail = ".".join(parts[:cut]), ".".join(parts[cut:])
        if _has(configuration, head):
            inner = configuration[head] if isinstance(configuration, Mapping) else getattr(configuration, head)
            found = _owner(inner, tail)
            if found[0] is not None:
                return found
    return None, "", ""


def _has(thing: Any, name: str) -> bool:
    if isinstance(thing, Mapping):
        return name in thing
    return name in _attributes(thing)


def _leaves(value: Any, path: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = _inside(value) if depth < 20 else None
    if inner is None or (not inner and path):
        if path:
            yield path, str(value) if inner is not None else value
        return
    for key, each in inner.items():
        yield from _leaves(each, (*path, str(key)), depth + 1)


def _inside(value: Any) -> dict[Any, Any] | None:
    if isinstance(value, Mapping):
        return dict(value)
    module = type(value).__module__
    if module.startswith("omegaconf.") and "omegaconf" in sys.modules:
        container = sys.modules["omegaconf"].OmegaConf.to_container(value, resolve=True)
        return container if isinstance(container, dict) else None
    if hasattr(type(value), "__dataclass_fields__") or type(value).__name__ in ("Namespace", "SimpleNamespace"):
        return _attributes(value)
    if callable(getattr(type(value), "model_dump", None)):  # pydantic
        dumped = value.model_dump()
        return dumped if isinstance(dumped, dict) else None
    return None


def _attributes(thing: Any) -> dict[str, Any]:
    fields = getattr(type(thing), "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(thing, name) for name in fields if hasattr(thing, name)}
    own = getattr(thing, "__dict__", None)
    return {name: value for name, value in own.items() if not name.startswith("_")} if isinstance(own, dict) else {}


def _short(text: str) -> str:
    # Lone surrogates (file names that are no UTF-8) cannot travel.
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
