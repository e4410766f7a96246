"""Tables of a version, read where they are needed: columns and rows that nobody asked for are left out while reading."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from larder.contract.datasets import Version
from larder.contract.errors import Invalid

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}
"""Endings of files that are tables."""

_OPERATORS = ("==", "=", "!=", "<", "<=", ">", ">=", "in", "not in")

Where = "Sequence[tuple[str, str, Any]] | Any"


class Table:
    """A table of a version: one file, or a folder of parts with one schema. Fetched when it is first read."""

    def __init__(self, version: Version, paths: Sequence[str], fetch: Callable[[Sequence[str]], list[Path]]) -> None:
        self.version = version
        self.paths = list(paths)
        """Its files in the version."""
        self.format = format_of(self.paths[0])
        self._fetch = fetch
        self._files: list[Path] | None = None

    def __repr__(self) -> str:
        name = self.paths[0] if len(self.paths) == 1 else f"{len(self.paths)} files"
        return f"<Table {name} of {self.version.address}: {self.format}>"

    @property
    def files(self) -> list[Path]:
        """Its files on this machine, read-only; fetched once."""
        if self._files is None:
            self._files = self._fetch(self.paths)
        return self._files

    @property
    def schema(self) -> Any:
        """Names and types of its columns, as pyarrow's schema."""
        return self._dataset().schema

    def to_arrow(self, columns: Sequence[str] | None = None, where: Any = None) -> Any:
        """A pyarrow table. `where`: an expression of pyarrow, or `[(column, operator, value), …]`, all of which hold.

        Operators are == != < <= > >= in and not in.
        """
        dataset = self._dataset()
        self._known(columns or (), dataset)
        return dataset.to_table(
            columns=list(columns) if columns is not None else None, filter=self._filter(where, dataset)
        )

    def to_pandas(self, columns: Sequence[str] | None = None, where: Any = None) -> Any:
        """A pandas data frame of the same."""
        return self.to_arrow(columns, where).to_pandas()

    def count(self, where: Any = None) -> int:
        """How many rows there are."""
        dataset = self._dataset()
        return int(dataset.count_rows(filter=self._filter(where, dataset)))

    def _dataset(self) -> Any:
        pyarrow = _pyarrow()
        form: Any = self.format
        if self.paths[0].endswith(".tsv"):
            options = importlib.import_module("pyarrow.csv").ParseOptions(delimiter="\t")
            form = pyarrow.CsvFileFormat(parse_options=options)
        try:
            return pyarrow.dataset([str(each) for each in self.files], format=form)
        except ValueError as error:  # pyarrow's own errors are those
            raise Invalid(
                f"{self.paths[0]} of {self.version.address} is no {self.format} that can be read:"
                f" {' '.join(str(error).split())[:300]}"
            ) from error

    def _filter(self, where: Any, dataset: Any) -> Any:
        if where is None or not isinstance(where, list | tuple):
            return where
        field = _pyarrow().field
        found = None
        for each in [where] if where and isinstance(where[0], str) else where:
            if not isinstance(each, list | tuple) or len(each) != 3 or each[1] not in _OPERATORS:
                raise Invalid(
                    f"{each!r} is no condition.",
                    field="where",
                    hint='Write ("price", ">", 3); operators: ' + " ".join(_OPERATORS),
                )
            name, operator, value = each
            self._known((name,), dataset)
            found_here = _compared(field(name), operator, value)
            found = found_here if found is None else found & found_here
        return found

    def _known(self, columns: Sequence[str], dataset: Any) -> None:
        names = dataset.schema.names
        for column in columns:
            if column not in names:
                raise Invalid(
                    f"{self.paths[0]} has no column {column!r}.",
                    field="columns",
                    hint=f"It has: {', '.join(names[:50])}.",
                )


def format_of(path: str) -> str:
    """The format of a table by the end of its path; empty when it is none."""
    return next((form for end, form in FORMATS.items() if path.lower().endswith(end)), "")


def choose(paths: Sequence[str], path: str | None, address: str) -> list[str]:
    """The files of the table that is meant: one file, all of a folder, or the only table there is."""
    if path is not None:
        path = path.strip("/")
        if path in paths:
            if not format_of(path):
                raise Invalid(f"{path} is no table.", hint=f"Tables end in {', '.join(FORMATS)}.")
            return [path]
        paths = [each for each in paths if each.startswith(f"{path}/")]
        if not paths:
            raise Invalid(f"{address} has no file or folder {path!r}.", field="path")
    tables = [each for each in paths if format_of(each)]
    if not tables:
        raise Invalid(f"{address} has no table.", hint=f"Tables end in {', '.join(FORMATS)}.")
    folders = {each.rpartition("/")[0] for each in tables}
    if len(tables) > 1 and (len({format_of(each) for each in tables}) > 1 or (path is None and len(folders) > 1)):
        shown = ", ".join(tables[:10])
        raise Invalid(f"{address} has {len(tables)} tables; say which: {shown}.", field="path")
    return sorted(tables)


def _compared(field: Any, operator: str, value: Any) -> Any:
    match operator:
        case "==" | "=":
            return field.is_null() if value is None else field == value
        case "!=":
            return ~field.is_null() if value is None else field != value
        case "<":
            return field < value
        case "<=":
            return field <= value
        case ">":
            return field > value
        case ">=":
            return field >= value
        case "in":
            return field.isin(list(value))
    return ~field.isin(list(value))


def _pyarrow() -> Any:
    try:
        return importlib.import_module("pyarrow.dataset")
    except ImportError as error:
        raise Invalid(
            "Reading tables needs pyarrow, which is not installed.", hint="pip install 'larder[tables]'"
        ) from error
