"""Rows of a table as they stand in its file, so that a part of them can be written again without changing any of them.

CSV is text: a store number 007 stays 007. Lines of JSON stay the lines they were. Only Parquet needs pyarrow.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from larder.contract.errors import Invalid
from larder.data.tables import format_of


@dataclass(frozen=True)
class Records:
    """The rows of one table: a tuple of values each, in the order of `columns`. All of them are in memory.

    In CSV every value is text, and an empty one is None.
    """

    form: str
    columns: list[str]
    rows: list[tuple[Any, ...]]
    raw: Any = None
    """The lines of JSON, or pyarrow's table."""

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str, what: str) -> list[Any]:
        """The values of a column; Invalid, with `what` as the table's name, when there is none."""
        if name not in self.columns:
            raise Invalid(f"{what} has no column {name!r}.", hint=f"It has: {', '.join(self.columns[:50])}.")
        at = self.columns.index(name)
        return [row[at] for row in self.rows]

    def take(self, numbers: Sequence[int]) -> "Records":
        """Some of the rows, in this order."""
        raw = self.raw
        if self.form == "json":
            raw = [raw[number] for number in numbers]
        elif self.form == "parquet":
            import pyarrow

            raw = raw.take(pyarrow.array(numbers, pyarrow.int64()))
        return Records(self.form, self.columns, [self.rows[number] for number in numbers], raw)

    def with_column(self, name: str, values: Sequence[Any]) -> "Records":
        """The same rows with one more column of text at the end; one of that name is replaced."""
        had = self.without_column(name)
        rows = [(*row, value) for row, value in zip(had.rows, values, strict=True)]
        raw = had.raw
        if self.form == "json":
            raw = [json.dumps({**json.loads(line), name: value}) for line, value in zip(raw, values, strict=True)]
        elif self.form == "parquet":
            import pyarrow

            raw = raw.append_column(name, pyarrow.array(list(values), pyarrow.string()))
        return Records(self.form, [*had.columns, name], rows, raw)

    def without_column(self, name: str) -> "Records":
        """The same rows without a column; as they are where they have none of that name."""
        if name not in self.columns:
            return self
        at = self.columns.index(name)
        rows = [row[:at] + row[at + 1 :] for row in self.rows]
        raw = self.raw
        if self.form == "json":
            raw = [_dumped(line, name) for line in raw]
        elif self.form == "parquet":
            raw = raw.drop_columns([name])
        return Records(self.form, [each for each in self.columns if each != name], rows, raw)

    def joined(self, other: "Records", what: str) -> "Records":
        """These rows and, behind them, the others; Invalid when their columns differ."""
        if self.form != other.form or (self.form != "json" and self.columns != other.columns):
            raise Invalid(
                f"{what}: the rows have the columns {', '.join(other.columns[:50])}, the table {', '.join(self.columns[:50])}."
            )
        raw = self.raw
        if self.form == "json":
            raw = [*raw, *other.raw]
        elif self.form == "parquet":
            import pyarrow

            raw = pyarrow.concat_tables([raw, other.raw.cast(raw.schema)])
        return Records(self.form, self.columns, [*self.rows, *other.rows], raw)

    def save(self, place: Path) -> None:
        """Write them as a file of the same format."""
        place.parent.mkdir(parents=True, exist_ok=True)
        if self.form == "csv":
            with place.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, delimiter=_delimiter(place), lineterminator="\n")
                writer.writerow(self.columns)
                writer.writerows(["" if value is None else value for value in row] for row in self.rows)
        elif self.form == "json":
            place.write_text("".join(f"{line}\n" for line in self.raw), encoding="utf-8")
        else:
            from pyarrow import parquet

            write: Any = parquet.write_table
            write(self.raw, place, compression="zstd")


def load(place: Path, what: str = "") -> Records:
    """The rows of a file; Invalid when it cannot be read as the table that its name says."""
    what = what or str(place)
    form = format_of(what) or format_of(str(place))
    try:
        if form == "csv":
            return _csv(place, what)
        if form == "json":
            return _json(place, what)
        if form == "parquet":
            return _parquet(place, what)
    except UnicodeDecodeError as error:
        raise Invalid(f"{what} is not in UTF-8: byte {error.start} is not.") from error
    except (csv.Error, OSError) as error:
        raise Invalid(f"{what} cannot be read as a table: {' '.join(str(error).split())[:200]}") from error
    raise Invalid(f"{what} is no table.")


def key(row: Sequence[Any]) -> bytes:
    """What is the same for equal rows."""
    return blake3(msgspec.msgpack.encode(list(row), enc_hook=str)).digest()


def _csv(place: Path, what: str) -> Records:
    with place.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file, delimiter=_delimiter(Path(what)))
        columns = next(lines, [])
        if not columns:
            raise Invalid(f"{what} is empty: it has no line with the names of its columns.")
        if len(set(columns)) < len(columns):
            raise Invalid(f"{what} names a column twice: {', '.join(columns[:50])}.")
        rows = []
        for row in lines:
            if not row:
                continue
            if len(row) != len(columns):
                raise Invalid(f"{what}, line {lines.line_num}: it has {len(row)} values and {len(columns)} columns.")
            rows.append(tuple(value or None for value in row))
    return Records("csv", columns, rows)


def _json(place: Path, what: str) -> Records:
    columns: dict[str, None] = {}
    documents, lines = [], []
    with place.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except ValueError as error:
                raise Invalid(f"{what}, line {number}: it is no JSON ({error}).") from error
            if not isinstance(found, dict):
                raise Invalid(f"{what}, line {number}: it is no object; a table has one object on each line.")
            columns.update(dict.fromkeys(found))
            documents.append(found)
            lines.append(line.rstrip("\n"))
    names = list(columns)
    return Records("json", names, [tuple(each.get(name) for name in names) for each in documents], lines)


def _parquet(place: Path, what: str) -> Records:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise Invalid(
            f"Reading {what} needs pyarrow, which is not installed.", hint="pip install 'larder[tables]'"
        ) from error
    try:
        read: Any = parquet.read_table
        table = read(place, partitioning=None)
    except (ValueError, pyarrow.ArrowException) as error:
        raise Invalid(f"{what} is no Parquet that can be read: {' '.join(str(error).split())[:200]}") from error
    return Records("parquet", list(table.column_names), list(_tuples(table)), table)


def _tuples(table: Any) -> Iterator[tuple[Any, ...]]:
    for batch in table.to_batches(max_chunksize=65_536):
        columns = [column.to_pylist() for column in batch.columns]
        yield from zip(*columns, strict=True) if columns else iter([()] * batch.num_rows)


def _dumped(line: str, name: str) -> str:
    found = json.loads(line)
    if name not in found:
        return line
    del found[name]
    return json.dumps(found)


def _delimiter(place: Path) -> str:
    return "\t" if place.suffix.lower() == ".tsv" else ","
