"""What is computed of a version at its commit: pictures by their headers, texts, columns of tables, and how it is kept small."""

import io
import json
import random
import struct
from collections import Counter

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from larder.data import figures, pictures, profiling, statistics
from larder.data.columns import FILE, Tree, record
from larder.data.statistics import Gathering

SALES = "id,price,day,when,ok,shop,zip,empty\n" + "".join(
    f"{at},{at % 37 / 4},2026-03-{1 + at % 28:02d},2026-03-01T10:{at % 60:02d}:00,{'true' if at % 3 else 'false'},"
    f"shop {at % 17},{'' if at % 10 else at},\n"
    for at in range(900)
)


def png(width, height):
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(9)


def jpeg(width, height, *, before=b""):
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes(3)
    return b"\xff\xd8" + b"\xff\xe0" + struct.pack(">H", 16) + bytes(14) + before + frame


def webp(kind, body):
    return b"RIFF" + struct.pack("<I", 4 + 8 + len(body)) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (png(640, 480), (0, 640, 480)),
        (jpeg(1200, 800), (1, 1200, 800)),
        (jpeg(9, 7, before=b"\xff\xff\xff\xe1" + struct.pack(">H", 60_002) + bytes(60_000)), (1, 9, 7)),
        (b"GIF89a" + struct.pack("<HH", 12, 34) + bytes(3), (2, 12, 34)),
        (webp(b"VP8X", bytes(4) + (99).to_bytes(3, "little") + (49).to_bytes(3, "little")), (3, 100, 50)),
        (webp(b"VP8L", b"\x2f" + struct.pack("<I", 319 | 199 << 14)), (3, 320, 200)),
        (webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 16 | 1 << 14, 8)), (3, 16, 8)),
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, 30, -20) + bytes(20), (4, 30, 20)),
        (png(0, 5), None),
        (b"\xff\xd8\xff\xe0", None),
        (b"not a picture", None),
        (b"", None),
    ],
)
def test_the_size_of_a_picture_stands_in_its_header(data, found):
    assert pictures.size(data) == found


def test_sizes_agree_with_a_library_that_decodes():
    image = pytest.importorskip("PIL.Image")
    for form in ("png", "jpeg", "gif", "webp", "bmp"):
        to = io.BytesIO()
        image.effect_noise((61, 43), 30).convert("RGB").save(to, form)
        assert pictures.size(to.getvalue()) == (pictures.FORMATS.index(form), 61, 43)


@settings(deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBP", b"BM", b"GIF89a"]),
)
def test_no_bytes_make_the_reading_of_a_header_fail(data, begin):
    found = pictures.size(begin + data)
    assert found is None or (found[1] > 0 and found[2] > 0)


@settings(deadline=None)
@given(st.lists(st.floats(-1e9, 1e9) | st.integers(-5, 5), min_size=1, max_size=80))
def test_figures_of_numbers(values):
    found = figures.numbers(Counter(values))
    assert (found["count"], found["min"], found["max"]) == (len(values), min(values), max(values))
    assert sum(found["histogram"]["counts"]) == len(values)
    assert len(found["histogram"]["edges"]) == len(found["histogram"]["counts"]) + 1
    assert found["mean"] == pytest.approx(sum(values) / len(values), rel=1e-4, abs=1e-3)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-1000, 1000), min_size=1, max_size=50), min_size=1, max_size=5))
def test_figures_of_parts_are_those_of_the_whole(parts):
    whole = figures.numbers(Counter(value for part in parts for value in part))
    merged = figures.merged_numbers([figures.numbers(Counter(part)) for part in parts])
    assert [merged[key] for key in ("count", "min", "max")] == [whole[key] for key in ("count", "min", "max")]
    assert merged["mean"] == pytest.approx(whole["mean"], rel=1e-3, abs=0.02)
    assert merged["deviation"] == pytest.approx(whole["deviation"], rel=0.02, abs=0.2)
    assert sum(merged["histogram"]["counts"]) == whole["count"]


def test_how_far_two_distributions_lie_apart():
    old = figures.numbers(dict.fromkeys(range(100), 1))["histogram"]
    moved = figures.numbers({value + 10: 1 for value in range(100)})["histogram"]
    assert figures.distance(old, old) == 0
    assert figures.distance(old, moved) == pytest.approx(10, rel=0.02)
    assert figures.distance({"edges": [5, 5], "counts": [3]}, {"edges": [7, 7], "counts": [9]}) == pytest.approx(2)
    assert figures.shift([10, 20, 30], [20, 40, 60]) == pytest.approx(0)
    assert figures.shift([50, 50], [90, 10]) > 0.25
    assert figures.shift([100, 0], [0, 100]) > 1


def test_a_table_is_described_alike_with_and_without_pyarrow(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.csv").write_text(SALES)
    with_it, without = (profiling.profile(tmp_path / "a.csv", "a.csv", arrow=arrow) for arrow in (True, False))
    assert with_it == without
    columns = {each["name"]: each for each in with_it["columns"]}
    assert {name: each["type"] for name, each in columns.items()} == {
        "id": "integer", "price": "number", "day": "date", "when": "time", "ok": "boolean", "shop": "text",
        "zip": "integer", "empty": "text",
    }  # fmt: skip
    assert (columns["zip"]["nulls"], columns["empty"]["nulls"], with_it["rows"]) == (810, 900, 900)
    assert columns["shop"]["distinct"] == 17 and columns["shop"]["top"][0] == {"value": "shop 0", "count": 53}
    assert (columns["day"]["min"], columns["day"]["max"]) == ("2026-03-01", "2026-03-28")
    assert with_it["head"][0] == ["0", "0", "2026-03-01", "2026-03-01T10:00:00", "false", "shop 0", "0", None]


@pytest.mark.parametrize("arrow", [True, False])
def test_lines_and_lists_of_json_are_tables(tmp_path, arrow):
    if arrow:
        pytest.importorskip("pyarrow")
    rows = [{"a": at, "b": None if at % 2 else f"x{at}"} for at in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    for name in ("a.jsonl", "a.json"):
        found = profiling.profile(tmp_path / name, name, arrow=arrow)
        assert (found["rows"], found["columns"][0]["max"], found["columns"][1]["nulls"]) == (20, 19, 10)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"a,b\n1,2\n1,2,3\n"),
        ("a.csv", b"\xff\xfe\x00a\n\xff\n"),
        ("a.parquet", b"PAR1 and no more"),
        ("a.json", b'{"a": 1}'),
        ("a.jsonl", b"[1]\n[2]\n"),
        ("a.csv", b""),
    ],
)
@pytest.mark.parametrize("arrow", [None, False])
def test_what_is_no_table_is_said_and_stops_nothing(tmp_path, name, content, arrow):
    (tmp_path / name).write_bytes(content)
    found = profiling.profile(tmp_path / name, name, arrow=arrow)
    assert found["problem"] and "columns" not in found


def test_a_long_csv_is_looked_at_in_part_and_says_so(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text(SALES)
    monkeypatch.setattr(profiling, "PLAIN", 1 << 14)
    monkeypatch.setattr(profiling, "LARGE", 1 << 14)
    for arrow in (None, False):
        found = profiling.profile(tmp_path / "a.csv", "a.csv", arrow=arrow)
        assert found["rows_estimated"] and found["sampled_rows"] < 900
        assert found["rows"] >= found["sampled_rows"]


def test_a_long_parquet_knows_its_rows_and_looks_at_some(tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(
        pa.table({"a": list(range(5000)), "f": [float("nan")] * 5000}), tmp_path / "a.parquet", row_group_size=500
    )
    monkeypatch.setattr(profiling, "MANY", 1200)
    found = profiling.profile(tmp_path / "a.parquet", "a.parquet")
    assert found["rows"] == 5000 and not found["rows_estimated"] and 0 < found["sampled_rows"] <= 1200
    assert found["columns"][1]["nulls"] == found["sampled_rows"]


# -- a version -------------------------------------------------------------------------------------------------------


class Folder:
    """Files in a folder, their tree, and statistics of it; counts how often a file is opened for them."""

    def __init__(self, root):
        self.root, self.read = root, []

    def tree(self, files):
        tree = Tree()
        for name, content in files.items():
            content = content if isinstance(content, bytes) else content.encode()
            place = self.root / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            tree.put(name.encode(), record(blake3(content).digest(), FILE, len(content)))
        return tree

    def place(self, path):
        self.read.append(path.decode())
        return bytes(self.root / path.decode())

    def of(self, tree, *, facts=None, base=None, parent=None, look=True, here=True):
        gathering = Gathering(facts)
        if look:
            for path, each in tree.records.items():
                place = self.root / path.decode()
                gathering.look(path, each, place.read_bytes(), bytes(place))
        return gathering.document(tree, base or Tree(), parent or {}, self.place if here else lambda path: None)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "files")


def test_a_version_of_many_kinds(folder):
    files = {f"train/cats/{at}.png": png(100 + at, 80) for at in range(20)} | {"train/dogs/a.jpg": jpeg(30, 20)}
    files |= {"broken.gif": b"GIF", "notes.txt": "one\ntwo\nthree", "sales.csv": SALES, "weights.bin": bytes(5000)}
    found = folder.of(folder.tree(files))
    assert (found["files"], found["bytes"]) == (25, sum(len(each) for each in files.values()))
    assert found["extensions"][0] == {"extension": ".png", "files": 20, "bytes": 20 * len(png(1, 1))}
    assert [each["folder"] for each in found["folders"]] == ["train/cats", "", "train/dogs"]
    assert sum(found["sizes"]["counts"]) == 25
    images = found["images"]
    assert (images["files"], images["looked_at"], images["broken"]) == (22, 22, 1)
    assert images["formats"] == {"jpeg": 1, "png": 20} and images["width"]["max"] == 119
    assert found["texts"]["lines"]["max"] == 3 and found["texts"]["characters"]["max"] == 13
    assert found["tables"][0]["path"] == "sales.csv" and found["tables"][0]["rows"] == 900
    assert found["previews"]["tables"][0]["rows"][1][0] == "1" and len(found["previews"]["images"]) == 12
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


def test_parts_of_one_table_are_described_as_one(folder):
    head, *rows = SALES.splitlines()
    files = {f"sales/day={at}/part.csv": "\n".join([head, *rows[at * 100 : at * 100 + 100]]) for at in range(9)}
    files |= {"shops.csv": "shop,city\na,b\n", "other/x.csv": "a\n1\n", "other/y.csv": "b\n1\n"}
    found = {each["path"]: each for each in folder.of(folder.tree(files))["tables"]}
    assert set(found) == {"sales/**/*.csv", "shops.csv", "other/x.csv", "other/y.csv"}
    sales = found["sales/**/*.csv"]
    assert (sales["files"], sales["rows"]) == (9, 900)
    columns = {each["name"]: each for each in sales["columns"]}
    assert (columns["id"]["min"], columns["id"]["max"], columns["id"]["mean"]) == (0, 899, 449.5)
    assert columns["id"]["distinct_least"] == 100 and columns["id"]["distinct_most"] == 900
    assert (columns["day"]["min"], columns["day"]["max"]) == ("2026-03-01", "2026-03-28")


def test_what_is_known_is_not_read_again(folder, tmp_path):
    facts = tmp_path / "facts"
    files = {"a.png": png(3, 4), "b.csv": SALES, "c.txt": "x"}
    tree = folder.tree(files)
    first = folder.of(tree, facts=facts)
    folder.read.clear()
    assert folder.of(tree, facts=facts, look=False) == first
    assert folder.read == []
    more = folder.tree(files | {"d.png": png(9, 9)})
    assert folder.of(more, facts=facts, look=False)["images"]["files"] == 2
    assert folder.read == ["d.png"]
    facts.write_bytes(b"damaged")
    assert folder.of(tree, facts=facts, look=False) == first


def test_what_is_not_here_comes_from_the_parent_or_is_counted_as_not_looked_at(folder):
    files = {"a.png": png(3, 4), "b.csv": SALES, "c.txt": "x"}
    base = folder.tree(files)
    parent = folder.of(base)
    tree = folder.tree(files | {"new.bin": bytes(10)})
    found = folder.of(tree, base=base, parent=parent, look=False, here=False)
    assert [found[name] for name in ("images", "texts", "tables")] == [
        parent[name] for name in ("images", "texts", "tables")
    ]
    assert found["previews"]["tables"] == parent["previews"]["tables"]
    changed = folder.tree(files | {"a.png": png(5, 5), "b.csv": SALES[:-10]})
    found = folder.of(changed, base=base, parent=parent, look=False, here=False)
    assert (found["images"]["files"], found["images"]["looked_at"]) == (1, 0)
    assert "tables" not in found and found["notes"]


def test_the_document_stays_small(folder):
    wide = ",".join(f"column-{at}-{'x' * 80}" for at in range(100))
    rows = "\n".join(",".join(f"{random.Random(row).random()}-{'y' * 90}" for _ in range(100)) for row in range(30))
    files = {f"{'folder' * 30}{at}/{'t' * 40}.csv": f"{wide}-{at}\n{rows}\n" for at in range(12)}
    found = folder.of(folder.tree(files))
    assert len(msgspec.json.encode(found)) <= statistics.LARGEST
    assert any("too long" in note for note in found["notes"])
    assert found["files"] == 12
