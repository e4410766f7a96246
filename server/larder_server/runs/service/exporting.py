"""Runs as a file, written piece by piece while it is sent."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from larder.contract.errors import Invalid
from larder.contract.runs import RunQuery
from larder.contract.tables import ExportQuery, Row
from larder.contract.values import Param
from larder_server.kernel.context import Context
from larder_server.kernel.routing import Written
from larder_server.runs.rules import tables, where
from larder_server.runs.rules.where import Operand
from larder_server.runs.service import table
from larder_server.runs.store import search
from larder_server.runs.store import table as store

MOST = 1_000_000
PIECE = 1_000

FIELDS = ("id", "name", "project", "status", "user", "kind", "created", "started", "ended", "duration", "host", "branch",
          "commit", "parent", "tags", "notes", "archived")  # fmt: skip
"""The columns that every run has, where none are chosen."""

_TIMES = ("created", "started", "ended")
Part = Callable[[Context], bytes]


def export(context: Context, query: ExportQuery) -> Written:
    """The runs that match as CSV or Parquet: those and only those that were there when it was asked for.

    Invalid: the form, a condition, an order or a column cannot be, or this server cannot write Parquet.
    """
    if query.form not in ("csv", "parquet"):
        raise Invalid(f"a file of runs is csv or parquet, not {query.form[:100]!r}", field="form")
    chosen = tables.columns(query.columns)
    seqs = search.every(
        context,
        RunQuery(project=query.project, where=query.where, text=query.text, order_by=query.order_by,
                 descending=query.descending, archived=query.archived),
        most=MOST,
    )  # fmt: skip
    columns = chosen or _all(context, seqs)
    name = f"runs-{query.project.replace('/', '-')}" if query.project else "runs"
    if query.form == "parquet":
        texts = store.is_text(context, columns)
        return Written(name=f"{name}.parquet", media_type="application/vnd.apache.parquet",
                       parts=_parquet(seqs, columns, texts))  # fmt: skip
    return Written(name=f"{name}.csv", media_type="text/csv; charset=utf-8", parts=_csv(seqs, columns))


def _all(context: Context, seqs: Sequence[int]) -> list[Operand]:
    metrics, params = store.recorded(context, seqs)
    names = [*FIELDS, *(where.written("param", name) for name in params)]
    names += [where.written("metric", name) for name in metrics]
    return [where.operand(name, field="columns") for name in names]


def _pieces(seqs: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(seqs), PIECE):
        yield seqs[start : start + PIECE]


def _rows(context: Context, seqs: Sequence[int], columns: Sequence[Operand]) -> list[Row]:
    return table.rows(context, seqs, columns)


# -- CSV -----------------------------------------------------------------------------------------------------------


def _csv(seqs: Sequence[int], columns: Sequence[Operand]) -> Iterator[Part]:
    yield lambda _: _lines([[column.text for column in columns]])
    for piece in _pieces(seqs):
        yield lambda context, piece=piece: _lines(  # type: ignore[misc]
            [_plain(column, cell) for column, cell in zip(columns, row.cells, strict=True)]
            for row in _rows(context, piece, columns)
        )


def _lines(rows: Any) -> bytes:
    sheet = io.StringIO(newline="")
    csv.writer(sheet).writerows(rows)
    return sheet.getvalue().encode()


def _plain(column: Operand, cell: Param) -> Param:
    if cell is None:
        return ""
    if column.kind == "field" and column.name in _TIMES and isinstance(cell, int):
        return datetime.fromtimestamp(cell / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if column.kind == "metric" and cell in ("NaN", "Infinity", "-Infinity"):
        return cell
    if isinstance(cell, bool):
        return str(cell).lower()
    # a sheet executes a cell that begins like a formula: such texts are quoted
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


# -- Parquet -------------------------------------------------------------------------------------------------------


def _parquet(seqs: Sequence[int], columns: Sequence[Operand], texts: Sequence[bool]) -> Iterator[Part]:
    # late: the library is an extra of the server, and large
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise Invalid(
            "this server cannot write Parquet: the library pyarrow is not installed", field="form",
            hint="take csv, or install it beside the server: pip install 'larder-server[parquet]'",
        ) from None  # fmt: skip
    parquet: Any = pyarrow.parquet
    kinds = [_kind(pyarrow, column, text) for column, text in zip(columns, texts, strict=True)]
    names = _unique([column.text for column in columns])
    schema = pyarrow.schema(list(zip(names, kinds, strict=True)))
    sink = _Sink()
    writer = parquet.ParquetWriter(pyarrow.PythonFile(sink, mode="w"), schema, compression="zstd")

    def write(context: Context, piece: Sequence[int]) -> bytes:
        rows = _rows(context, piece, columns)
        arrays = [
            pyarrow.array([_typed(column, text, row.cells[place]) for row in rows], kind)
            for place, (column, text, kind) in enumerate(zip(columns, texts, kinds, strict=True))
        ]
        writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
        return sink.taken()

    def end(_: Context) -> bytes:
        writer.close()
        return sink.taken()

    def parts() -> Iterator[Part]:
        for piece in _pieces(seqs):
            yield lambda context, piece=piece: write(context, piece)  # type: ignore[misc]
        yield end

    return parts()


class _Sink(io.RawIOBase):
    """A file that keeps nothing: what was written is taken, and its place in the whole goes on."""

    def __init__(self) -> None:
        self._place, self._parts = 0, list[bytes]()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._place += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._place

    def taken(self) -> bytes:
        data, self._parts = b"".join(self._parts), []
        return data


def _unique(names: Sequence[str]) -> list[str]:
    """A column asked for twice has the number of its place behind its name."""
    seen: set[str] = set()
    answer = []
    for place, name in enumerate(names):
        answer.append(name if name not in seen else f"{name} ({place + 1})")
        seen.add(name)
    return answer


def _kind(pyarrow: Any, column: Operand, text: bool) -> Any:
    if column.kind == "field":
        holds = where.FIELDS[column.name]
        kinds = {"time": pyarrow.timestamp("us", tz="UTC"), "duration": pyarrow.float64(), "number": pyarrow.int64(),
                 "yes or no": pyarrow.bool_()}  # fmt: skip
        return kinds.get(holds, pyarrow.string())
    return pyarrow.string() if text else pyarrow.float64()


def _typed(column: Operand, text: bool, cell: Param) -> Param:
    if cell is None or column.kind == "field":
        return cell
    if not text:
        return float(cell)
    return str(cell).lower() if isinstance(cell, bool) else str(cell)
