"""How people write a data version: `[project/]name[@v3 | @alias | @tag | @id]`."""

import re
from dataclasses import dataclass

from larder.contract.errors import Invalid
from larder.contract.ids import is_id

HINT = "Write [project/]name, name@v3, name@ALIAS or name@TAG."

_NAME = re.compile(r"[\w][\w .+-]{0,126}\Z")
_NUMBER = re.compile(r"v([1-9][0-9]{0,8})\Z")


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """The parts of an address. At most one of `number`, `id`, `label` says which version; none of them: the newest."""

    name: str
    project: str = ""
    number: int = 0
    id: str = ""
    label: str = ""
    """An alias or a tag; an alias goes first."""


def parse(address: str) -> Parsed:
    """The parts of an address; Invalid when it is none."""
    text = address.strip()
    where, at, which = text.partition("@")
    project, _, name = where.rpartition("/")
    if at and not which:
        raise Invalid(f"{address!r} says no version behind the @.", field="address", hint=HINT)
    if not name and is_id(which) and not project:
        return Parsed(name="", id=which)
    if is_id(text):
        return Parsed(name="", id=text)
    check_name(name, what=f"{address!r} is no address of a data version: its name")
    if project and not (
        project.isprintable() and len(project) <= 200 and ".." not in project and project.strip("/") == project
    ):
        raise Invalid(f"{address!r} is no address of a data version.", field="address", hint=HINT)
    number = _NUMBER.match(which)
    if number:
        return Parsed(project=project, name=name, number=int(number[1]))
    if is_id(which):
        return Parsed(project=project, name=name, id=which)
    if which:
        check_label(which)
    return Parsed(project=project, name=name, label=which)


def check_name(name: str, *, what: str = "") -> None:
    """Invalid when a dataset cannot be called so."""
    if not _NAME.match(name) or is_id(name):
        raise Invalid(
            f"{what or f'{name!r} as the name of a dataset'} must begin with a letter or a digit, have at most 127"
            " characters, and among them only letters, digits, spaces and . _ + -",
            field="name",
        )


def check_label(label: str) -> None:
    """Invalid when a tag or an alias cannot be called so: `v3` and ids are taken, they name versions themselves."""
    if not _NAME.match(label) or _NUMBER.match(label) or is_id(label):
        raise Invalid(
            f"{label!r} cannot be a tag or an alias: it needs a letter or digit first, then letters, digits, spaces or"
            " . _ + -, and may not look like a version number (v3).",
            field="label",
        )
