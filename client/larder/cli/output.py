"""What commands print: data on stdout as a table that fits or as JSON, everything else on stderr."""

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

import click
import msgspec

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
"""The option that every command with data has."""


def document(value: object, *, to: IO[str] | None = None) -> None:
    """Print a value of the contract, or plain data, as JSON; NaN and infinities are null."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode(), file=to)


def say(text: str) -> None:
    """Talk: a line on stderr."""
    click.echo(text, err=True)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, heads: Mapping[str, str] | None = None) -> None:
    """Print rows in aligned columns; on a terminal the widest texts are shortened until a row fits."""
    if not rows:
        return
    heads = heads or {}
    cells = [[heads.get(column, column) for column in columns]]
    cells += [[cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    room = _room()
    if room is not None:
        _narrow(widths, room)
    right = [
        all(isinstance(row.get(column), (int, float)) or row.get(column) is None for row in rows) for column in columns
    ]
    for number, line in enumerate(cells):
        parts = []
        for text, width, to_right in zip(line, widths, right, strict=True):
            short = text if len(text) <= width else text[: max(0, width - 1)] + "…"
            parts.append(short.rjust(width) if to_right else short.ljust(width))
        click.echo(click.style("  ".join(parts).rstrip(), bold=number == 0))


def cell(value: object) -> str:
    """A value as the text of one table cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split())


def moment(microseconds: int | None) -> str:
    """A time as local date and minute."""
    if microseconds is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(microseconds / 1e6))


def iso(microseconds: int) -> str:
    """A time as spreadsheets and programs read it, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(microseconds // 1_000_000))


def duration(seconds: float | None) -> str:
    """A duration in its two greatest units."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    whole = int(seconds)
    for unit, length, below, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= length:
            return f"{whole // length}{unit}{whole % length // part:02d}{below}"
    return f"{whole}s"


def size(count: float) -> str:
    """A number of bytes in its greatest unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def pairs(texts: Sequence[str], what: str) -> dict[str, Any]:
    """`name=value` arguments as a mapping; a value that is JSON is taken as such, else as text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not name=value", param_hint=what)
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        found[name] = read if isinstance(read, (str, int, float, bool)) or read is None else value
    return found


def progress(length: int, label: str) -> Any:
    """A bar on stderr, drawn on a terminal only."""
    return click.progressbar(length=max(1, length), label=label, file=sys.stderr, hidden=not sys.stderr.isatty())


def _room() -> int | None:
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return None  # a file or another program gets whole texts


def _narrow(widths: list[int], room: int) -> None:
    over = sum(widths) + 2 * (len(widths) - 1) - room
    while over > 0:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= 4:
            return
        second = max((width for index, width in enumerate(widths) if index != widest), default=4)
        cut = min(over, max(1, widths[widest] - max(4, second)))
        widths[widest] -= cut
        over -= cut
