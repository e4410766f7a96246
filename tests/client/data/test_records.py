"""Rows keep what they are while a part of them is written again."""

import pytest

from larder.contract.errors import Invalid
from larder.data import records

CSV = 'a,b\n007,"x, ""y""\nz"\n,é\n1e3,\n'


@pytest.fixture
def load(tmp_path):
    def load(name, content):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return records.load(tmp_path / name)

    return load


def saved(found, tmp_path, name):
    found.save(tmp_path / "out" / name)
    return (tmp_path / "out" / name).read_text("utf-8")


def test_csv_is_text(load, tmp_path):
    found = load("x.csv", "\ufeff" + CSV)
    assert found.columns == ["a", "b"] and found.rows == [("007", 'x, "y"\nz'), (None, "é"), ("1e3", None)]
    assert saved(found, tmp_path, "x.csv") == CSV
    assert saved(found.take([2, 0]), tmp_path, "x.csv") == 'a,b\n1e3,\n007,"x, ""y""\nz"\n'
    more = found.with_column("why", ["1", "2", "3"])
    assert more.column("why", "x") == ["1", "2", "3"] and more.without_column("why").rows == found.rows
    assert more.with_column("why", ["4", "5", "6"]).columns == ["a", "b", "why"]
    assert load("x.tsv", "a\tb\n1,5\t2\n").rows == [("1,5", "2")]
    assert saved(load("x.tsv", "a\tb\n1,5\t2\n"), tmp_path, "x.tsv") == "a\tb\n1,5\t2\n"


def test_lines_of_json_stay_as_they_are(load, tmp_path):
    text = '{"a": 1.50, "b": [1]}\n\n{"b":null, "c": "é"}\n'
    found = load("x.jsonl", text)
    assert found.columns == ["a", "b", "c"] and found.rows == [(1.5, [1], None), (None, None, "é")]
    assert saved(found.take([1]), tmp_path, "x.jsonl") == '{"b":null, "c": "é"}\n'
    more = found.with_column("why", ["1", "2"]).without_column("why")
    assert more.rows == found.rows
    assert saved(found.joined(load("y.jsonl", '{"z": 1}\n'), "y"), tmp_path, "x.jsonl").endswith('{"z": 1}\n')


def test_parquet_keeps_its_types(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"n": pyarrow.array([1, None, 3], pyarrow.int16()), "t": ["a", "b", "c"]})
    parquet.write_table(table, tmp_path / "x.parquet")
    found = records.load(tmp_path / "x.parquet")
    assert found.rows == [(1, "a"), (None, "b"), (3, "c")]
    part = found.take([2, 1]).with_column("why", ["x", "y"]).without_column("why")
    part.save(tmp_path / "y.parquet")
    again = parquet.read_table(tmp_path / "y.parquet")
    assert again.schema.equals(table.schema) and again.to_pylist() == [{"n": 3, "t": "c"}, {"n": None, "t": "b"}]
    assert part.joined(found, "x").rows == [(3, "c"), (None, "b"), *found.rows]
    found.take([]).save(tmp_path / "z.parquet")
    assert records.load(tmp_path / "z.parquet").rows == []


def test_equal_rows_have_one_key():
    assert records.key(("1", None)) == records.key(["1", None]) != records.key(("1", ""))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", b"", "is empty"),
        ("x.csv", b"a,a\n1,2\n", "names a column twice"),
        ("x.csv", b"a,b\n1\n", "line 2: it has 1 values and 2 columns"),
        ("x.csv", b"a\n\xff\n", "not in UTF-8"),
        ("x.jsonl", b'{"a": 1}\n{\n', "line 2: it is no JSON"),
        ("x.jsonl", b"[1]\n", "line 1: it is no object"),
        ("x.parquet", b"PAR1 nothing", "no Parquet"),
        ("x.bin", b"", "is no table"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(load, name, content, said):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    with pytest.raises(Invalid, match=said):
        load(name, content)


def test_rows_of_another_table_do_not_join(load):
    with pytest.raises(Invalid, match="the rows have the columns a"):
        load("x.csv", "a,b\n1,2\n").joined(load("y.csv", "a\n1\n"), "y.csv")
