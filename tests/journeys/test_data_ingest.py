"""Data that comes in: split without leaks, validated, put aside and restored, taken from elsewhere, told of by events."""

import csv
import dataclasses
import http.server
import io
import json
import random
import sqlite3
import threading
from collections import Counter
from pathlib import Path

import pytest

import larder.data
from larder.contract import doors, events, runs, tenants
from larder.contract.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from larder.data import records
from larder.transport import Transport
from tests.journeys.conftest import fetch

pytestmark = pytest.mark.journey
PARTS = {"train": 0.7, "validation": 0.15, "test": 0.15}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def paths(address: str) -> set[str]:
    """All paths of a version."""
    found, waiting = set(), [""]
    while waiting:
        for item in larder.data.ls(address, waiting.pop()):
            if item.folder:
                waiting.append(item.path)
            else:
                found.add(item.path)
    return found


# -- splits --------------------------------------------------------------------------------------------------------


def shelf(folder: Path, count: int, begin: int = 0) -> Path:
    files = {}
    for at in range(begin, begin + count):
        files[f"{'cola' if at % 5 else 'milk'}/{at}.jpg"] = random.Random(at).randbytes(5_000)
    return write(folder, files)


def test_a_split_is_stratified_costs_nothing_and_stays(up, stores, tmp_path):
    up(**stores)
    folder = shelf(tmp_path / "photos", 200)
    whole = larder.data.commit("shelf", folder)
    found = larder.data.split("shelf", PARTS, stratify="label", pattern="{label}/*.jpg", seed=3)
    assert found.counts == {"train": 140, "validation": 30, "test": 30}
    new = [version.new_bytes for version in found.versions.values()]
    assert whole.new_bytes > 1_000_000 and sum(new) < 25_000, "the parts are lists of names"
    held = {part: paths(version.id) for part, version in found.versions.items()}
    assert set.union(*held.values()) == paths("shelf") and sum(map(len, held.values())) == 200
    for part, share in PARTS.items():
        assert Counter(path.split("/")[0] for path in held[part]) == {"cola": share * 160, "milk": share * 40}
    assert larder.data.resolve("shelf-test").report["split"]["of"].endswith("shelf@v1")
    again = larder.data.split("shelf@v1", PARTS, stratify="label", pattern="{label}/*.jpg", seed=3)
    assert {part: each.id for part, each in again.versions.items()} == {
        part: each.id for part, each in found.versions.items()
    }
    # more pictures: none of the old ones moves, and the shares hold
    shelf(folder, 100, 200)
    larder.data.commit("shelf", folder)
    grown = larder.data.split("shelf", PARTS, stratify="label", pattern="{label}/*.jpg", seed=3)
    for part, version in grown.versions.items():
        assert held[part] <= paths(version.id) and version.number == 2 and version.removed == 0
        assert abs(grown.counts[part] - 300 * PARTS[part]) < 2
    assert not larder.data.check_leaks(grown, near=False)
    tree, path = larder.data.get("shelf-test@v1"), min(held["test"])
    assert (tree / path).read_bytes() == (folder / path).read_bytes()


def test_groups_and_times_by_metadata(up, tmp_path):
    up()
    names = [f"{at}.txt" for at in range(60)]
    folder = write(tmp_path / "notes", {name: f"note {name}".encode() for name in names})
    about = {name: {"store": f"s{at % 6}", "day": f"2026-01-{1 + at // 2:02}"} for at, name in enumerate(names)}
    larder.data.commit("notes", folder, metadata=about)
    by_store = larder.data.split("notes", {"a": 0.5, "b": 0.5}, group="store", seed=1, name="stores")
    seen = [{about[path]["store"] for path in paths(version.id)} for version in by_store.versions.values()]
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == 6
    assert by_store.versions["a"].name == "stores-a"
    by_day = larder.data.split("notes", {"train": 0.8, "test": 0.2}, time="day")
    train, test = ([about[path]["day"] for path in paths(by_day.versions[part].id)] for part in ("train", "test"))
    assert max(train) < min(test) and len(train) == 48
    # what is known of an item goes with it
    assert larder.data.ls("notes-test")[0].metadata == about[larder.data.ls("notes-test")[0].path]
    for wrong in ({"group": "shop"}, {"stratify": "label"}, {"time": "day", "group": "store"}, {"time": "store"},
                  {"pattern": "*.jpg"}, {"table": "1.txt"}):  # fmt: skip
        with pytest.raises(Invalid):
            larder.data.split("notes", PARTS, **wrong)
    with pytest.raises(Invalid, match="would be empty"):
        larder.data.split("notes", {"a": 0.999999, "b": 0.000001})


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_rows_of_a_table_are_split_as_they_stand(up, tmp_path, form):
    up()
    rows = [{"id": f"{at:05}", "store": f"00{at % 10}", "note": 'says "hello", twice'} for at in range(400)]
    place = tmp_path / "t" / f"sales.{form}"
    place.parent.mkdir()
    if form == "csv":
        with place.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "store", "note"])
            writer.writeheader()
            writer.writerows(rows)
    elif form == "jsonl":
        place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), place)
    larder.data.commit("sales", place.parent)
    found = larder.data.split("sales", PARTS, table=f"sales.{form}", stratify="store")
    assert found.counts == {"train": 280, "validation": 60, "test": 60}
    back = []
    for version in found.versions.values():
        table = records.load(larder.data.get(version.id) / f"sales.{form}")
        assert len(set(Counter(table.column("store", "x")).values())) == 1
        back += [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert sorted(back, key=lambda row: row["id"]) == rows
    assert not larder.data.check_leaks(found)
    leaks = larder.data.check_leaks(found, ids=["id"])
    assert leaks and leaks.leaks[0].kind == "row", "without their ids many rows are the same"
    with pytest.raises(Invalid, match="No table has a column"):
        larder.data.check_leaks(found, ids=["ID"])


def test_parts_of_what_is_blind_are_blind(up, tmp_path):
    server = up()
    call = server.transport.call
    secret = call(tenants.ISSUE_TOKEN, tenants.NewToken(name="gate", evaluator=True)).secret
    gate = Transport(server.url, secret)
    larder.data.create("exam", blind=True)
    files = {f"{at}.bin": random.Random(at).randbytes(1_000) for at in range(30)} | {
        "long.bin": random.Random(9).randbytes(3 << 20)
    }
    larder.data.commit("exam", write(tmp_path / "exam", files))
    with pytest.raises(Denied):
        larder.data.split("exam", {"a": 0.5, "b": 0.5})
    found = larder.data.split("exam", {"a": 0.5, "b": 0.5}, transport=gate)
    assert all(version.blind for version in found.versions.values())
    with pytest.raises(Denied):
        larder.data.ls("exam-a")
    laid = {}
    for version in found.versions.values():
        folder = larder.data.get(version.id, transport=gate)
        laid |= {place.name: place.read_bytes() for place in folder.iterdir()}
    assert laid == files
    again = larder.data.split("exam", {"a": 0.5, "b": 0.5}, transport=gate)
    assert [each.id for each in again.versions.values()] == [each.id for each in found.versions.values()]


# -- leaks ---------------------------------------------------------------------------------------------------------


def picture(seed: int, size: tuple[int, int] = (160, 120), form: str = "PNG", quality: int = 90) -> bytes:
    image = pytest.importorskip("PIL.Image")
    chance = random.Random(seed)
    small = image.frombytes("RGB", (8, 6), bytes(chance.randrange(256) for _ in range(8 * 6 * 3)))
    out = io.BytesIO()
    small.resize((160, 120), image.Resampling.BICUBIC).resize(size).save(
        out, form, **({"quality": quality} if form == "JPEG" else {})
    )
    return out.getvalue()


def test_planted_copies_across_parts_are_found_and_named(up, tmp_path):
    up()
    train = {f"{at}.png": picture(at) for at in range(30)}
    test = {f"{at}.png": picture(at) for at in range(100, 110)}
    text = [f"word{at}" for at in range(300)]
    train["a/report.txt"] = " ".join(text).encode()
    clean = larder.data.check_leaks(
        [
            larder.data.commit("train", write(tmp_path / "a", train)).id,
            larder.data.commit("test", write(tmp_path / "b", test)).id,
        ]
    )
    assert not clean and clean.looked_at == {"files": 41, "images": 40}
    clean.refuse()
    test |= {
        "copy.png": picture(3), "smaller.jpg": picture(7, (80, 60), "JPEG", 70), "larger.png": picture(8, (400, 300)),
        "report.txt": " ".join([*text[:150], "other", *text[150:]]).encode(), "broken.jpg": b"\xff\xd8\xff no picture",
    }  # fmt: skip
    larder.data.commit("test", write(tmp_path / "b", test))
    found = larder.data.check_leaks({"train": "train", "test": "test"})
    assert {(each.kind, each.left, each.right) for each in found.leaks} == {
        ("content", "train: 3.png", "test: copy.png"),
        ("image", "train: 7.png", "test: smaller.jpg"),
        ("image", "train: 8.png", "test: larger.png"),
        ("text", "train: a/report.txt", "test: report.txt"),
    }
    assert found.unread == ["test: broken.jpg"]
    with pytest.raises(Conflict, match=r"train: 3.png is a copy of test: copy.png"):
        found.refuse()
    assert [each.kind for each in larder.data.check_leaks(["train", "test"], near=False).leaks] == ["content"]
    for wrong in ({"bits": 40}, {"share": 0}):
        with pytest.raises(Invalid):
            larder.data.check_leaks(["train", "test"], **wrong)
    with pytest.raises(Invalid):
        larder.data.check_leaks(["train"])


# -- validation ----------------------------------------------------------------------------------------------------

SALES = """day,store,price,kind
2026-01-01,007,3.5,cola
2026-01-02,007,-1,cola
2026-01-02,008,oops,milk
2026-01-03,008,,milk
2026-01-01,007,4,"cola, light"
2026-01-04,009,5.25,beer
"""
EXPECTED = """
files:
  - {match: "*.jpg", count: {min: 1}, image: {width: {min: 64}, formats: [JPEG, PNG]}}
  - {match: "*.txt", text: true, bytes: {max: 50}}
tables:
  - match: "**/*.csv"
    rows: {min: 1}
    unique: [day, store]
    others: false
    columns:
      day: {type: date, nulls: false, min: "2026-01-01"}
      store: {type: text, matches: "0\\\\d\\\\d"}
      price: {type: float, nulls: false, min: 0, max: 100}
      kind: {values: [cola, milk, beer]}
"""


def delivery(folder: Path) -> Path:
    """A folder with good and bad files, and a table with good and bad rows."""
    return write(folder, {
        "good.jpg": picture(1), "small.jpg": picture(2, (32, 24)), "broken.jpg": picture(3)[:2_000], "empty.jpg": b"",
        "good.txt": b"fine", "latin.txt": "Käse".encode("latin-1"), "long.txt": b"x" * 60, "t/sales.csv": SALES.encode(),
        "other.bin": b"nobody expects anything of it",
    })  # fmt: skip


def test_what_fails_is_put_aside_counted_browsed_and_restored(up, tmp_path):
    pytest.importorskip("pandera")
    up()
    (tmp_path / "expected.yaml").write_text(EXPECTED)
    folder, suite = delivery(tmp_path / "in"), tmp_path / "expected.yaml"
    version = larder.data.commit(
        "sales", folder, validate=suite, invalid="quarantine", metadata={"long.txt": {"by": "ann"}}
    )
    assert paths("sales") == {"good.jpg", "good.txt", "t/sales.csv", "other.bin"}
    table = larder.data.read("sales", "t/sales.csv").decode()
    assert table == "day,store,price,kind\n2026-01-01,007,3.5,cola\n2026-01-04,009,5.25,beer\n", "007 stays 007"
    report = version.report["validation"]
    assert report["passed"] is False and report["failed"] == {"files": 5, "rows": 4}
    assert report["checked"] == {"files": 8, "rows": 6} and report["quarantine"].endswith("sales-quarantine@v1")
    found = {check["check"]: check["failed"] for check in report["checks"]}
    assert found == {
        "empty file": 1, "broken image": 1, "size of an image": 1, "text": 1, "bytes of a file": 1, "price: min 0": 1,
        "price: float": 1, "price: no nulls": 1, "day and store: unique together": 1, "kind: one of cola, milk, beer": 1,
    }  # fmt: skip
    aside = {each.path: each for each in larder.data.quarantined("sales")}
    rows = next(each for each in aside.values() if each.rows)
    assert len(aside) == 6 and rows.rows == 4 and rows.table == "t/sales.csv" and "price: min 0 (1)" in rows.reason
    assert aside["small.jpg"].reason == "the image is 32 pixels wide, expected are 64 to any"
    assert aside["empty.jpg"].reason == "the file is empty" and aside["latin.txt"].reason == "it is not text in UTF-8"
    browsed = larder.data.read("sales-quarantine", rows.path).decode().splitlines()
    assert browsed[0].endswith("larder_reason") and browsed[1] == "2026-01-02,007,-1,cola,price: min 0"
    # the same again: nothing new, nothing twice
    again = larder.data.commit("sales", folder, validate=suite, invalid="quarantine")
    assert again.id == version.id and len(larder.data.quarantined("sales")) == 6
    # back
    restored = larder.data.restore("sales", ["small.jpg", "long.txt"])
    assert paths("sales") == {"good.jpg", "good.txt", "t/sales.csv", "other.bin", "small.jpg", "long.txt"}
    assert restored.number == 2 and len(larder.data.quarantined("sales")) == 4
    assert {each.path: each.metadata for each in larder.data.ls("sales") if not each.folder}["long.txt"] == {
        "by": "ann"
    }
    larder.data.restore("sales")
    assert larder.data.quarantined("sales") == []
    assert sorted(larder.data.read("sales", "t/sales.csv").decode().splitlines()) == sorted(SALES.splitlines())
    assert paths("sales") == {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    with pytest.raises(NotFound):
        larder.data.restore("sales")


def test_refuse_and_warn(up, tmp_path):
    pytest.importorskip("pandera")
    up()
    (tmp_path / "expected.yaml").write_text(EXPECTED)
    folder, suite = delivery(tmp_path / "in"), tmp_path / "expected.yaml"
    with pytest.raises(Conflict, match=r"broken.jpg: the image is broken.*; and 6 more\."):
        larder.data.commit("sales", folder, validate=suite)
    assert [each.versions for each in larder.data.datasets()] in ([], [0]), "a refused commit commits nothing"
    version = larder.data.commit("sales", folder, validate=suite, invalid="warn")
    assert version.files == 9 and version.report["validation"]["failed"] == {"files": 5, "rows": 4}
    good = {"good.jpg": folder / "good.jpg", "t/sales.csv": b"day,store,price,kind\n2026-01-01,007,3.5,cola\n"}
    passed = larder.data.commit("good", good, validate=suite)
    assert passed.report["validation"]["passed"] and passed.report["validation"]["checks"] == []
    # what holds of the whole cannot be put aside
    with pytest.raises(Conflict, match="0 files match"):
        larder.data.commit("good", {"good.txt": b"x"}, validate=suite, invalid="quarantine")
    table = {
        "tables": [{"match": "*.csv", "columns": {"a": {"type": "int", "unique": True}, "b": {}}, "rows": {"max": 3}}]
    }
    for content, reason in ((b"a\n1\n", "no column b"), (b"", "is empty"), (b"a,b\n1\n", "1 values and 2 columns"),
                            (b"a,b\n1,2\n1,3\n", "row 2: a: unique"), (b"a,b\n1.5,2\n", "row 1: a: int"),
                            (b"a,b\n1,2\n2,2\n3,2\n4,2\n", "it has 4 rows"), (b"a,b\n\xff,1\n", "not in UTF-8")):  # fmt: skip
        with pytest.raises(Conflict, match=reason):
            larder.data.commit("tables", {"x.csv": content}, validate=table)
    for suite_ in ({"tables": [{"match": "*", "colums": {}}]}, {"files": [{"match": "{"}]}, tmp_path / "none.yaml",
                   {"tables": [{"match": "*", "columns": {"a": {"matches": "("}}}]},
                   {"tables": [{"match": "*", "columns": {"a": {"type": "date", "min": "soon"}}}]}):  # fmt: skip
        with pytest.raises(Invalid):
            larder.data.commit("tables", {"x.csv": b"a\n1\n"}, validate=suite_)
    with pytest.raises(Invalid, match="may be 'refuse'"):
        larder.data.commit("tables", {"x.csv": b"a\n1\n"}, validate=table, invalid="ignore")


# -- connectors ----------------------------------------------------------------------------------------------------


def told(address: str) -> dict[str, dict[str, object]]:
    """What is known of each item of a version."""
    found, waiting = {}, [""]
    while waiting:
        for item in larder.data.ls(address, waiting.pop()):
            if item.folder:
                waiting.append(item.path)
            else:
                found[item.path] = item.metadata
    return found


def lines(address: str, folder: str) -> list[dict[str, object]]:
    """All records below a folder of a version."""
    return [
        json.loads(line)
        for path in sorted(paths(address)) if path.startswith(folder)
        for line in larder.data.read(address, path).decode().splitlines()
    ]  # fmt: skip


def test_a_folder_is_taken_once(up, tmp_path):
    up()
    inbox = write(tmp_path / "inbox", {"a.jpg": b"a", "mail/b.eml": b"b"})
    first = larder.data.ingest(inbox, "inputs", prefix="camera")
    assert (first.taken, first.known) == (2, 0) and paths("inputs") == {"camera/a.jpg", "camera/mail/b.eml"}
    about = told("inputs")["camera/mail/b.eml"]
    assert about["source"] == (inbox / "mail/b.eml").as_uri() and about["arrived"].startswith("20")
    again = larder.data.ingest(inbox, "inputs", prefix="camera")
    assert (again.taken, again.known) == (0, 2) and again.version.id == first.version.id
    write(inbox, {"c.txt": b"call", "a.jpg": b"another picture"})
    (inbox / "mail/b.eml").unlink()
    more = larder.data.ingest(inbox, "inputs", prefix="camera")
    assert (more.taken, more.known) == (2, 0) and len(paths("inputs")) == 3, "what is gone there stays here"
    assert larder.data.read("inputs", "camera/a.jpg") == b"another picture"
    with pytest.raises(NotFound):
        larder.data.ingest(tmp_path / "none", "inputs")


@pytest.mark.parametrize("opened", [True, False], ids=["connection", "address"])
def test_rows_of_a_query_are_taken_once(up, tmp_path, opened):
    up()
    base = sqlite3.connect(tmp_path / "shop.sqlite")
    base.execute("create table orders (id integer, product text, at timestamp)")
    base.executemany("insert into orders values (?, ?, ?)", [(at, f"p{at}", f"2026-01-{at:02}") for at in range(1, 10)])
    base.commit()
    where = base if opened else f"sqlite:///{tmp_path / 'shop.sqlite'}"
    query = larder.data.Query(database=where, sql="select id, product from orders;", name="orders", key="id")
    whole = larder.data.Query(database=where, sql="select product, at from orders", name="by-content")
    assert [larder.data.ingest(each, "shop").taken for each in (query, whole, query, whole)] == [9, 9, 0, 0]
    base.executemany("insert into orders values (?, ?, ?)", [(10, "p10", "2026-02-01"), (10, "p10", "2026-02-01")])
    base.commit()
    taken = larder.data.ingest(query, "shop"), larder.data.ingest(whole, "shop")
    assert [(each.taken, each.known) for each in taken] == [(2, 0), (1, 10)]
    assert [each["id"] for each in lines("shop", "orders/")] == [*range(1, 10), 10, 10]
    assert {about["source"] for about in told("shop").values()} == {"sql:orders", "sql:by-content"}
    for change in ({"sql": "selec 1"}, {"sql": "select 1 as a, 2 as a"}, {"key": "missing"}, {"key": "id; drop table x"},
                   {"name": "../x"}, {"sql": "select null as id"}):  # fmt: skip
        with pytest.raises(Invalid):
            larder.data.ingest(dataclasses.replace(query, **{"name": "bad", **change}), "shop")
    if not opened:
        with pytest.raises(Unavailable):
            larder.data.ingest(dataclasses.replace(query, database="sqlite:////nowhere/x.sqlite"), "shop")


def test_records_of_an_address_are_taken_once(up):
    up()
    records_ = [{"id": at, "text": f"post {at}", "place": {"lat": 52.5, "lon": 13.4}} for at in range(5)]
    answers = {"/posts": {"data": {"items": records_}}, "/lines": None, "/list": records_, "/bad": "x"}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            body = "\n".join(map(json.dumps, records_)) if path == "/lines" else json.dumps(answers.get(path))
            self.send_response(200 if path in answers else 404)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        posts = larder.data.Records(url=f"{base}/posts?token=secret", name="posts", key="id", at="data.items")
        others = [larder.data.Records(url=f"{base}/{name}", name=name) for name in ("lines", "list")]
        assert [larder.data.ingest(each, "web").taken for each in (posts, *others)] == [5, 5, 5]
        records_.append({"id": 5, "text": "new"})
        records_[0]["text"] = "edited"
        found = [larder.data.ingest(each, "web") for each in (posts, *others)]
        assert [(each.taken, each.known) for each in found] == [(1, 5), (2, 4), (2, 4)]
        assert [each["id"] for each in lines("web", "posts/")] == [0, 1, 2, 3, 4, 5]
        known = told("web")
        assert {each["source"] for each in known.values()} == {f"{base}/{name}" for name in ("posts", "lines", "list")}
        assert all(each["arrived"] for each in known.values()) and "secret" not in json.dumps(known)
        for wrong in (
            {"at": "data"},
            {"at": ""},
            {"at": "nothing"},
            {"key": "uid"},
            {"url": "ftp://x/y"},
            {"url": f"{base}/bad"},
        ):
            with pytest.raises(Invalid):
                larder.data.ingest(dataclasses.replace(posts, **{"name": "bad", **wrong}), "web")
        with pytest.raises(NotFound):
            larder.data.ingest(dataclasses.replace(posts, url=f"{base}/none"), "web")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.s3
def test_objects_below_a_prefix_are_taken_once(up, s3_url, s3_server, monkeypatch):
    import obstore
    from obstore.store import from_url

    up()
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    bucket = s3_url.removeprefix("s3://").partition("/")[0]
    store = from_url(f"s3://{bucket}", client_options={"allow_http": True})
    for key in ("in/a.jpg", "in/b/c.txt", "other/d.txt"):
        obstore.put(store, key, key.encode())
    first = larder.data.ingest(f"s3://{bucket}/in/", "objects")
    assert first.taken == 2 and paths("objects") == {"a.jpg", "b/c.txt"}
    assert told("objects")["b/c.txt"]["source"] == f"s3://{bucket}/in/b/c.txt"
    obstore.put(store, "in/a.jpg", b"changed")
    again = larder.data.ingest(f"s3://{bucket}/in", "objects")
    assert (again.taken, again.known) == (1, 1) and larder.data.read("objects", "a.jpg") == b"changed"


# -- events --------------------------------------------------------------------------------------------------------


def test_a_cloud_event_starts_a_run_once_in_both_shapes(up, stores):
    server = up(**stores)
    call = server.transport.call
    source = call(runs.CREATE, runs.NewRun(project="shelf", params={"path": ""}))
    arguments = {"run": source.id, "queue": "ingest", "params": {"path": "${data.key}"}}
    call(doors.SET, doors.NewEventDoor(type="object.created", action="runs.repeat", arguments=arguments), door="photos")
    event = {
        "specversion": "1.0",
        "id": "7",
        "source": "/shop/photos",
        "type": "object.created",
        "data": {"key": "a.jpg"},
        "zone": "eu",
    }

    def send(body, **headers):
        status, _, answer = fetch(
            f"{server.url}/v1/cloud-events", token=server.token, method="POST", body=body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )  # fmt: skip
        return status, json.loads(answer)

    status, first = send(json.dumps(event).encode(), content_type="application/cloudevents+json; charset=utf-8")
    assert status == 200 and not first["again"]
    run = call(runs.GET, run_id=first["run"])
    assert run.status is runs.RunStatus.QUEUED and run.params["path"] == "a.jpg" and run.queue == "ingest"
    binary = {"ce_specversion": "1.0", "ce_source": "/shop/photos", "ce_type": "object.created"}
    status, again = send(b'{"key": "other.jpg"}', ce_id="7", **binary)
    assert status == 200 and again == {**first, "again": True}
    status, other = send(b'{"key": "b.jpg"}', ce_id="%C3%A4 8", **binary)
    assert status == 200 and call(runs.GET, run_id=other["run"]).params["path"] == "b.jpg"
    assert send(b"[]", content_type="application/cloudevents-batch+json")[0] == 400
    assert send(b"{}", ce_id="9", ce_specversion="1.0")[0] == 400
    assert send(b"{}", ce_id="9", **{**binary, "ce_type": "else"})[0] == 404
    assert send(b"{}", ce_id="9", **binary)[0] == 400, "it does not say what the door asks for"
    assert send(b'{"key": "c.jpg"}', ce_id="9", **binary)[0] == 200, "and may come again"
    assert [each.received for each in call(doors.LIST).doors] == [3]
    assert [each.id for each in call(doors.RECEIVED).events] == ["9", "ä 8", "7"]
    # records that others post are kept, and the next ingest commits them
    call(doors.SET, doors.NewEventDoor(type="form.sent", action="events.keep"), door="forms")
    form = {"ce_specversion": "1.0", "ce_source": "/forms", "ce_type": "form.sent"}
    for at in (1, 2, 2):
        assert send(json.dumps({"stars": at}).encode(), ce_id=str(at), **form)[0] == 200
    first_ = larder.data.ingest(larder.data.Door("forms"), "inputs")
    assert send(b'{"stars": 3}', ce_id="3", **form)[0] == 200
    second = larder.data.ingest(larder.data.Door("forms"), "inputs")
    third = larder.data.ingest(larder.data.Door("forms"), "inputs")
    assert [(each.taken, each.known) for each in (first_, second, third)] == [(2, 0), (1, 2), (0, 3)]
    posted = lines("inputs", "forms/")
    assert [each["data"]["stars"] for each in posted] == [1, 2, 3]
    assert all(each["source"] == "/forms" and each["arrived"].startswith("20") for each in posted)
    assert {each["source"] for each in told("inputs").values()} == {"door:forms"}
    with pytest.raises(NotFound):
        larder.data.ingest(larder.data.Door("none"), "inputs")
    audit = call(events.LIST, events.EventQuery(subject="photos")).events
    assert [each.name for each in audit] == ["schedules.door_set"] + ["schedules.event_received"] * 3
    assert audit[1].data["run"] == first["run"] and audit[1].data["id"] == "7"


# -- the command line ----------------------------------------------------------------------------------------------


def larder_data(*arguments: str) -> tuple[int, str]:
    """Exit status and output of `larder data …`, in this process."""
    from click.testing import CliRunner

    from larder.cli import group

    done = CliRunner().invoke(group.larder, ["data", *arguments])
    return done.exit_code, done.output


def test_the_command_line_splits_checks_takes_and_restores(up, tmp_path):
    up()
    folder = shelf(tmp_path / "photos", 40)
    copy = (folder / "cola/1.jpg").read_bytes()
    larder.data.commit("shelf", folder)
    split_ = ("split", "shelf", "train=0.5", "test=0.5", "--pattern", "{label}/*.jpg")
    assert larder_data(*split_, "--stratify", "label")[0] == 0
    larder.data.add("shelf-test", {"planted.jpg": copy, "other.jpg": copy})
    larder.data.add("shelf-train", {"planted.jpg": copy})
    status, said = larder_data("leaks", "shelf-train", "shelf-test", "--exact")
    assert status == 1 and "shelf-train: " in said and "is a copy of shelf-test: " in said
    status, said = larder_data("leaks", "shelf-train", "shelf-test", "--exact", "--json")
    assert status == 1 and '"kind": "content"' in said
    assert larder_data("split", "shelf", "train=x")[0] == 2 and larder_data("split", "shelf", "a=0.5", "b=0.2")[0] == 2
    status, said = larder_data("ingest", str(folder), "--to", "inbox")
    assert status == 0 and "40 new, 0 known." in said and "inbox@v1" in said
    assert "0 new, 40 known." in larder_data("ingest", str(folder), "--to", "inbox")[1]
    assert larder_data("ingest", "https://x.example", "--to", "inbox")[0] == 2
    (tmp_path / "expected.json").write_text(json.dumps({"files": [{"match": "**/*.jpg", "bytes": {"max": 100}}]}))
    write(tmp_path / "new", {"a.jpg": b"small", "b.jpg": b"l" * 101})
    commit = ("commit", str(tmp_path / "new"), "--to", "new", "--validate", str(tmp_path / "expected.json"))
    status, said = larder_data(*commit)
    assert status == 1 and "b.jpg: it has 101 bytes, expected are any to 100" in said
    assert larder_data(*commit, "--invalid", "quarantine")[0] == 0 and paths("new") == {"a.jpg"}
    assert "1 items are in quarantine." in larder_data("quarantine", "new")[1]
    assert larder_data("restore", "new")[0] == 2
    assert larder_data("restore", "new", "--all")[0] == 0 and paths("new") == {"a.jpg", "b.jpg"}
    assert larder_data("restore", "new", "--all")[0] == 4
    assert larder_data("quarantine", "nothing")[0] == 4
