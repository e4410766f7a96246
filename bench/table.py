"""Results: a row says what was measured, what came out, the bar, who stands beside it, and whether the bar is met."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

HEAD = ("what", "Larder", "bar", "peer or limit", "met?")


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A peer or a limit: its name and figure, or why there is none."""

    name: str
    value: float | None = None
    unit: str = ""
    why: str = ""

    def __str__(self) -> str:
        return f"{self.name} {figure(self.value, self.unit)}" if self.value is not None else f"{self.name}: {self.why}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. Without a bar it is there to explain the others."""

    what: str
    value: float | None
    unit: str
    bar: float | None = None
    better: Literal["low", "high"] = "low"
    beside: Sequence[Beside] = field(default_factory=tuple)
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without a bar."""
        if self.bar is None:
            return None
        if self.value is None:
            return False
        return self.value <= self.bar if self.better == "low" else self.value >= self.bar

    @property
    def verdict(self) -> str:
        """`yes`, or by how much the bar is missed."""
        if self.met is None:
            return "–"
        if self.met:
            return "yes"
        if self.value is None:
            return "no: not measured"
        if not self.bar or not self.value:
            return f"no: {figure(self.value, self.unit)} instead of {figure(self.bar, self.unit)}"
        if self.better == "low":
            return f"no: {self.value / self.bar:.2f} × the bar"
        return f"no: {100 * (1 - self.value / self.bar):.0f} % below the bar"

    def cells(self) -> tuple[str, ...]:
        """The five cells."""
        sign = "≤" if self.better == "low" else "≥"
        bar = "–" if self.bar is None else f"{sign} {figure(self.bar, self.unit)}" if self.bar else "0"
        return self.what, figure(self.value, self.unit), bar, " · ".join(map(str, self.beside)) or "–", self.verdict

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "met": self.met}


def figure(value: float | None, unit: str) -> str:
    """A number with as many digits as it deserves, and its unit."""
    if value is None:
        return "not measured"
    if unit == "" or (float(value).is_integer() and abs(value) < 1000):
        text = f"{value:,.0f}"
    elif abs(value) >= 1e6:
        return f"{value / 1e6:.2f} M {unit}".rstrip()
    elif abs(value) >= 1e4:
        return f"{value / 1e3:.0f} k {unit}".rstrip()
    else:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        text = f"{value:,.{digits}f}"
    return f"{text} {unit}".rstrip()


def plain(rows: Iterable[Row]) -> str:
    """The table for a terminal."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    texts = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([texts[0], "-+-".join("-" * width for width in widths), *texts[1:]])


def markdown(rows: Sequence[Row]) -> str:
    """The table for a page, with the notes below it."""
    lines = [f"| {' | '.join(HEAD)} |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row.cells())} |" for row in rows]
    notes = [f"- {row.what}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def write_page(page: Path, subject: str, *, rows: Sequence[Row], measured: str) -> None:
    """Put the table of one subject between its marks in the page, and leave the rest of the page as it is."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- bench: {subject} -->", f"<!-- end of bench: {subject} -->"
    marked = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not marked.search(text):
        raise ValueError(f"{page} has no place for the results of {subject}: {begin} … {end}")
    part = f"{begin}\n{markdown(rows)}\n\n{measured}\n{end}"
    page.write_text(marked.sub(lambda _: part, text, count=1), encoding="utf-8")


def write_json(file: Path, *, machine: dict[str, Any], subjects: dict[str, list[Row]]) -> None:
    """All results as one document."""
    document = {
        "machine": machine,
        "subjects": {name: [row.document() for row in rows] for name, rows in subjects.items()},
    }
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
