"""What is expected of a table, row by row; and which suites make sense."""

import json

import msgspec
import pytest

from larder.contract.errors import Conflict, Invalid
from larder.data import records
from larder.data.validating import Expected, admit, bad_rows, listed, suite

pytest.importorskip("pandera")


def bad(tmp_path, text, name="x.csv", unique=(), **columns):
    (tmp_path / name).write_text(text)
    rule = msgspec.convert({"match": "*", "columns": columns, "unique": list(unique)}, Expected)
    return sorted(bad_rows(records.load(tmp_path / name), rule))


@pytest.mark.parametrize(
    ("column", "good", "wrong", "reason"),
    [
        ({"type": "int"}, ["1", "-5", "", "12345678901234567890"], ["1.5", "x", "1e3"], "c: int"),
        ({"type": "float"}, ["1", "1.5", "1e3", ""], ["x", "nan", "inf"], "c: float"),
        ({"type": "bool"}, ["true", "0", "Yes", ""], ["2", "x"], "c: bool"),
        ({"type": "date"}, ["2026-01-31", ""], ["2026-02-30", "2026-01-01T10:00", "x"], "c: date"),
        ({"type": "time"}, ["2026-01-31T10:00:00Z", "2026-01-31", ""], ["10:00", "x"], "c: time"),
        ({"min": 1, "max": 5}, ["1", "5", ""], [], ""),
        ({"min": 1}, ["1"], ["0", "-3.5"], "c: min 1"),
        (
            {"type": "time", "max": "2026-01-31"},
            ["2025-01-01", "2026-01-31"],
            ["2026-01-31T00:00:01"],
            "c: max 2026-01-31",
        ),
        ({"values": [1, "b"]}, ["1", "b", ""], ["2", "B"], "c: one of 1, b"),
        ({"type": "int", "values": [1]}, ["1", "01"], ["2"], "c: one of 1"),
        ({"matches": "S[0-9]+"}, ["S1", ""], ["S1x", " S1", "s1"], r"c: matches S[0-9]+"),
        ({"length": {"max": 3}}, ["abc", ""], ["abcd"], "c: length any to 3"),
        ({"nulls": False}, ["a"], [""], "c: no nulls"),
    ],
    ids=str,
)
def test_a_value_is_as_expected_or_named(tmp_path, column, good, wrong, reason):
    text = "d,c\n" + "".join(f"x,{value}\n" for value in [*good, *wrong])
    assert bad(tmp_path, text, c=column) == [(at, reason) for at in range(len(good), len(good) + len(wrong))]


def test_the_first_of_equal_ones_passes_and_nothing_is_not_equal(tmp_path):
    text = "a,b\n1,x\n,y\n1,z\n,w\n2,x\n1,x\n"
    assert bad(tmp_path, text, a={"type": "int", "unique": True}) == [(2, "a: unique"), (5, "a: unique")]
    assert bad(tmp_path, text, unique=["a", "b"]) == [(5, "a and b: unique together")]
    assert bad(tmp_path, text, a={"type": "float", "nulls": False, "max": 1}) == [
        (1, "a: no nulls"),
        (3, "a: no nulls"),
        (4, "a: max 1"),
    ]


def test_values_of_json_have_their_types(tmp_path):
    text = "".join(json.dumps({"a": value}) + "\n" for value in (1, 2.0, True, "3", 1.5, None))
    assert bad(tmp_path, text, "x.jsonl", a={"type": "int"}) == [(2, "a: int"), (4, "a: int")]
    assert bad(tmp_path, text, "x.jsonl", a={"type": "text"}) == [(at, "a: text") for at in (0, 1, 2, 4)]
    assert bad(tmp_path, '{"a": "x"}\n{"a": "y"}\n', "x.jsonl", a={"values": ["x"]}) == [(1, "a: one of x")]


def test_a_table_as_a_whole(tmp_path):
    rule = {
        "tables": [
            {"match": "*.csv", "columns": {"a": {}, "z": {"missing": True}}, "others": False, "put_aside": "file"}
        ]
    }
    found = admit({"x.csv": b"a\n1\n", "y.csv": b"a,b\n1,2\n", "z.csv": b"b\n1\n"}, suite(rule), "quarantine", tmp_path)
    assert found.left_out == {"y.csv", "z.csv"} and found.reasons["z.csv"]["reason"].startswith(
        "it has no column a; it has a column b"
    )
    rule["tables"][0] |= {"others": True, "columns": {"a": {"type": "int"}}}
    found = admit({"x.csv": b"a\n1\nx\ny\n"}, suite(rule), "quarantine", tmp_path)
    assert found.left_out == {"x.csv"} and found.reasons["x.csv"]["reason"] == "2 rows: a: int" and not found.replaced
    with pytest.raises(Conflict, match=r"x\.csv: 2 rows: a: int"):
        admit({"x.csv": b"a\n1\nx\ny\n"}, suite(rule), "refuse", tmp_path)
    report = admit({"x.csv": b"a\n1\n"}, suite(rule), "refuse", tmp_path).report
    assert report == {
        "passed": True,
        "policy": "refuse",
        "checked": {"files": 1, "rows": 1},
        "failed": {"files": 0, "rows": 0},
        "checks": [],
    }


def test_what_is_committed_is_what_is_checked(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/x.txt", "a/b/y.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "a" / "link").symlink_to("x.txt")
    folder = tmp_path / "a"
    assert set(listed(folder)) == {"x.txt", "b/y.txt"} and set(listed(str(folder / "x.txt"))) == {"x.txt"}
    assert set(listed([folder, folder / "x.txt"])) == {"a/x.txt", "a/b/y.txt", "x.txt"}
    assert set(listed({"in": folder, "z": b"z"})) == {"in/x.txt", "in/b/y.txt", "z"} and listed(None) == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"file": []}, "unknown field `file`"),
        ({"files": [{"image": {"width": 5}}]}, r"\$.files\[0\].image.width"),
        ({"tables": [{"columns": {}}]}, "missing required field `match`"),
        ({"tables": [{"match": "*", "columns": {"a": {"type": "number"}}}]}, "number"),
        ({"tables": [{"match": "*", "columns": {"a": {"min": "x"}}}]}, "can only bound a date or time"),
        ({"tables": [{"match": "*", "columns": {"a": {"matches": "["}}}]}, "no regular expression"),
        ({"files": [{"match": "{a"}]}, "brace"),
        ({"invalid": "drop"}, "drop"),
    ],
)
def test_a_suite_that_makes_no_sense_is_refused(given, said):
    with pytest.raises(Invalid, match=said):
        suite(given)


@pytest.mark.parametrize(
    ("name", "text"),
    [("x.yaml", "files: [{"), ("x.json", "{"), ("x.yaml", "- 1"), ("x.yaml", "!!python/name:os.system")],
)
def test_a_file_that_is_no_suite_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(Invalid):
        suite(tmp_path / name)
    with pytest.raises(Invalid, match="cannot be read"):
        suite(tmp_path / "none.yaml")
