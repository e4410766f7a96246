"""What tells the tables of two versions apart: columns, how values are spread, and on request the rows themselves.

Columns and spreads come from the statistics of the two versions, so that nothing is fetched for them; where a version has
none, its table is fetched and looked at. Rows are always read from the files.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from blake3 import blake3

from larder.contract.datasets import Diff, Version
from larder.contract.errors import Invalid
from larder.data import figures, profiling, verbs
from larder.data.cache import Cache
from larder.data.figures import Document
from larder.data.progress import Hear
from larder.data.tables import Table, format_of
from larder.transport import Transport

MOST_ROWS = 5_000_000
"""Rows of a table that are compared at most: a hash of each is kept in memory."""

EXAMPLES = 10
_MOST_TABLES = 20
_LITTLE, _MUCH = 0.1, 0.25


def diff_tables(
    address: str,
    other: str = "",
    path: str | None = None,
    *,
    rows: bool = False,
    keys: Sequence[str] = (),
    project: str = "",
    progress: Hear = None,
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> list[Document]:
    """What happened to the tables between `address` and `other`; with one address, what it changed against its parent.

    `path`: only this table. `rows`: compare the rows, too, by the columns `keys`, or whole rows when there are none; both
    files are fetched. Each table is a document: `path`, `rows_before`, `rows_after`, `columns_added`, `columns_removed`,
    `columns_changed` (name, type before and after), `shifts` (see `shifts`), and `rows` (see `compare_rows`).
    """
    transport = verbs._connected(transport)
    cache = cache or Cache()
    new = verbs.resolve(other or address, project=project, transport=transport)
    if other:
        old = verbs.resolve(address, project=project, transport=transport)
    elif new.parents:
        old = verbs.resolve(new.parents[0], transport=transport)
    else:
        raise Invalid(f"{new.address} has no parent to compare with.", hint="Name two versions.")

    def opened(version: Version, name: str) -> Table:
        # `sales/*.csv` is what several files of a folder are called together.
        wanted = name.partition("*")[0].rstrip("/") if "*" in name else name
        return verbs.table(version.id, wanted or None, progress=progress, transport=transport, cache=cache)

    found = []
    for name in _names(old, new, path, transport):
        before, after = _described(old, name, opened), _described(new, name, opened)
        one: Document = {"path": name, **compare_columns(before, after)}
        if rows:
            one["rows"] = compare_rows(_rows_of(opened(old, name)), _rows_of(opened(new, name)), keys, name)
        found.append(one)
    return found


def _names(old: Version, new: Version, path: str | None, transport: Transport) -> list[str]:
    """The tables that are in both versions, and changed."""
    tables = [{each["path"]: each for each in version.statistics.get("tables", ())} for version in (old, new)]
    if path is not None:
        return [path]
    difference: Diff = verbs.diff(old.id, new.id, limit=10_000, transport=transport)
    touched = [each.path for each in difference.changes if format_of(each.path)]
    changed = {each.path for each in difference.changes if each.kind == "changed" and format_of(each.path)}
    several = [name for name in tables[0] if name in tables[1] and "*" in name]
    chosen = [name for name in several if any(_belongs(each, name) for each in touched)]
    chosen += [each for each in changed if not any(_belongs(each, name) for name in several)]
    return sorted(chosen)[:_MOST_TABLES]


def _belongs(path: str, pattern: str) -> bool:
    home, _, end = pattern.partition("*")
    deep = end.startswith("*")
    inside = path[len(home) :]
    return path.startswith(home) and path.endswith(end.rpartition("*")[2]) and (deep or "/" not in inside)


def _described(version: Version, name: str, opened: Any) -> Document:
    for each in version.statistics.get("tables", ()):
        if each.get("path") == name and each.get("columns"):
            return dict(each)
    table: Table = opened(version, name)
    profiles = [profiling.profile(file, path) for path, file in zip(table.paths[:32], table.files[:32], strict=True)]
    for path, profile in zip(table.paths, profiles, strict=False):
        if "problem" in profile:
            raise Invalid(f"{path} of {version.address} {profile['problem']}.")
    columns = [
        figures.merged_columns([each["columns"][at] for each in profiles if len(each["columns"]) > at])
        for at in range(len(profiles[0]["columns"]))
    ]
    return {"path": name, "rows": sum(each["rows"] for each in profiles), "columns": columns}


def _rows_of(table: Table) -> Iterator[Mapping[str, Any]]:
    if profiling.arrow_is_there():
        whole = table.to_arrow()
        for batch in whole.to_batches(max_chunksize=10_000):
            yield from batch.to_pylist()
        return
    for path, file in zip(table.paths, table.files, strict=True):
        yield from profiling.rows(file, path)


# -- pure ------------------------------------------------------------------------------------------------------------


def compare_columns(before: Document, after: Document) -> Document:
    """Columns that came, went or changed their type, and how the values of the others have shifted."""
    old = {each["name"]: each for each in before["columns"]}
    new = {each["name"]: each for each in after["columns"]}
    both = [name for name in new if name in old]
    return {
        "rows_before": before["rows"],
        "rows_after": after["rows"],
        "columns_added": [name for name in new if name not in old],
        "columns_removed": [name for name in old if name not in new],
        "columns_changed": [
            {"name": name, "before": old[name]["type"], "after": new[name]["type"]}
            for name in both
            if old[name]["type"] != new[name]["type"]
        ],
        "shifts": shifts([old[name] for name in both], [new[name] for name in both]),
    }


def shifts(before: Sequence[Document], after: Sequence[Document]) -> list[Document]:
    """How the values of each column have shifted, the most shifted first: `column`, `psi` (the population stability index,
    missing values being a group of their own), `distance` (Wasserstein, in the unit of the column, for numbers), `says`:
    `alike` (psi below 0.1), `shifted`, or `much` (above 0.25)."""
    found = []
    for old, new in zip(before, after, strict=True):
        sides = _grouped(old, new)
        if sides is None:
            continue
        first = [*sides[0], old["nulls"]]
        second = [*sides[1], new["nulls"]]
        psi = figures.shift(first, second)
        one: Document = {
            "column": new["name"],
            "psi": round(psi, 4),
            "says": "alike" if psi < _LITTLE else "shifted" if psi <= _MUCH else "much",
            "nulls_before": old["nulls"],
            "nulls_after": new["nulls"],
        }
        if "histogram" in old and "histogram" in new:
            one["distance"] = figures.short(figures.distance(old["histogram"], new["histogram"]))
            one["mean_before"], one["mean_after"] = old["mean"], new["mean"]
        found.append(one)
    return sorted(found, key=lambda each: -each["psi"])


def _grouped(old: Document, new: Document) -> tuple[Sequence[float], Sequence[float]] | None:
    """Both columns as counts over the same groups; None where their values are not told."""
    if "histogram" in old and "histogram" in new:
        low, high = min(old["min"], new["min"]), max(old["max"], new["max"])
        first, second = (figures.merged_histogram([each["histogram"]], low, high)["counts"] for each in (old, new))
        return first, second
    if old.get("top") and new.get("top"):
        names = sorted({each["value"] for side in (old, new) for each in side["top"]})
        counts = [{each["value"]: each["count"] for each in side["top"]} for side in (old, new)]
        return [counts[0].get(name, 0) for name in names], [counts[1].get(name, 0) for name in names]
    return None


def compare_rows(
    before: Iterable[Mapping[str, Any]],
    after: Iterable[Mapping[str, Any]],
    keys: Sequence[str],
    name: str = "The table",
) -> Document:
    """Rows that came, went and changed: `added`, `removed`, `changed`, `same`, `columns` (in how many of the changed rows
    a column differs), and of each kind some examples.

    Rows are the same row when they agree in the columns `keys`; without keys a row that differs in anything is another
    one. Invalid when the keys are not columns, or do not name one row.
    """
    return _by_keys(before, after, tuple(keys), name) if keys else _whole_rows(before, after, name)


def _whole_rows(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]], name: str) -> Document:
    counts: Counter[bytes] = Counter()
    old: dict[bytes, Mapping[str, Any]] = {}
    for row in _limited(before, name):
        hash = _hash(row)
        counts[hash] += 1
        if len(old) < EXAMPLES * 100:
            old[hash] = row
    added: list[Mapping[str, Any]] = []
    more = same = 0
    for row in _limited(after, name):
        hash = _hash(row)
        if counts[hash] > 0:
            counts[hash] -= 1
            same += 1
            continue
        more += 1
        if len(added) < EXAMPLES:
            added.append(row)
    gone = [old[hash] for hash, count in counts.items() if count > 0 and hash in old][:EXAMPLES]
    return {
        "added": more, "removed": sum(counts.values()), "changed": 0, "same": same, "columns": {},
        "examples": {"added": [_told(row) for row in added], "removed": [_told(row) for row in gone], "changed": []},
    }  # fmt: skip


def _by_keys(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]], keys: tuple[str, ...], name: str
) -> Document:
    old: dict[tuple[Any, ...], tuple[bytes, ...]] = {}
    columns: tuple[str, ...] = ()
    for row in _limited(before, name):
        columns = columns or tuple(row)
        key = _key(row, keys, name)
        if key in old:
            raise Invalid(
                f"{name}: {_words(keys, key)} names several rows.",
                field="keys",
                hint="Name the columns that tell one row.",
            )
        old[key] = tuple(_hash_of(row.get(column)) for column in columns)
    counts: Counter[str] = Counter()
    examples: dict[str, list[Document]] = {"added": [], "removed": [], "changed": []}
    added = changed = same = 0
    seen: set[tuple[Any, ...]] = set()
    for row in _limited(after, name):
        key = _key(row, keys, name)
        if key in seen:
            raise Invalid(
                f"{name}: {_words(keys, key)} names several rows.",
                field="keys",
                hint="Name the columns that tell one row.",
            )
        seen.add(key)
        had = old.pop(key, None)
        if had is None:
            added += 1
            if len(examples["added"]) < EXAMPLES:
                examples["added"].append(_told(row))
            continue
        # A column that only one side has is told as such; it does not change every row.
        differ = [
            column for column, hash in zip(columns, had, strict=True) if column in row and _hash_of(row[column]) != hash
        ]
        if not differ:
            same += 1
            continue
        changed += 1
        counts.update(differ)
        if len(examples["changed"]) < EXAMPLES:
            examples["changed"].append(_told(row))
    examples["removed"] = [dict(zip(keys, map(_text, key), strict=True)) for key in list(old)[:EXAMPLES]]
    return {
        "added": added, "removed": len(old), "changed": changed, "same": same, "columns": dict(counts.most_common()),
        "examples": examples,
    }  # fmt: skip


def _limited(rows: Iterable[Mapping[str, Any]], name: str) -> Iterator[Mapping[str, Any]]:
    for number, row in enumerate(rows):
        if number >= MOST_ROWS:
            raise Invalid(
                f"{name} has more than {MOST_ROWS:,} rows, too many to compare one by one.",
                hint="Read both with `larder.data.table(…).to_arrow(where=…)` and compare a part.",
            )
        yield row


def _key(row: Mapping[str, Any], keys: tuple[str, ...], name: str) -> tuple[Any, ...]:
    try:
        return tuple(_plain(row[key]) for key in keys)
    except KeyError as error:
        raise Invalid(
            f"{name} has no column {error.args[0]!r}.", field="keys", hint=f"It has: {', '.join(list(row)[:50])}."
        ) from None


def _plain(value: Any) -> Any:
    """A value such that equal ones are equal whichever file they come from: 1.0 is 1, NaN is nothing."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() else value
    return value if not isinstance(value, list | dict) else repr(value)


def _hash(row: Mapping[str, Any]) -> bytes:
    return blake3(
        repr(sorted((name, repr(_plain(value))) for name, value in row.items())).encode("utf-8", "surrogatepass")
    ).digest(16)


def _hash_of(value: Any) -> bytes:
    return blake3(repr(_plain(value)).encode("utf-8", "surrogatepass")).digest(8)


def _told(row: Mapping[str, Any]) -> Document:
    return {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    return value if isinstance(value, bool | int | float) or value is None else figures.clipped(str(value))


def _words(keys: Sequence[str], key: Sequence[Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in zip(keys, key, strict=True))


__all__ = ["compare_columns", "compare_rows", "diff_tables", "shifts"]
