"""What everybody may know of a blind version: counts and aggregates over enough items. Pure.

Only what is known to be an aggregate passes; a key that nobody has thought of does not.
"""

from collections.abc import Iterable, Mapping
from typing import Any

LEAST = 10
"""A group of fewer items is not told of."""

_TOTALS = ("files", "bytes", "links", "external", "form")
_LONGEST = 200


def aggregates(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """What of a version's statistics may be told: no group of fewer than ten items, no extreme, no example."""
    found = _figures(statistics, _TOTALS)
    if isinstance(sizes := statistics.get("sizes"), Mapping) and (kept := _bins(sizes)):
        found["sizes"] = kept
    for name, label in (("extensions", "extension"), ("folders", "folder")):
        if groups := _groups(statistics.get(name), label):
            found[name] = groups
    if isinstance(images := statistics.get("images"), Mapping) and _enough(images.get("files")):
        found["images"] = _images(images)
    if isinstance(texts := statistics.get("texts"), Mapping) and _enough(texts.get("files")):
        found["texts"] = _figures(texts, ("files", "looked_at")) | _numbers_of(texts, ("characters", "lines"))
    tables = [_table(table) for table in _maps(statistics.get("tables")) if _enough(table.get("rows"))]
    if tables:
        found["tables"] = tables
    return found


def verdict(report: Mapping[str, Any]) -> dict[str, Any]:
    """What of the report of a validation may be told: whether it held, and counts of enough items."""
    found = {name: report[name] for name in ("ok", "passed", "valid") if isinstance(report.get(name), bool)}
    return found | _figures(report, ("checked", "quarantined", "items", "rows", "files", "failed", "expectations"))


def _figures(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Counts that are none or many."""
    found = {}
    for name in names:
        value: Any = values.get(name)
        if (name in ("form", "bytes") and _is_number(value)) or (_is_number(value) and (value == 0 or value >= LEAST)):
            found[name] = value
    if "files" in values and "files" not in found:
        found.pop("bytes", None)  # those of few files
    return found


def _bins(histogram: Mapping[str, Any]) -> dict[str, Any] | None:
    """A histogram over edges that do not depend on the items, from its first bin of enough items to its last."""
    edges, counts = histogram.get("edges"), histogram.get("counts")
    if not isinstance(edges, list) or not isinstance(counts, list) or len(edges) != len(counts) + 1:
        return None
    shown = [count if _enough(count) else 0 for count in counts]
    places = [place for place, count in enumerate(shown) if count]
    if not places:
        return None
    first, last = places[0], places[-1]
    return {"edges": edges[first : last + 2], "counts": shown[first : last + 1]}


def _groups(groups: Any, label: str) -> list[dict[str, Any]]:
    return [
        {label: _text(group.get(label)), **_figures(group, ("files", "bytes"))}
        for group in _maps(groups)
        if _enough(group.get("files"))
    ]


def _images(images: Mapping[str, Any]) -> dict[str, Any]:
    found = _figures(images, ("files", "looked_at", "broken"))
    if isinstance(formats := images.get("formats"), Mapping):
        found["formats"] = {_text(name): count for name, count in formats.items() if _enough(count)}
    found["sizes"] = [
        {name: size[name] for name in ("width", "height", "files")}
        for size in _maps(images.get("sizes"))
        if _enough(size.get("files")) and _is_number(size.get("width")) and _is_number(size.get("height"))
    ]
    return found | _numbers_of(images, ("width", "height"))


def _table(table: Mapping[str, Any]) -> dict[str, Any]:
    found = _figures(table, ("files", "rows", "sampled_rows", "sampled_files"))
    found["format"] = _text(table.get("format"))
    if _enough(table.get("files")):
        found["path"] = _text(table.get("path"))
    found["columns"] = [
        {
            "name": _text(column.get("name")), "type": _text(column.get("type")), **_figures(column, ("nulls", "distinct")),
            **_numbers(column),
        }
        for column in _maps(table.get("columns"))
    ]  # fmt: skip
    return found


def _numbers_of(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {
        name: kept for name in names if isinstance(found := values.get(name), Mapping) and (kept := _numbers(found))
    }


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Mean and deviation of enough numbers. The edges of their histogram are the least and the greatest of them."""
    if not _enough(values.get("count")):
        return {}
    return {name: values[name] for name in ("count", "mean", "deviation") if _is_number(values.get(name))}


def _maps(values: Any) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []


def _text(value: Any) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""


def _enough(value: Any) -> bool:
    return _is_number(value) and value >= LEAST


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
