"""Which paths a data version may hold. A path that means different things on different machines is refused, by name.

The same rules hold where a folder is read, where the server stores a tree, and where a tree is laid out.
"""

from collections.abc import Iterable

from larder.contract.errors import Invalid

LONGEST = 4096
"""Bytes of the longest path."""

LONGEST_PART = 255
"""Bytes of the longest name of a file or folder: no file system has more."""


def path_problem(path: bytes) -> str:
    """What is wrong with a path of a tree, as the end of a sentence that begins with the path; empty when it is fine."""
    if not path:
        return "is empty"
    if len(path) > LONGEST:
        return f"is longer than {LONGEST} bytes"
    if b"\0" in path:
        return "has a NUL in it"
    try:
        path.decode()
    except UnicodeDecodeError:
        return "is not in UTF-8"
    if path[0] == 47:
        return "is absolute; paths are relative to the root of the version"
    for part in path.split(b"/"):
        if part == b"..":
            return "has `..` in it, which leads out of its folder"
        if part in (b"", b"."):
            return "has an empty part or `.` in it"
        if len(part) > LONGEST_PART:
            return f"has a name of more than {LONGEST_PART} bytes in it"
    return ""


def check_path(path: bytes) -> None:
    """Invalid when a tree cannot hold the path."""
    problem = path_problem(path)
    if problem:
        raise Invalid(f"The path {shown(path)} {problem}.", field="path", hint="Rename it and try again.")


def tree_problem(paths: Iterable[bytes], *, cases: bool = False) -> str:
    """What is wrong with the paths of a tree together, in one sentence; empty when nothing is.

    A path may not be a folder of another. Paths that differ only in upper and lower case fall on one another on some
    machines; `cases` allows them.
    """
    found = set(paths)
    seen: set[bytes] = set()
    for path in found:
        parent = path.rpartition(b"/")[0]
        while parent and parent not in seen:
            if parent in found:
                return f"{shown(parent)} is a file and also the folder of {shown(path)}."
            seen.add(parent)
            parent = parent.rpartition(b"/")[0]
    if cases:
        return ""
    # Folders may clash as well: A/x and a/y are one folder where case does not count.
    every = found | seen
    folded: dict[str, bytes] = {}
    texts = {path.decode("utf-8", "replace").casefold() for path in every}
    if len(texts) == len(every):
        return ""
    for path in sorted(every):
        other = folded.setdefault(path.decode("utf-8", "replace").casefold(), path)
        if other != path:
            return f"{shown(other)} and {shown(path)} differ only in upper and lower case."
    return ""


def link_problem(path: bytes, target: bytes) -> str:
    """What is wrong with a link at `path` that leads to `target`, as the end of a sentence; empty when it is fine.

    `..` may only stand at its beginning: behind a name that is itself a link it would lead elsewhere than it says.
    """
    if not target or b"\0" in target or len(target) > LONGEST:
        return "leads nowhere"
    if target[0] == 47:
        return "leads to an absolute path, out of the tree"
    parts = target.split(b"/")
    up = 0
    while up < len(parts) and parts[up] == b"..":
        up += 1
    if up > path.count(b"/"):
        return "leads out of the tree"
    if b".." in parts[up:]:
        return "leads through a folder and back, which may end outside of the tree"
    return ""


def shown(path: bytes) -> str:
    """A path as people read it; what is not UTF-8 in it is escaped."""
    text = path if len(path) <= 200 else path[:90] + b"..." + path[-90:]
    return repr(text.decode("utf-8", "backslashreplace"))
