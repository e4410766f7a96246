"""What may stand at a place of a condition: the parser itself says it, so that the grammar is written once. Pure."""

import re
from dataclasses import dataclass

from larder.contract.errors import Invalid
from larder.contract.runs import Cause, RunStatus
from larder_server.runs.rules import where
from larder_server.runs.rules.where import Operand

_CLOSED = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|[^"'`])*""", re.S)
_TYPED = re.compile(r"[\w/\-:%+@*~&.]*\Z")
_PREFIX = re.compile(r"(?:params?|metrics?)\.\Z")
_SHORT = re.compile(r"(user|tags?|status|cause|project|name|kind|host|branch):(.*)")
_TAIL = re.compile(r"[\w/\-:%+@*~&.]*")

_OPERATORS = (
    ("=", "equals"), ("!=", "differs"), ("<", "less"), ("<=", "at most"), (">", "more"), (">=", "at least"),
    ("in (", "one of several"), ("has ", "holds the tag or text"), ("like ", "a pattern with *"),
    ("not in (", "none of several"),
)  # fmt: skip
_MOMENTS = (("today", ""), ("yesterday", ""), ("-1h", "an hour ago"), ("-1d", "a day ago"), ("-7d", "a week ago"),
            ("-30d", "30 days ago"))  # fmt: skip
_LENGTHS = (("1m", "a minute"), ("10m", "10 minutes"), ("1h", "an hour"), ("1d", "a day"))


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place in a condition: the word `typed` there so far, from `start` to `end`, and what it may become.

    `words` are fixed ones with their kind and a note; `names`: a name may stand there; `compared`: a value of this.
    """

    typed: str
    start: int
    end: int
    words: tuple[tuple[str, str, str], ...] = ()
    names: bool = False
    compared: Operand | None = None


def place(text: str, position: int) -> Place:
    """What may stand at `position`, at the end when that is negative."""
    at = len(text) if position < 0 else min(position, len(text))
    before = text[:at]
    start = _start(before)
    tail = _TAIL.match(text, at)
    end = tail.end() if tail and start < at else at
    typed = text[start:at]
    short = _SHORT.fullmatch(typed)
    if short is not None:
        return Place(typed=short[2], start=at - len(short[2]), end=end, compared=where.operand(short[1], field="where"))
    try:
        accepted, tokens = where.expected(text[:start])
    except Invalid:  # what stands before it is wrong, and is told elsewhere
        return Place(typed=typed, start=start, end=end)
    words: list[tuple[str, str, str]] = []
    if "OPERATOR" in accepted:
        words += [(sign, "operator", note) for sign, note in _OPERATORS if sign in _fitting(tokens)]
    if accepted & {"_AND", "_OR"}:
        words += [("and ", "word", "both"), ("or ", "word", "either")]
    if "NAME" in accepted and "_NOT" in accepted:
        words += [("not ", "word", "the opposite")]
    names = "NAME" in accepted
    compared = _compared(tokens) if "SINGLE" in accepted and not names else None
    return Place(typed=typed, start=start, end=end, words=tuple(words), names=names, compared=compared)


def _fitting(tokens: list[tuple[str, str]]) -> list[str]:
    """The comparisons that the name before them takes."""
    every = [sign for sign, _ in _OPERATORS]
    name = where.ALIASES.get(tokens[-1][1], tokens[-1][1]) if tokens else ""
    holds = where.FIELDS.get(name, "")
    if name.startswith(("metric.", "metrics.")) or holds in ("time", "duration", "number"):
        return [sign for sign in every if sign not in ("has ", "like ")]
    if holds == "tags":
        return ["has ", "=", "!=", "in (", "not in (", "like "]
    if holds == "yes or no":
        return ["=", "!="]
    return [sign for sign in every if sign[0] not in "<>"] if holds == "text" else [s for s in every if s != "has "]


def _start(before: str) -> int:
    """Where the word begins that `before` ends in: at a quote that is still open, or at the first of its characters."""
    closed = _CLOSED.match(before)
    quote = closed.end() if closed else 0
    found = (_PREFIX.search(before, 0, quote) if before[quote : quote + 1] in ('"', "`") else None) or None
    if quote < len(before):
        return found.start() if found else quote
    word = _TYPED.search(before)
    return word.start() if word else len(before)


def given(one: Operand) -> list[tuple[str, str]]:
    """The values that a field can have by its nature, with a note."""
    if one.kind != "field":
        return []
    if one.name == "status":
        return [(str(status), "") for status in RunStatus]
    if one.name == "cause":
        return [(str(cause), "") for cause in Cause if cause]
    holds = where.FIELDS[one.name]
    fixed = {"yes or no": (("true", ""), ("false", "")), "time": _MOMENTS, "duration": _LENGTHS}
    return list(fixed.get(holds, ()))


def _compared(tokens: list[tuple[str, str]]) -> Operand | None:
    """The name to the left of the last comparison."""
    place = next(
        (i for i in range(len(tokens) - 1, -1, -1) if tokens[i][0] in ("OPERATOR", "_IN", "_HAS", "_LIKE")), None
    )
    if place is None:
        return None
    name = next((text for kind, text in reversed(tokens[:place]) if kind in ("BARE", "NAME", "DOUBLE")), None)
    try:
        return None if name is None else where.operand(name, field="where")
    except Invalid:
        return None
