"""Patches as git writes them, read: which files they change and how; and what a file is after one."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_INDEX = re.compile(r"index ([0-9a-f]+)\.\.([0-9a-f]+)")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.S)
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_NO_END = "\\ No newline at end of file"

ADDED, CHANGED, DELETED = "added", "changed", "deleted"

LONGEST = 20_000
"""Lines of a file of which the difference to another is still looked for."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """What a patch does to one file. `body` are its hunks; `before` and `after` the hashes that git gives the contents."""

    path: str
    change: str
    binary: bool
    body: str
    before: str = ""
    after: str = ""


def sections(patch: bytes) -> list[Section]:
    """The files that a patch changes, in its order."""
    text = patch.decode("utf-8", "replace")
    starts = [0] if text.startswith("diff --git ") else []
    starts += [match.start() + 1 for match in re.finditer("\ndiff --git ", text)]
    return [_section(text[start:end]) for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def applied(body: str, base: str) -> str | None:
    """The text after the hunks; None where they do not fit it."""
    old = base.split("\n")
    new: list[str] = []
    at = 0
    lines = body.split("\n")
    index = 0
    ends = True  # with a line end, unless a hunk says otherwise
    said = ""
    while index < len(lines):
        head = _HUNK.match(lines[index])
        index += 1
        if head is None:
            continue
        start, count = int(head[1]), 1 if head[2] is None else int(head[2])
        left_old, left_new = count, 1 if head[4] is None else int(head[4])
        begin = start if not count else start - 1
        if begin < at or begin > len(old):
            return None
        new += old[at:begin]
        at = begin
        while index < len(lines) and (left_old > 0 or left_new > 0 or lines[index] == _NO_END):
            line = lines[index]
            index += 1
            if line == _NO_END:
                ends = ends and said == "-"
                continue
            said, content = line[:1] or " ", line[1:]
            if said in " -":
                if at >= len(old) or old[at] != content:
                    return None
                at += 1
                left_old -= 1
            if said in " +":
                new.append(content)
                left_new -= 1
    rest = old[at:]
    if rest in ([], [""]):
        return "\n".join(new) + ("\n" if ends and new else "")
    return "\n".join([*new, *rest])


def reversed_body(body: str) -> str:
    """The hunks of the way back."""
    out: list[str] = []
    block: list[str] = []

    def flush() -> None:
        # what goes is written before what comes, each with its mark of a missing line end
        out.extend(line for line in block if line.startswith(("-", "\\-")))
        out.extend(line for line in block if line.startswith(("+", "\\+")))
        block.clear()

    said = " "
    for line in body.split("\n"):
        if head := _HUNK.match(line):
            flush()
            old, new = (f"{head[at]},{head[at + 1]}" if head[at + 1] else head[at] for at in (1, 3))
            out.append(f"@@ -{new} +{old} @@{line[head.end() :]}")
        elif line[:1] in "+-" and line:
            said = "+" if line[0] == "-" else "-"
            block.append(said + line[1:])
        elif line == _NO_END and block:
            block.append(f"\\{said}")
        else:
            flush()
            out.append(line)
    flush()
    return "\n".join(_NO_END if line in ("\\+", "\\-") else line for line in out)


def difference(old: str, new: str) -> str:
    """The hunks from one text to another; empty where they are the same, or too long to compare."""
    before, after = _lines(old), _lines(new)
    if old == new or len(before) > LONGEST or len(after) > LONGEST:
        return ""
    out = []
    for line in list(difflib.unified_diff(before, after, n=3, lineterm="\n"))[2:]:
        if line.endswith("\n"):
            out.append(line[:-1])
        else:
            out += [line, _NO_END]
    return "\n".join(out) + "\n" if out else ""


def counts(body: str) -> tuple[int, int]:
    """How many lines come and go."""
    lines = body.split("\n")
    return sum(line[:1] == "+" for line in lines), sum(line[:1] == "-" for line in lines)


def _lines(text: str) -> Sequence[str]:
    # not splitlines: a form feed or a NEL inside a line is no end of it
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _section(text: str) -> Section:
    head, at, _ = text.partition("\n@@ ")
    body = text[len(head) + 1 :] if at else ""
    before = after = ""
    change, binary = CHANGED, False
    path = old_path = ""
    lines = head.split("\n")
    for line in lines[1:]:
        if line.startswith("new file mode"):
            change = ADDED
        elif line.startswith("deleted file mode"):
            change = DELETED
        elif line.startswith(("GIT binary patch", "Binary files ")):
            binary = True
            break
        elif line.startswith("--- "):
            old_path = _path(line[4:])
        elif line.startswith("+++ "):
            path = _path(line[4:])
        elif found := _INDEX.match(line):
            before, after = found[1], found[2]
    return Section(path=path or old_path or _both(lines[0]), change=change, binary=binary, body=body, before=before,
                   after=after)  # fmt: skip


def _path(text: str) -> str:
    text = text.rstrip("\t")
    if text == "/dev/null":
        return ""
    return (_unquoted(text) if text.startswith('"') else text)[2:]


def _both(line: str) -> str:
    """The path in `diff --git a/PATH b/PATH`, for a file without hunks: without renames both are the same."""
    text = line.removeprefix("diff --git ")
    if text.startswith('"'):
        return _unquoted(text[: (len(text) - 1) // 2])[2:]
    return text[: (len(text) - 1) // 2][2:]


def _unquoted(text: str) -> str:
    def escaped(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code, 8) & 255]) if len(code) == 3 else _ESCAPED.get(code, code)

    return _ESCAPE.sub(escaped, text.strip('"').encode()).decode("utf-8", "replace")
