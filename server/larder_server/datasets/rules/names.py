"""What datasets, tags, messages and paths may be. Pure."""

import re
from collections.abc import Sequence

import numpy as np

from larder.contract import addresses, paths
from larder.contract.errors import Invalid
from larder_server.datasets.rules.columns import Paths

LONGEST_TEXT = 10_000
MOST_TAGS = 100

# no part, or one of one or two dots, between two slashes or ends; an absolute path begins with such a part
_ODD = re.compile(rb"[\0/]\.{0,2}[/\0]")
_LONG = re.compile(rb"[^/\0]{%d}" % (paths.LONGEST_PART + 1))


def text(value: str, field: str) -> str:
    """A description or a message: at most 10,000 characters and no NUL, which PostgreSQL cannot hold."""
    if len(value) > LONGEST_TEXT or "\0" in value:
        raise Invalid(f"{field} has at most {LONGEST_TEXT} characters and no NUL", field=field)
    return value


def short(value: str, field: str) -> str:
    """A key, or the id of a run: at most 200 printable characters."""
    if len(value) > 200 or not value.isprintable():
        raise Invalid(f"{field} has at most 200 printable characters", field=field)
    return value


def tags(values: Sequence[str]) -> list[str]:
    """Tags, each once; Invalid when one cannot be."""
    if len(values) > MOST_TAGS:
        raise Invalid(f"a version gets at most {MOST_TAGS} tags at a time", field="tags")
    for value in values:
        addresses.check_label(value)
    return list(dict.fromkeys(values))


def check_paths(column: bytes) -> None:
    """Invalid, with the path, unless each of a column can stand in a tree."""
    if not column:
        return
    try:
        column.decode()
        fine = not _ODD.search(b"\0" + column) and not _LONG.search(column)
    except UnicodeDecodeError:
        fine = False
    if fine and int(np.diff(Paths(column).ends).max()) <= paths.LONGEST + 1:
        return
    for path in column.split(b"\0")[:-1]:
        paths.check_path(path)


def one_path(path: str) -> bytes:
    """The path of one entry; Invalid when no tree has such a one."""
    column = path.encode("utf-8", "surrogatepass")
    paths.check_path(column)
    return column


def folder(path: str) -> bytes:
    """The path of a folder, with a slash behind it; empty for the root."""
    column = path.strip("/").encode("utf-8", "surrogatepass")
    if not column:
        return b""
    paths.check_path(column)
    return column + b"/"
