"""What types cannot say of a body: integers fit into 64 bits, documents are finite and not too deep."""

import dataclasses
import types
import typing
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any

from larder.contract.errors import Invalid

LOWEST, HIGHEST = -(2**63), 2**63 - 1
DEEPEST = 100
"""Levels of lists and maps that a document may have; a reader's stack has an end, too."""

_LARGEST = 2**64 - 1  # what both JSON and MessagePack carry
Check = Callable[[Any, str], None]


def check(body: Any) -> None:
    """Raise Invalid, with the field, where the body of an endpoint holds what no store can hold."""
    found = _of_class(typing.cast(Hashable, type(body)))
    if found is not None:
        found(body, "")


def document(value: Any, field: str, depth: int = 0) -> None:
    """Invalid unless the value is made of maps with plain keys, lists, text, numbers, booleans and null."""
    if depth > DEEPEST:
        raise Invalid(f"{field} is nested more than {DEEPEST} deep", field=field)
    if isinstance(value, dict):
        for key, inner in value.items():
            if key is not None and not isinstance(key, str | int | float):  # these become text in JSON
                raise Invalid(f"{field} has a key that is a {type(key).__name__}", field=field)
            document(inner, field, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            document(inner, field, depth + 1)
    elif isinstance(value, int):
        if not LOWEST <= value <= _LARGEST:
            raise Invalid(f"{field} holds an integer that does not fit into 64 bits", field=field)
    elif value is not None and not isinstance(value, str | float):
        raise Invalid(f"{field} holds a {type(value).__name__}, which is no part of a document", field=field)


def _integer(value: int, field: str) -> None:
    if not LOWEST <= value <= HIGHEST:
        raise Invalid(f"{field} does not fit into 64 bits", field=field)


def _documents(values: dict[str, Any], field: str) -> None:
    for name, value in values.items():
        document(value, f"{field}.{name[:100]}")


@cache
def _of_class(kind: Hashable) -> Check | None:
    """The check of a dataclass; None when nothing of it needs one."""
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        return None
    hints = typing.get_type_hints(kind)
    checks = [(field.name, found) for field in dataclasses.fields(kind) if (found := _of_type(hints[field.name]))]
    if not checks:
        return None

    def check_fields(value: Any, field: str) -> None:
        for name, inner in checks:
            inner(getattr(value, name), f"{field}.{name}" if field else name)

    return check_fields


def _of_type(kind: Any) -> Check | None:
    if kind is int:
        return _integer
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType or origin is typing.Union:
        left = [argument for argument in arguments if argument is not type(None)]
        inner = _of_type(left[0]) if len(left) == 1 else None
        return None if inner is None else _optional(inner)
    if origin is dict and arguments[1] is Any:
        return _documents
    # plain lists of numbers are columns, which become arrays, and those refuse by themselves
    if origin is list and dataclasses.is_dataclass(arguments[0]):
        inner = _of_class(typing.cast(Hashable, arguments[0]))
        return None if inner is None else _each(inner)
    return _of_class(kind)


def _optional(inner: Check) -> Check:
    def check_optional(value: Any, field: str) -> None:
        if value is not None:
            inner(value, field)

    return check_optional


def _each(inner: Check) -> Check:
    def check_each(values: Sequence[Any], field: str) -> None:
        for index, value in enumerate(values):
            inner(value, f"{field}.{index}")

    return check_each
