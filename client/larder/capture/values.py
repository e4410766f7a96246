"""Overrides in the form in which a command line would have given them."""

import enum
import json
from typing import Any

from larder import params
from larder.contract.values import Param


def revived(override: Param, value: Any) -> Any:
    """An override in the type of the value it replaces, as well as that can be told from the value."""
    if isinstance(override, str) and isinstance(value, list | tuple | set | frozenset):
        inner = next(iter(value), None)
        return type(value)(revived(each, inner) for each in items(override))
    if isinstance(value, enum.Enum):
        return type(value)(override)
    if isinstance(value, bool):
        return truth(override)
    return params.revived(override, value)


def items(override: Param) -> list[Any]:
    """The elements of a list written as JSON, or separated by commas or blanks."""
    if not isinstance(override, str):
        return [override]
    try:
        parsed = json.loads(override)
    except ValueError:
        return override.replace(",", " ").split()
    return parsed if isinstance(parsed, list) else [parsed]


def truth(override: Param) -> bool:
    """A boolean, also when it was written as a word."""
    if isinstance(override, str):
        return override.strip().lower() in ("1", "true", "yes", "on", "y", "t")
    return bool(override)
