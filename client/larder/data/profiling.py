"""What is said of a table's file: its columns, and figures of each; by pyarrow where it is there, else by the standard library.

Both ways say the same of the same file. Large tables are not read whole: rows are counted or estimated, figures come from
a sample, and the profile says so.
"""

import csv
import datetime
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from larder.contract.errors import Invalid
from larder.data import figures
from larder.data.figures import Document
from larder.data.tables import format_of

MOST_COLUMNS = 100
HEAD = 10
"""Rows of a preview."""

HEAD_COLUMNS = 20
PLAIN = 8 << 20
"""Bytes that are read without pyarrow, which takes a second for so many."""

LARGE = 64 << 20
"""Bytes of text, or"""
MANY = 2_000_000
"""rows of parquet, above which only a sample of so many is looked at."""

NULLS = ("", "NA", "N/A", "null", "NULL", "NaN", "nan", "None")
"""What stands for nothing in a csv."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}\Z")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?\Z"
)


class Unreadable(Exception):
    """The file is no such table; the message is the end of a sentence."""


def profile(place: "str | Path", name: str, *, arrow: bool | None = None) -> Document:
    """The profile of a table's file. `name` tells its format; `arrow`: by pyarrow or not, by default where it is there.

    What cannot be read has a `problem` instead of `columns`.
    """
    form = format_of(name)
    found: Document = {"format": form, "bytes": Path(place).stat().st_size}
    try:
        library = _arrow() if arrow is not False else None
        if arrow and library is None:
            raise Unreadable("needs pyarrow, which is not installed")
        if library is not None:
            return found | _with_arrow(library, Path(place), name, form)
        if form == "parquet":
            raise Unreadable("needs pyarrow, which is not installed (pip install 'larder[tables]')")
        return found | _plain(Path(place), name, form)
    except Unreadable as error:
        return found | {"problem": str(error)}
    except (
        OSError,
        ValueError,
        TypeError,
        ArithmeticError,
        csv.Error,
        RecursionError,
    ) as error:  # pyarrow's are among them
        return found | {"problem": f"cannot be read: {' '.join(str(error).split())[:200]}"}


def rows(place: "str | Path", name: str) -> Iterator[dict[str, Any]]:
    """The rows of a csv or of JSON, one after the other, by the standard library; Invalid when it cannot be read."""
    try:
        yield from _rows(Path(place), name, format_of(name))
    except (Unreadable, OSError, ValueError, csv.Error, RecursionError) as error:
        raise Invalid(f"{name} cannot be read: {error}") from error


def arrow_is_there() -> bool:
    """Whether pyarrow is installed."""
    return _arrow() is not None


# -- by pyarrow ------------------------------------------------------------------------------------------------------


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.compute
    except ImportError:
        return None
    return pyarrow


def _with_arrow(pa: Any, place: Path, name: str, form: str) -> Document:
    said: Document = {}
    if form == "parquet":
        table, count = _parquet(pa, place)
    elif form == "csv":
        table, count = _csv(pa, place, name)
    else:
        if name.lower().endswith(".json"):
            table, count = pa.Table.from_pylist(list(_rows(place, name, form))), 0
        else:
            import pyarrow.json as arrow_json

            reader: Any = arrow_json
            with _beginning(pa, place) as (data, share):
                table = reader.read_json(data)
            count = round(table.num_rows / share)
    said["rows"] = max(count, table.num_rows)
    if said["rows"] > table.num_rows:
        said["sampled_rows"] = table.num_rows
        said["rows_estimated"] = form != "parquet"
    names = table.column_names
    said["columns"] = [
        {"name": figures.clipped(name), **_column(pa, table.column(at))} for at, name in enumerate(names[:MOST_COLUMNS])
    ]
    if len(names) > MOST_COLUMNS:
        said["columns_left_out"] = len(names) - MOST_COLUMNS
    first = table.slice(0, HEAD).select(list(range(min(len(names), HEAD_COLUMNS)))).to_pydict()
    said["head"] = [[_shown(first[name][row]) for name in first] for row in range(min(HEAD, table.num_rows))]
    return said


def _parquet(pa: Any, place: Path) -> tuple[Any, int]:
    import pyarrow.parquet as arrow_parquet

    reader: Any = arrow_parquet
    with reader.ParquetFile(place) as file:
        about = file.metadata
        if about.num_rows <= MANY and place.stat().st_size <= 4 * LARGE:
            return file.read(), about.num_rows
        groups: list[int] = []
        taken = 0
        step = max(1, about.num_row_groups // 8)
        for number in range(0, about.num_row_groups, step):
            group = about.row_group(number)
            if groups and taken + group.num_rows > MANY:
                break
            groups.append(number)
            taken += group.num_rows
        if taken <= MANY:
            return file.read_row_groups(groups), about.num_rows
        batches: list[Any] = []
        for batch in file.iter_batches(row_groups=groups[:1]):
            batches.append(batch)
            if sum(each.num_rows for each in batches) >= MANY // 2:
                break
        return pa.Table.from_batches(batches), about.num_rows


def _csv(pa: Any, place: Path, name: str) -> tuple[Any, int]:
    import pyarrow.csv as arrow_csv

    reader: Any = arrow_csv
    options = {
        "parse_options": reader.ParseOptions(
            delimiter="\t" if name.lower().endswith(".tsv") else ",", newlines_in_values=True
        ),
    }
    nulls = {"null_values": list(NULLS), "strings_can_be_null": True, "true_values": ["true", "True", "TRUE"],
             "false_values": ["false", "False", "FALSE"]}  # fmt: skip
    with _beginning(pa, place) as (data, share):
        try:
            table = reader.read_csv(data, convert_options=reader.ConvertOptions(**nulls), **options)
        except pa.ArrowInvalid as error:
            if "conversion error" not in str(error):
                raise
            # A column whose kind is not that of its first rows: then all are texts.
            with place.open(newline="", encoding="utf-8-sig") as file:
                names = next(csv.reader(file, delimiter="\t" if name.lower().endswith(".tsv") else ","))
            with _beginning(pa, place) as (again, _):
                kinds = reader.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), **nulls)
                table = reader.read_csv(again, convert_options=kinds, **options)
    return table, round(table.num_rows / share)


class _beginning:
    """The bytes of a file up to the end of a line, at most `LARGE`, and which share of the file that is."""

    def __init__(self, pa: Any, place: Path) -> None:
        self._pa, self._place = pa, place

    def __enter__(self) -> tuple[Any, float]:
        size = self._place.stat().st_size
        if size <= LARGE:
            self._file = self._pa.OSFile(str(self._place))
            return self._file, 1.0
        with self._place.open("rb") as file:
            data = file.read(LARGE)
        data = data[: data.rfind(b"\n") + 1] or data
        self._file = self._pa.BufferReader(data)
        return self._file, len(data) / size

    def __exit__(self, *error: object) -> None:
        self._file.close()


def _column(pa: Any, column: Any) -> Document:
    pc, types = pa.compute, pa.types
    kind = column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    found: Document = {"type": _kind(types, kind), "rows": len(column)}
    if types.is_floating(kind) or types.is_decimal(kind):
        column = column.cast(pa.float64())
        # NaN is what many write for nothing.
        column = pc.if_else(pc.fill_null(pc.is_nan(column), False), pa.scalar(None, pa.float64()), column)
    found["nulls"] = column.null_count
    if found["nulls"] == len(column):
        return found | {"distinct": 0}
    if found["type"] == "other":
        return found
    found["distinct"] = pc.count_distinct(column).as_py()
    match found["type"]:
        case "integer" | "number":
            return found | _numbers(pa, column)
        case "date" | "time":
            if types.is_timestamp(kind):  # Python knows no nanoseconds
                column = column.cast(pa.timestamp("us", tz=kind.tz), safe=False)
            bounds = pc.min_max(column).as_py()
            return found | {"min": _shown(bounds["min"]), "max": _shown(bounds["max"])}
        case "boolean":
            counts = Counter(
                {
                    str(_shown(each["values"])): each["counts"]
                    for each in pc.value_counts(column.drop_null()).to_pylist()
                }
            )
            return found | {"top": figures.top(counts, found["distinct"])}
    column = column.cast(pa.large_string()).drop_null()
    counted = pc.value_counts(column)
    order = pc.sort_indices(counted.field(1), sort_keys=[("", "descending")])
    least = counted.field(1)[order[min(figures.MOST_TOP, len(order)) - 1].as_py()].as_py()
    # All that are as frequent as the last one, so that the choice among them does not depend on their order.
    frequent = (
        counted.filter(pc.greater_equal(counted.field(1), least))
        if least > 1 or len(order) <= 1_000
        else counted.take(order[:100])
    )
    counts = Counter({each["values"]: each["counts"] for each in frequent.to_pylist()})
    lengths = pc.utf8_length(column)
    bounds = pc.min_max(lengths).as_py()
    return found | {
        "top": figures.top(counts, found["distinct"]),
        "length": {"min": bounds["min"], "max": bounds["max"], "mean": figures.short(pc.mean(lengths).as_py())},
    }


def _numbers(pa: Any, column: Any) -> Document:
    pc = pa.compute
    if pa.types.is_floating(column.type):
        column = column.filter(pc.is_finite(column))
    column = column.drop_null()
    if not len(column):
        return {}
    bounds = pc.min_max(column).as_py()
    low, high = bounds["min"], bounds["max"]
    edges = figures.edges(low, high)
    counts = [len(column)]
    if len(edges) > 2:
        counts = [0] * figures.BINS
        places = pc.floor(
            pc.multiply(pc.subtract(column.cast(pa.float64(), safe=False), float(low)), figures.BINS / (high - low))
        )
        for each in pc.value_counts(places.cast(pa.int64())).to_pylist():
            counts[min(figures.BINS - 1, each["values"])] += each["counts"]
    mean, deviation = pc.mean(column).as_py(), pc.stddev(column).as_py()
    return figures.described(len(column), low, high, mean, deviation, edges, counts)


def _kind(types: Any, kind: Any) -> str:
    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind):
        return "integer"
    if types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_date(kind):
        return "date"
    if types.is_timestamp(kind):
        return "time"
    if (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_null(kind)
        or types.is_string_view(kind)
        or types.is_time(kind)
    ):
        return "text"
    return "other"


# -- by the standard library -----------------------------------------------------------------------------------------


def _plain(place: Path, name: str, form: str) -> Document:
    size = place.stat().st_size
    whole = size <= PLAIN
    names: dict[str, list[Any]] = {}
    count = 0
    head: list[dict[str, Any]] = []
    lines = _Lines(None if whole else PLAIN)
    for row in _rows(place, name, form, lines):
        for key, value in row.items():
            column = names.get(key)
            if column is None:
                column = names[key] = []
            column.extend([None] * (count - len(column)))
            column.append(value)
        if count < HEAD:
            head.append(row)
        count += 1
    for column in names.values():
        column.extend([None] * (count - len(column)))
    if form == "csv":
        names = {key: _typed(values) for key, values in names.items()}
    said: Document = {"rows": count}
    if not whole:
        estimate = round(count * size / max(1, lines.taken))
        said = {"rows": max(count, estimate), "rows_estimated": True, "sampled_rows": count}
    said["columns"] = [
        {"name": figures.clipped(key), **_column_of(values)}
        for key, values in itertools.islice(names.items(), MOST_COLUMNS)
    ]
    if len(names) > MOST_COLUMNS:
        said["columns_left_out"] = len(names) - MOST_COLUMNS
    shown = list(names)[:HEAD_COLUMNS]
    said["head"] = [[_shown(names[key][row]) for key in shown] for row in range(len(head))]
    return said


def _rows(place: Path, name: str, form: str, piece: "_Lines | None" = None) -> Iterator[dict[str, Any]]:
    if form == "parquet":
        raise Unreadable("needs pyarrow, which is not installed (pip install 'larder[tables]')")
    with place.open(encoding="utf-8-sig", newline="") as file:
        lines = piece.of(file) if piece is not None else iter(file)
        if form == "csv":
            reader = csv.reader(lines, delimiter="\t" if name.lower().endswith(".tsv") else ",")
            names = next(reader, None)
            if names is None:
                raise Unreadable("is empty")
            for number, row in enumerate(reader, start=2):
                if not row:
                    continue
                if len(row) != len(names):
                    raise Unreadable(f"has {len(row)} values in row {number}, and {len(names)} columns")
                yield dict(zip(names, row, strict=True))
            return
        if not name.lower().endswith(".json"):
            for line in lines:
                if line.strip():
                    yield _object(json.loads(line))
            return
        if place.stat().st_size > PLAIN:
            raise Unreadable(
                "is JSON in one piece and too long to look at; one object a line (.jsonl) has no such limit"
            )
        document = json.loads(file.read())
        if not isinstance(document, list):
            raise Unreadable("is no list of objects")
        for each in document:
            yield _object(each)


class _Lines:
    """The lines of a file, up to a limit; `taken` counts about as many bytes as they have."""

    def __init__(self, limit: int | None) -> None:
        self.limit, self.taken = limit, 0

    def of(self, file: Iterable[str]) -> Iterator[str]:
        for line in file:
            yield line
            self.taken += len(line)
            if self.limit is not None and self.taken >= self.limit:
                return


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable("is no list of objects")
    return value


def _typed(values: Sequence[str | None]) -> list[Any]:
    """The values of a column of a csv: the narrowest kind that fits all that are there."""
    found = [None if value in NULLS else value for value in values]
    there = {value for value in found if value is not None}
    read: Any = None
    if not there:
        return found
    if all(map(_WHOLE.match, there)):
        read = int
    elif all(map(_is_number, there)):
        read = float
    elif there <= {"true", "True", "TRUE", "false", "False", "FALSE"}:
        read = _truth
    elif all(map(_DAY.match, there)):
        read = datetime.date.fromisoformat
    elif all(map(_MOMENT.match, there)):
        read = datetime.datetime.fromisoformat
    if read is None:
        return found
    try:
        known = {value: read(value) for value in there}
    except ValueError:  # the 31st of February
        return found
    return [None if value is None else known[value] for value in found]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text and text == text.strip()


def _truth(text: str) -> bool:
    return text.lower() == "true"


def _column_of(values: Sequence[Any]) -> Document:
    there = [each for each in values if each is not None and each == each]  # NaN is not
    kinds = {type(each) for each in there}
    if kinds == {int, float}:
        kinds = {float}
    kind: Any = kinds.pop() if len(kinds) == 1 else None
    names = {
        int: "integer",
        float: "number",
        bool: "boolean",
        str: "text",
        datetime.date: "date",
        datetime.datetime: "time",
    }
    found: Document = {
        "type": names.get(kind, "other") if there else "text",
        "rows": len(values),
        "nulls": len(values) - len(there),
    }
    if not there:
        return found | {"distinct": 0}
    if found["type"] == "other":
        return found
    counts = Counter(there)
    found["distinct"] = len(counts)
    match found["type"]:
        case "integer" | "number":
            return found | figures.numbers({value: often for value, often in counts.items() if math.isfinite(value)})
        case "date" | "time":
            return found | {"min": _shown(min(there)), "max": _shown(max(there))}
        case "boolean":
            return found | {
                "top": figures.top(Counter({str(_shown(each)): often for each, often in counts.items()}), len(counts))
            }
    lengths = [len(value) for value in there]
    return found | {
        "top": figures.top(counts, len(counts)),
        "length": {"min": min(lengths), "max": max(lengths), "mean": figures.short(math.fsum(lengths) / len(lengths))},
    }


def _shown(value: Any) -> str | None:
    """A value as the text of a preview."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.date):  # a moment is one, too
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return figures.clipped(str(value))
