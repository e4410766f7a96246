"""Which console lines somebody looks for: by text, by regular expression, by stream, by rank."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import re2  # type: ignore[import-untyped,unused-ignore]

from larder.contract.errors import Invalid

LONGEST = 1_000
"""Characters of a pattern."""

_MEMORY = 4 << 20
_MOST_SPANS = 50
STREAMS = ("out", "err")

Line = tuple[int, str, int, str]
"""Time, stream, rank, text: a line as chunks hold it."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The place of a line among those that were looked at, and where in it the pattern was found."""

    index: int
    spans: list[list[int]]


@dataclass(frozen=True, kw_only=True)
class Sought:
    """What a line must be to be shown; a line that the defaults look for is any."""

    text: str = ""
    pattern: Any = None
    anchored: bool = False
    """Whether the pattern speaks of the beginning or end of the whole text, so that lines cannot be tried together."""
    stream: str = ""
    rank: int | None = None

    @property
    def anything(self) -> bool:
        """Whether every line is."""
        return not self.text and self.pattern is None and not self.stream and self.rank is None

    def among(self, lines: Sequence[Line]) -> Iterator[Chosen]:
        """Those of the lines that are sought, in order."""
        if self.pattern is not None and not self.anchored and not self.pattern.search("\n".join(map(_text, lines))):
            return
        for index, (_, stream, rank, text) in enumerate(lines):
            if self.stream and stream != self.stream:
                continue
            if self.rank is not None and rank != self.rank:
                continue
            if self.text and self.text not in text.casefold():
                continue
            if self.pattern is None:
                yield Chosen(index=index, spans=[])
            elif (found := self._spans(text)) is not None:
                yield Chosen(index=index, spans=found)

    def _spans(self, text: str) -> list[list[int]] | None:
        """Where the pattern is found; None where it is not."""
        if not self.pattern.search(text):
            return None
        found = []
        for match in self.pattern.finditer(text):
            if match.end() > match.start():
                found.append([match.start(), match.end()])
            if len(found) == _MOST_SPANS:
                break
        return found


def sought(*, text: str = "", pattern: str = "", stream: str = "", rank: int | None = None) -> Sought:
    """What is looked for. Invalid: the pattern is no regular expression of RE2, which has no back references and takes
    time only in proportion to the text; or there is no such stream or rank.
    """
    if stream and stream not in STREAMS:
        raise Invalid(f"a stream is out or err, not {stream[:100]!r}", field="stream")
    if rank is not None and rank < 0:
        raise Invalid("rank is a number from 0", field="rank")
    return Sought(text=text.casefold(), pattern=_compiled(pattern) if pattern else None,
                  anchored="\\A" in pattern or "\\z" in pattern, stream=stream, rank=rank)  # fmt: skip


def _compiled(pattern: str) -> Any:
    if len(pattern) > LONGEST:
        raise Invalid(f"a pattern has at most {LONGEST} characters, not {len(pattern)}", field="pattern")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        # `^` and `$` are the ends of a line, also where many lines are tried together
        return re2.compile(f"(?im){pattern}", options)
    except (re2.error, UnicodeError) as problem:
        said = problem.args[0] if problem.args else ""
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise Invalid(f"this is no regular expression: {said}", field="pattern",
                      hint=r"write \ before . * + ? ( ) [ ] { } | ^ $ to look for the character itself") from None  # fmt: skip


def _text(line: Line) -> str:
    return line[3]
