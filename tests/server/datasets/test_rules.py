"""What may be told of a blind version, and which paths there are."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from larder.contract import paths
from larder.contract.errors import Invalid
from larder_server.datasets.rules import blind, names, previews

NUMBERS = {
    "count": 40,
    "min": 1,
    "max": 9,
    "mean": 5.0,
    "deviation": 2.0,
    "histogram": {"edges": [1, 5, 9], "counts": [20, 20]},
}


def test_no_group_of_few_and_no_single_item_is_told_of():
    statistics = {
        "form": 1, "files": 60, "bytes": 999, "links": 3, "surprise": {"answer": 42}, "notes": ["x"],
        "sizes": {"edges": [1, 2, 4, 8, 16], "counts": [1, 30, 0, 29]},
        "extensions": [{"extension": ".jpg", "files": 55, "bytes": 9}, {"extension": ".key", "files": 5, "bytes": 1}],
        "folders": [{"folder": "a", "files": 50, "bytes": 5, "first": "secret"}],
        "images": {"files": 55, "looked_at": 55, "broken": 2, "formats": {"jpg": 50, "png": 5},
                   "sizes": [{"width": 1, "height": 1, "files": 50}, {"width": 9, "height": 9, "files": 5}],
                   "width": NUMBERS, "height": {**NUMBERS, "count": 3}},
        "texts": {"files": 5, "characters": NUMBERS},
        "tables": [
            {"path": "a.csv", "files": 1, "format": "csv", "rows": 500,
             "columns": [{"name": "price", "type": "number", "nulls": 3, "distinct": 400, "top": [{"value": 7, "count": 9}], **NUMBERS}]},
            {"path": "b.csv", "files": 1, "format": "csv", "rows": 5, "columns": []},
        ],
        "previews": {"images": ["a.jpg"]},
    }  # fmt: skip
    assert blind.aggregates(statistics) == {
        "form": 1, "files": 60, "bytes": 999,
        "sizes": {"edges": [2, 4, 8, 16], "counts": [30, 0, 29]},
        "extensions": [{"extension": ".jpg", "files": 55, "bytes": 9}],
        "folders": [{"folder": "a", "files": 50, "bytes": 5}],
        "images": {"files": 55, "looked_at": 55, "formats": {"jpg": 50}, "sizes": [{"width": 1, "height": 1, "files": 50}],
                   "width": {"count": 40, "mean": 5.0, "deviation": 2.0}},
        "tables": [{"rows": 500, "format": "csv", "columns": [
            {"name": "price", "type": "number", "distinct": 400, "count": 40, "mean": 5.0, "deviation": 2.0}]}],
    }  # fmt: skip
    assert blind.aggregates({"files": 9, "bytes": 77}) == {}
    assert blind.verdict({"ok": True, "failed": 3, "checked": 100, "items": [{"path": "x"}]}) == {
        "ok": True,
        "checked": 100,
    }


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["files", "tables", "columns", "images", "sizes", "counts", "edges", "rows", "x"]),
            inner,
            max_size=4,
        )
    ),
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.sampled_from(["files", "tables", "images", "sizes", "extensions", "texts"]), documents, max_size=5
    )
)
def test_whatever_statistics_are_given_the_filter_answers(statistics):
    blind.aggregates(statistics)
    blind.verdict(statistics)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(max_size=12).filter(lambda path: b"\0" not in path), max_size=5))
def test_a_column_is_refused_when_one_of_its_paths_is(found):
    column = b"".join(path + b"\0" for path in found)
    if any(paths.path_problem(path) for path in found):
        with pytest.raises(Invalid):
            names.check_paths(column)
    else:
        names.check_paths(column)


def test_what_a_browser_is_shown():
    kinds = {name: previews.media_type(name) for name in ("a/b.PNG", "x.html", "x.svg", "README", "b.tar", "c.d/e")}
    assert kinds == {
        "a/b.PNG": "image/png", "x.html": "text/plain; charset=utf-8", "x.svg": "image/svg+xml", "README": "", "b.tar": "",
        "c.d/e": "",
    }  # fmt: skip
