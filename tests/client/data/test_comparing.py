"""Two tables: columns that came and went, values that shifted, rows that changed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larder.contract.errors import Invalid
from larder.data import comparing, profiling
from larder.data.comparing import compare_columns, compare_rows


def described(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    return profiling.profile(tmp_path / "a.csv", "a.csv")


def test_columns_and_shifts(tmp_path):
    old = described(
        tmp_path, "id,price,shop,gone\n" + "".join(f"{at},{at % 10},{'ab'[at % 2]},1\n" for at in range(200))
    )
    new = described(
        tmp_path, "id,price,shop,come\n" + "".join(f"{at},{at % 10 * 3},{'ab'[at % 10 == 0]},\n" for at in range(200))
    )
    found = compare_columns(old, new)
    assert (found["rows_before"], found["rows_after"]) == (200, 200)
    assert (found["columns_added"], found["columns_removed"], found["columns_changed"]) == (["come"], ["gone"], [])
    shifts = {each["column"]: each for each in found["shifts"]}
    assert shifts["id"]["says"] == "alike" and shifts["id"]["psi"] == 0 and shifts["id"]["distance"] == 0
    assert shifts["price"]["says"] == "much" and shifts["price"]["distance"] == pytest.approx(9, rel=0.1)
    assert shifts["shop"]["says"] == "much"
    assert found["shifts"][-1]["column"] == "id"


def test_values_that_went_missing_are_a_shift(tmp_path):
    old = described(tmp_path, "a,b\n" + "1,2\n" * 100)
    new = described(tmp_path, "a,b\n" + ",2\n1,2\n" * 50)
    found = {each["column"]: each for each in compare_columns(old, new)["shifts"]}
    assert found["a"]["says"] == "much" and (found["a"]["nulls_before"], found["a"]["nulls_after"]) == (0, 50)
    assert found["b"]["says"] == "alike"


def test_rows_by_key(tmp_path):
    old = [{"id": at, "price": at * 2.0, "shop": "a"} for at in range(10)]
    new = [{"id": at, "price": at * 2 if at != 3 else 7, "shop": "a", "more": 1} for at in range(2, 12)]
    found = compare_rows(old, new, ["id"])
    assert [found[key] for key in ("added", "removed", "changed", "same")] == [2, 2, 1, 7]
    assert found["columns"] == {"price": 1}
    assert found["examples"]["changed"] == [{"id": 3, "price": 7, "shop": "a", "more": 1}]
    assert found["examples"]["removed"] == [{"id": 0}, {"id": 1}]


_ROWS = st.dictionaries(st.integers(0, 30), st.integers(0, 3), max_size=30)


@settings(deadline=None)
@given(_ROWS, _ROWS)
def test_rows_agree_with_a_plain_model(old, new):
    before, after = ([{"k": key, "v": value} for key, value in side.items()] for side in (old, new))
    by_key = compare_rows(before, after, ["k"])
    assert by_key["added"] == len(new.keys() - old.keys()) and by_key["removed"] == len(old.keys() - new.keys())
    assert by_key["changed"] == sum(old[key] != new[key] for key in old.keys() & new.keys())
    whole = compare_rows(before, after, [])
    assert whole["same"] == by_key["same"] == len(old.items() & new.items())
    assert whole["added"] == len(new.items() - old.items()) and whole["removed"] == len(old.items() - new.items())


def test_rows_that_are_there_twice_count_twice():
    found = compare_rows([{"a": 1}] * 3, [{"a": 1}] * 2 + [{"a": 2}], [])
    assert [found[key] for key in ("added", "removed", "same")] == [1, 1, 2]


def test_keys_that_are_none_are_refused(monkeypatch):
    rows = [{"a": 1, "b": 1}, {"a": 1, "b": 2}]
    with pytest.raises(Invalid, match="a=1 names several rows"):
        compare_rows(rows, rows, ["a"])
    with pytest.raises(Invalid, match="no column 'c'"):
        compare_rows(rows, rows, ["c"])
    monkeypatch.setattr(comparing, "MOST_ROWS", 1)
    with pytest.raises(Invalid, match="more than 1 rows"):
        compare_rows(rows, rows, ["b"])


@pytest.mark.parametrize(
    ("path", "pattern", "inside"),
    [
        ("sales/a.csv", "sales/*.csv", True),
        ("sales/x/a.csv", "sales/*.csv", False),
        ("sales/x/a.csv", "sales/**/*.csv", True),
        ("a.csv", "*.csv", True),
        ("sales/a.json", "sales/*.csv", False),
    ],
)
def test_which_files_a_table_of_several_has(path, pattern, inside):
    assert comparing._belongs(path, pattern) is inside
