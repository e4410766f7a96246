"""Data versions as a data scientist uses them: commit, get, compare, trace; and what goes wrong on the way."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from larder import config, data
from larder.contract.endpoint import Role
from larder.contract.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from larder.contract.ids import new_id
from larder.data import verbs
from larder.data.cache import Cache
from larder.transport import Transport

from .conftest import Up

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that the tests of this file share; each has datasets of its own."""
    started = Up(home=tmp_path_factory.mktemp("data") / "server").start()
    yield started
    started.stop()


@pytest.fixture
def here(server, tmp_path, monkeypatch):
    """This machine: configured for the server, with a cache of its own."""
    config.save(config.Config(server.url, server.token, config.home()))
    monkeypatch.setenv("LARDER_PROJECT", "bakery")
    return server


def write(folder, files):
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def photos(folder, *, count=40):
    """A small delivery: images, a table, a long file, a link, a program, an empty file. No two have content in common."""
    chance = random.Random(str(folder))
    files = {f"shelf-{number % 3}/{number}.jpg": chance.randbytes(2000 + 37 * number) for number in range(count)}
    files |= {"sales.csv": "day,price\n" + "".join(f"{day},{day % 7}\n" for day in range(500)), "empty": b""}
    files |= {"film.bin": chance.randbytes(5 << 20), "ümläut/größe.txt": "grün"}
    write(folder, files)
    (folder / "tool.sh").write_text("#!/bin/sh\n")
    (folder / "tool.sh").chmod(0o755)
    (folder / "latest.jpg").symlink_to("shelf-0/0.jpg")
    return folder


def plain(folder):
    """A folder as a plain model: path to content, or to where a link leads; and whether it is a program."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            place = Path(where, name)
            path = place.relative_to(folder).as_posix()
            if place.is_symlink():
                found[path] = os.readlink(place)
            else:
                found[path] = (place.read_bytes(), bool(place.stat().st_mode & 0o100))
    return found


def unique(name="shelf"):
    return f"{name}-{new_id()[-8:]}"


# -- the walk --------------------------------------------------------------------------------------------------------


def test_a_version_goes_round_on_every_store(stores, up, tmp_path, monkeypatch):
    """D1, D3: commit, what it changed, get elsewhere; the next version moves only what changed."""
    server = up(**stores)
    monkeypatch.setenv("LARDER_PROJECT", "bakery")
    source = photos(tmp_path / "photos")
    first = data.commit("shelf", source, message="march delivery")
    assert (first.address, first.added, first.message) == ("bakery/shelf@v1", 46, "march delivery")
    assert plain(data.get("shelf")) == plain(source)

    film = bytearray((source / "film.bin").read_bytes())
    film[2 << 20 : 2 << 20] = b"a cut"
    write(source, {"film.bin": bytes(film), "shelf-1/new.jpg": b"new", "shelf-0/0.jpg": b"other"})
    (source / "sales.csv").unlink()
    shutil.move(source / "shelf-2", source / "shelf-9")
    second = data.commit("shelf", source, tags=["april"], alias="ready")
    assert second.parents == [first.id] and second.tags == ["april"] and second.aliases == ["ready"]
    assert second.new_bytes < 3 << 20, "an edit in the middle and a renamed folder cost what they changed"
    found = data.diff("shelf@v1", "shelf@v2")
    assert (found.changed, found.removed, found.renamed) == (2, 1, 13)
    elsewhere = Cache(tmp_path / "elsewhere")
    assert plain(data.get("shelf@v1", cache=elsewhere)) != plain(source)
    assert plain(data.get("shelf@ready", cache=elsewhere, to=tmp_path / "out")) == plain(source)
    assert [each.number for each in data.log("shelf")] == [2, 1]
    server.stop(kill=True)
    server.start()
    assert plain(data.get("shelf@april", cache=Cache(tmp_path / "third"))) == plain(source)


def test_nothing_new_is_no_version(here, tmp_path):
    name = unique()
    source = photos(tmp_path / "photos")
    first = data.commit(name, source)
    assert data.commit(name, source).id == first.id
    assert data.commit(name, source, tags=["checked"]).tags == ["checked"]


def test_files_are_added_replaced_and_taken_away(here, tmp_path):
    name = unique()
    files = write(tmp_path, {"a.txt": "1", "more/b.txt": "2", "more/c.txt": "3"})
    data.commit(name, files / "a.txt")
    data.add(name, files / "more")
    third = data.commit(name, {"a.txt": b"other", "deep/d.txt": files / "a.txt"}, remove=["more/b.txt"])
    assert {path: content for path, (content, _) in plain(data.get(name)).items()} == {
        "a.txt": b"other",
        "more/c.txt": b"3",
        "deep/d.txt": b"1",
    }
    assert (third.added, third.changed, third.removed) == (1, 1, 1)
    assert data.rm(name, "more").files == 2
    with pytest.raises(Invalid, match="no file or folder 'more'"):
        data.rm(name, "more")


def test_parts_make_up_the_whole(here, tmp_path):
    name = unique()
    source = write(tmp_path / "s", {f"{number}.txt": str(number) for number in range(60)})
    data.commit(name, source)
    parts = [plain(data.get(name, part=(number, 3))) for number in range(3)]
    whole = {}
    for each in parts:
        assert each and not whole.keys() & each.keys()
        whole |= each
    assert whole == plain(source)
    with pytest.raises(Invalid, match="no part 3 of 3"):
        data.get(name, part=(3, 3))


def test_a_folder_becomes_the_next_version_unless_it_was_altered(here, tmp_path):
    name = unique()
    source = photos(tmp_path / "photos", count=5)
    data.commit(name, source)
    data.get(name, to=tmp_path / "work", writable=True)
    write(source, {"new.txt": "new"})
    data.commit(name, source)
    data.get(name, to=tmp_path / "work", writable=True)
    assert plain(tmp_path / "work") == plain(source)
    write(tmp_path / "work", {"new.txt": "mine"})
    with pytest.raises(Conflict, match=r"altered since: changed: new.txt"):
        data.get(f"{name}@v1", to=tmp_path / "work")
    assert (tmp_path / "work" / "new.txt").read_text() == "mine"
    write(tmp_path / "foreign", {"x": "y"})
    with pytest.raises(Conflict, match="holds files of others"):
        data.get(name, to=tmp_path / "foreign")


def test_a_writable_copy_is_the_next_version(here, tmp_path):
    name = unique()
    data.commit(name, photos(tmp_path / "photos", count=5))
    work = data.get(name, to=tmp_path / "work", writable=True)
    write(work, {"shelf-0/0.jpg": "mine"})
    version = data.commit(name, work)
    assert (version.added, version.changed, version.removed) == (0, 1, 0)
    assert data.read(name, "shelf-0/0.jpg") == b"mine"
    assert data.read(f"{name}@v1", "shelf-0/0.jpg") != b"mine", "the cache did not hear of it"


# -- D2: the wrong data ----------------------------------------------------------------------------------------------


def test_altered_data_are_named(here, tmp_path):
    name = unique()
    source = photos(tmp_path / "photos", count=5)
    data.commit(name, source)
    work = data.get(name, to=tmp_path / "work", writable=True)
    data.check(work)
    before = (work / "film.bin").stat()
    film = bytearray((work / "film.bin").read_bytes())
    film[77] ^= 1
    (work / "film.bin").write_bytes(film)
    os.utime(work / "film.bin", ns=(before.st_atime_ns, before.st_mtime_ns))
    (work / "shelf-1" / "1.jpg").unlink()
    write(work, {"extra.txt": "x"})
    (work / "tool.sh").chmod(0o644)
    with pytest.raises(Conflict, match=r"changed: film.bin, tool.sh; missing: shelf-1/1.jpg; added: extra.txt"):
        data.check(work)
    found = data.verify(name, work)
    assert (found.changed, found.missing, found.extra) == (["film.bin", "tool.sh"], ["shelf-1/1.jpg"], ["extra.txt"])
    assert not data.verify(name, source)
    assert data.check(source, name).number == 1
    with pytest.raises(Invalid, match="holds no version"):
        data.check(source)


def test_what_was_altered_in_the_cache_is_thrown_out_and_comes_anew(here, tmp_path):
    """Who is root writes through any permission."""
    name = unique()
    source = photos(tmp_path / "photos", count=5)
    data.commit(name, source)
    tree = data.get(name)
    victim = tree / "shelf-0" / "0.jpg"
    victim.chmod(0o644)
    victim.write_bytes(b"x" * victim.stat().st_size)
    with pytest.raises(Conflict, match=r"changed: shelf-0/0.jpg"):
        data.check(tree)
    assert plain(data.get(name)) == plain(source)
    data.check(data.get(name))


# -- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_says_what_it_read_and_wrote(here, tmp_path, monkeypatch):
    """D3, D4: edges with part, and bytes from the cache and from the network."""
    name = unique()
    source = photos(tmp_path / "photos", count=5)
    version = data.commit(name, source)
    run = new_id()
    monkeypatch.setenv("LARDER_RUN", run)
    data.get(name)
    data.get(name)
    data.get(name, part=(0, 2))
    write(source, {"more.txt": "more"})
    written = data.commit(name, source)
    uses = data.used(run=run)
    assert {(each.version, each.role, each.part) for each in uses} == {
        (version.id, "input", ""),
        (version.id, "input", "0/2"),
        (written.id, "output", ""),
    }
    assert written.run == run
    first = next(each for each in uses if each.role == "input" and not each.part)
    assert first.served.keys() == {"cached", "fetched"} and sum(first.served.values()) > 0
    assert [each.run for each in data.used(f"{name}@v2")] == [run]


def test_larder_init_is_enough(here, tmp_path):
    name = unique()
    data.commit(name, write(tmp_path / "s", {"a": "1"}))
    script = f"""
import larder
run = larder.init(project="bakery")
larder.data.get({name!r})
run.finish()
larder.data.get({name!r}, to={str(tmp_path / "later")!r})
print(run.id)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    run = done.stdout.split()[-1]
    assert [(each.role, each.run) for each in data.used(f"{name}@v1")] == [("input", run)]


# -- tables ----------------------------------------------------------------------------------------------------------


def test_tables_are_read_where_they_lie(here, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    name = unique("sales")
    (tmp_path / "s" / "parts").mkdir(parents=True)
    for number in range(3):
        table = pyarrow.table({"day": list(range(100)), "price": [number + 0.5] * 100, "store": ["a", "b"] * 50})
        parquet.write_table(table, tmp_path / "s" / "parts" / f"{number}.parquet")
    write(tmp_path / "s", {"x.csv": "a,b\n1,2\n3,4\n", "y.jsonl": '{"a": 1}\n{"a": 2}\n', "z.tsv": "a\tb\n1\t2\n"})
    write(tmp_path / "s", {"big.bin": os.urandom(3 << 20)})
    data.commit(name, tmp_path / "s")
    fresh = Cache(tmp_path / "fresh")
    table = data.table(name, "parts", cache=fresh)
    found = table.to_arrow(columns=["day", "price"], where=[("price", ">", 1), ("day", "<", 10)])
    assert found.column_names == ["day", "price"] and found.num_rows == 20
    assert table.count([("store", "in", ["a"])]) == 150
    assert len(table.to_pandas()) == 300
    assert fresh.measure() < 1 << 20, "only the files of the table came"
    assert data.table(name, "x.csv").to_arrow().to_pydict() == {"a": [1, 3], "b": [2, 4]}
    assert data.table(name, "y.jsonl").count() == 2
    assert data.table(name, "z.tsv").schema.names == ["a", "b"]
    with pytest.raises(Invalid, match="has no column 'prise'"):
        table.to_arrow(["prise"])
    with pytest.raises(Invalid, match="say which"):
        data.table(name)
    with pytest.raises(Invalid, match="is no table"):
        data.table(name, "big.bin")


# -- merge, squash, aliases, export ----------------------------------------------------------------------------------


def test_branches_are_merged_and_squashed(here, tmp_path):
    name = unique()
    source = write(tmp_path / "s", {"a": "1", "b": "2", "c": "3"})
    data.commit(name, source)
    data.commit(name, {"a": b"ours"})
    data.commit(name, {"b": b"theirs"}, parent=f"{name}@v1")
    merged = data.merge(f"{name}@v2", f"{name}@v3", message="both")
    assert len(merged.parents) == 2
    assert {path: content for path, (content, _) in plain(data.get(merged.id)).items()} == {
        "a": b"ours",
        "b": b"theirs",
        "c": b"3",
    }
    squashed = data.squash(merged.id, f"{name}@v1", message="one")
    assert squashed.tree == merged.tree and squashed.changed == 2 and squashed.new_bytes < 1000
    alone = data.squash(merged.id)
    assert alone.parents == [] and alone.tree == merged.tree


def test_an_alias_keeps_its_history(here, tmp_path):
    name = unique()
    data.commit(name, {"a": b"1"}, alias="ready")
    data.commit(name, {"a": b"2"})
    data.alias(f"{name}@v2", "ready", role=Role.MAINTAINER)
    found = data.aliases(name)
    assert [(each.alias, each.version, each.role) for each in found] == [("ready", 2, Role.MAINTAINER)]
    assert [move.version for move in found[0].history] == [2, 1]
    assert data.resolve(f"{name}@ready").number == 2
    data.unalias(name, "ready")
    with pytest.raises(NotFound):
        data.resolve(f"{name}@ready")


@pytest.mark.parametrize("form", ["v.tar", "folder"])
def test_a_version_travels_by_file(here, tmp_path, form):
    name, copy = unique(), unique("copy")
    source = photos(tmp_path / "photos", count=8)
    version = data.commit(name, source, message="march", metadata={"empty": {"why": "test"}})
    out = data.export(name, tmp_path / form)
    made = data.import_(out, copy)
    assert made.message == "march" and plain(data.get(copy)) == plain(source)
    if form == "v.tar":
        assert made.tree == version.tree
    else:
        assert json.loads((out / "larder-version.json").read_text())["tree"] == version.tree
    with pytest.raises(Conflict, match="is there already"):
        data.export(name, tmp_path / form)


@pytest.mark.parametrize("form", ["v.tar", "folder"])
def test_a_damaged_export_is_refused(here, tmp_path, form):
    name = unique()
    data.commit(name, {"a.bin": os.urandom(5000), "b.bin": os.urandom(5000)})
    out = data.export(name, tmp_path / form)
    victim = out if form == "v.tar" else out / "a.bin"
    content = bytearray(victim.read_bytes())
    place = content.index(data.read(name, "a.bin")[:100]) + 50
    content[place] ^= 1
    victim.write_bytes(content)
    data.delete(name)  # what the server has need not be read
    data.gc(dry=False, grace=0)
    with pytest.raises(Conflict, match="damaged"):
        data.import_(out, unique("copy"))


# -- external references ---------------------------------------------------------------------------------------------


def test_external_references_are_recorded_and_verified(here, tmp_path):
    name = unique()
    mounted = write(tmp_path / "mounted", {"one.bin": os.urandom(3 << 20), "two.txt": "two"})
    version = data.commit(
        name, external={"far/one.bin": mounted / "one.bin", "far/two.txt": (mounted / "two.txt").as_uri()}
    )
    assert version.new_bytes < 10_000 and version.files == 2
    tree = data.get(name)
    assert (tree / "far" / "one.bin").read_bytes() == (mounted / "one.bin").read_bytes()
    data.check(tree)
    (mounted / "two.txt").write_text("oth")
    with pytest.raises(Conflict, match=r"two.txt' is recorded as file://.* no longer what was recorded"):
        data.get(name, to=tmp_path / "again")
    with pytest.raises(Conflict, match=r"changed: far/two.txt"):
        data.check(tree)


def test_external_references_on_the_web(here, tmp_path):
    import functools
    import http.server

    name = unique()
    site = write(tmp_path / "site", {"a.txt": "from the web"})

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        data.commit(name, external={"a.txt": f"http://127.0.0.1:{web.server_port}/a.txt"})
        assert (data.get(name) / "a.txt").read_text() == "from the web"
        (site / "a.txt").write_text("somewhat else")
        with pytest.raises(Conflict, match="no longer what was recorded"):
            data.get(name, cache=Cache(tmp_path / "fresh"))
    finally:
        web.shutdown()
        web.server_close()


# -- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["../a", "/etc/passwd", "a/../b", "a//b", ""])
def test_paths_out_of_the_tree_are_refused(here, path):
    with pytest.raises(Invalid, match="path"):
        data.commit(unique(), {path: b"x"})


def test_names_that_differ_by_case_are_refused_unless_allowed(here, tmp_path):
    name = unique()
    files = {"Shelf.jpg": b"1", "shelf.jpg": b"2"}
    with pytest.raises(Invalid, match="differ only in upper and lower case"):
        data.commit(name, files)
    assert data.commit(name, files, cases=True).files == 2


def test_an_empty_folder_must_be_meant(here, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(Invalid, match="holds no files"):
        data.commit(unique(), tmp_path / "none")
    assert data.commit(unique(), tmp_path / "none", empty=True).files == 0
    with pytest.raises(NotFound, match="no file or folder"):
        data.commit(unique(), tmp_path / "absent")


def test_two_writers_do_not_overrun_one_another(here, tmp_path):
    name = unique()
    data.commit(name, {"a": b"1"})
    arrived = threading.Event()

    class Slow(Transport):
        """Another writer, who commits between our look at the newest version and our commit."""

        def call(self, endpoint, body=None, **path):
            if endpoint is verbs.contract.COMMIT and not arrived.is_set():
                arrived.set()
                data.commit(name, {"a": b"theirs"})
            return super().call(endpoint, body, **path)

    with pytest.raises(Conflict, match="v2"):
        data.commit(name, {"a": b"ours"}, transport=Slow(here.url, here.token))
    assert data.read(name, "a") == b"theirs"
    third = data.commit(name, {"a": b"ours"})
    assert third.number == 3 and data.read(name, "a") == b"ours"


def test_many_writers_all_get_through(here, tmp_path):
    name = unique()
    data.create(name)
    failed = []

    def commit(number):
        try:
            data.commit(name, {f"{number}.txt": str(number).encode()}, base="any", cache=Cache(tmp_path / f"c{number}"))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and sorted(each.number for each in data.log(name)) == [1, 2, 3, 4]


KILLED = """
import os, signal, sys
from larder import data
from larder.transport import Transport

what, count = sys.argv[1], int(sys.argv[2])
seen = 0

def counted(original, matches):
    def call(*given, **named):
        global seen
        if matches(*given, **named):
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)
        return original(*given, **named)
    return call

if what == "upload":
    Transport.upload = counted(Transport.upload, lambda *given, **named: True)
elif what in ("link", "mkdir", "rename"):
    setattr(os, what, counted(getattr(os, what), lambda *given, **named: True))
else:
    endpoint = getattr(data.verbs.contract, what)
    Transport.call = counted(Transport.call, lambda self, asked, *given, **named: asked is endpoint)
exec(sys.argv[3])
print("was not killed")
"""


def killed(what, count, code, environment=None):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, what, str(count), code],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == -signal.SIGKILL, (done.stdout, done.stderr)


@pytest.mark.parametrize(
    "what, count",
    [("OPEN_PACK", 1), ("upload", 2), ("CLOSE_PACK", 2), ("WRITE", 1), ("COMMIT", 1)],
)
def test_a_killed_commit_is_not_seen_and_goes_on(here, tmp_path, what, count):
    name = unique()
    chance = random.Random(name)
    source = write(tmp_path / "s", {f"{number}.bin": chance.randbytes(3 << 20) for number in range(14)})
    data.commit(name, {"before": b"x"})
    killed(what, count, f"data.commit({name!r}, {str(source)!r})")
    assert [each.number for each in data.log(name)] == [1]
    (source / "13.bin").unlink()  # between the two attempts the folder changes
    sent = []

    class Counting(Transport):
        def upload(self, endpoint, source, progress=None, **path):
            sent.append(len(source))
            return super().upload(endpoint, source, progress, **path)

    version = data.commit(name, source, transport=Counting(here.url, here.token))
    assert version.number == 2 and plain(data.get(name)) == plain(source)
    if what in ("WRITE", "COMMIT"):
        assert sum(sent) == 0, "all content was there"
    elif what == "CLOSE_PACK":
        assert sum(sent) < 39 << 20


@pytest.mark.parametrize("what, count", [("PLACES", 1), ("PACK_BYTES", 2), ("link", 3), ("rename", 1)])
@pytest.mark.parametrize("to", ["", "out"])
def test_a_killed_get_leaves_nothing_half(here, tmp_path, what, count, to):
    name = unique()
    source = photos(tmp_path / "photos", count=12)
    data.commit(name, source)
    cache = tmp_path / "cache"
    goal = f", to={str(tmp_path / to)!r}" if to else ""
    killed(what, count, f"data.get({name!r}{goal})", {"LARDER_CACHE": str(cache)})
    assert not to or not (tmp_path / to).exists()
    assert not cache.exists() or not list((cache / "trees").glob("[!.]*"))
    found = data.get(name, cache=Cache(cache), to=tmp_path / to if to else None)
    assert plain(found) == plain(source)
    data.check(found, cache=Cache(cache))
    left = [each.name for each in (cache / "making").iterdir()]
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".out")]
    assert not [each for each in left if each.endswith(".part")]


def packs(server):
    for place in (server.home / "objects").rglob("*"):
        if place.is_file():
            with place.open("rb") as file:
                if file.read(4) == b"LPK1":
                    yield place


def test_a_corrupted_pack_is_named_and_never_served(here, server, tmp_path):
    name = unique()
    before = set(packs(server))
    secret = random.Random(f"{name}9").randbytes(50_000)
    data.commit(name, {"good.bin": random.Random(name).randbytes(50_000), "bad.bin": secret})
    (pack,) = set(packs(server)) - before
    content = bytearray(pack.read_bytes())
    whole = bytes(content)
    content[content.index(secret[:64]) + 10] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)
    cache = Cache(tmp_path / "fresh")
    with pytest.raises(Conflict, match=r"damaged: a chunk of 'bad\.bin' of bakery/"):
        data.get(name, cache=cache)
    assert not list((cache.root / "trees").glob("[!.]*"))
    assert data.verify(name).damaged == ["bad.bin"]
    pack.write_bytes(whole)
    assert (data.get(name, cache=cache) / "bad.bin").read_bytes() == secret
    assert data.verify(name).damaged == []


def test_damage_on_the_way_is_mended_by_fetching_once_more(here, tmp_path):
    name = unique()
    source = photos(tmp_path / "photos", count=6)
    data.commit(name, source)
    spoiled = []

    class Noisy(Transport):
        def call(self, endpoint, body=None, **path):
            answer = super().call(endpoint, body, **path)
            if endpoint is verbs.contract.PACK_BYTES and not spoiled:
                spoiled.append(1)
                answer = bytes(len(answer))
            return answer

    found = data.get(name, cache=Cache(tmp_path / "fresh"), transport=Noisy(here.url, here.token))
    assert spoiled and plain(found) == plain(source)


def test_a_lost_connection_is_taken_up_again(here, tmp_path):
    name = unique()
    source = photos(tmp_path / "photos", count=6)
    lost = []

    class Flaky(Transport):
        """Each call is lost once: half of them before they arrive, half after."""

        def call(self, endpoint, body=None, **path):
            key = (endpoint.method, endpoint.path)
            flaky = (verbs.contract.LACKING, verbs.contract.CLOSE_PACK, verbs.contract.WRITE, verbs.contract.COMMIT)
            if endpoint in flaky and key not in lost:
                lost.append(key)
                if len(lost) % 2:
                    super().call(endpoint, body, **path)
                raise Unavailable("the connection was lost")
            return super().call(endpoint, body, **path)

    version = data.commit(name, source, transport=Flaky(here.url, here.token))
    assert len(lost) == 4 and version.number == 1
    assert plain(data.get(name)) == plain(source) and len(data.log(name)) == 1


def test_content_that_went_missing_before_the_commit_is_sent_again(here, tmp_path):
    name = unique()
    source = photos(tmp_path / "photos", count=6)
    told, asked = [], []

    class Forgetful(Transport):
        """A server that has thrown away, by the time of the commit, what nobody needed yet."""

        def call(self, endpoint, body=None, **path):
            if endpoint is verbs.contract.COMMIT and not told:
                told.append(1)
                raise Conflict("content is missing", field="hashes")
            if told and endpoint is verbs.contract.LACKING and not asked:
                asked.append(1)
                return body
            return super().call(endpoint, body, **path)

    version = data.commit(name, source, transport=Forgetful(here.url, here.token))
    assert told and asked and version.number == 1
    assert plain(data.get(name)) == plain(source)


def test_a_full_disk_says_so_and_goes_on_later(here, tmp_path, monkeypatch):
    import errno

    name = unique()
    source = photos(tmp_path / "photos", count=6)
    data.commit(name, source)
    original = os.write
    written = []

    def full(descriptor, content):
        written.append(len(content))
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(descriptor, content)

    cache = Cache(tmp_path / "fresh")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(Unavailable, match=r"disk of .* is full"):
            data.get(name, cache=cache)
    assert not list((cache.root / "trees").glob("[!.]*"))
    assert plain(data.get(name, cache=cache)) == plain(source)


def test_two_processes_fetch_once(here, tmp_path):
    """A6: two jobs on a host."""
    name = unique()
    source = photos(tmp_path / "photos", count=30)
    version = data.commit(name, source)
    code = f"from larder import data; data.get({name!r}, run={new_id()!r}, progress=False)"
    environment = {**os.environ, "LARDER_CACHE": str(tmp_path / "shared")}
    jobs = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(3)]
    assert [job.wait(100) for job in jobs] == [0, 0, 0]
    served = [each.served for each in data.used(version.id)]
    fetched = sorted(each["fetched"] for each in served)
    # All three said the same run, so the uses may have become one; whichever it is, the bytes came once.
    assert sum(fetched) <= version.bytes + 100_000


def test_threads_share_a_tree(here, tmp_path):
    name = unique()
    source = photos(tmp_path / "photos", count=10)
    data.commit(name, source)
    cache = Cache(tmp_path / "shared")
    found = []
    threads = [threading.Thread(target=lambda: found.append(data.get(name, cache=cache))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1 and plain(found[0]) == plain(source)


def test_a_folder_is_followed(here, tmp_path):
    name = unique()
    folder = tmp_path / "in"
    folder.mkdir()
    stop = threading.Event()
    versions = []

    def follow():
        for version in data.watch(folder, name, seconds=0.1, settle=0.3, stop=stop):
            versions.append(version)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        write(folder, {"a.txt": "1"})
        until = time.monotonic() + 60
        while not versions and time.monotonic() < until:
            time.sleep(0.05)
        write(folder, {"b.txt": "2"})
        while len(versions) < 2 and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join()
    assert [each.number for each in versions] == [1, 2]
    assert plain(data.get(name)) == plain(folder)


def test_a_blind_dataset_is_written_but_not_read(here, server, tmp_path):
    from larder.contract.tenants import ISSUE_TOKEN, NewToken

    name = unique("blind")
    data.create(name, blind=True)
    token = server.transport.call(ISSUE_TOKEN, NewToken(name="writer", role=Role.CONTRIBUTOR))
    writer = Transport(server.url, token.secret)
    source = photos(tmp_path / "photos", count=6)
    first = data.commit(name, source, transport=writer, cache=Cache(tmp_path / "w"))
    assert first.files == 12
    (source / "empty").unlink()
    second = data.commit(name, source, transport=writer, cache=Cache(tmp_path / "w"))
    assert (second.number, second.removed) == (2, 1)
    with pytest.raises(Denied):
        data.get(name, transport=writer, cache=Cache(tmp_path / "w"))


def test_progress_is_heard(here, tmp_path):
    name = unique()
    source = photos(tmp_path / "photos", count=10)
    heard = []
    data.commit(name, source, progress=heard.append)
    assert heard[-1].files == 15 and heard[-1].done == heard[-1].total > 5 << 20
    assert "files" in heard[-1].line()
    heard.clear()
    data.get(name, cache=Cache(tmp_path / "fresh"), progress=heard.append)
    assert heard[-1].done == heard[-1].total and heard[-1].files == 16


def test_what_the_server_frees_comes_again(here, tmp_path):
    name = unique()
    source = photos(tmp_path / "photos", count=6)
    data.commit(name, source)
    for version in data.log(name):
        with contextlib.suppress(Conflict):
            data.delete(version.id)
    data.delete(name)
    dry = data.gc(dry=True, grace=0)
    assert dry.bytes > 5 << 20
    assert data.gc(dry=False, grace=0).bytes == dry.bytes
    again = unique()
    data.commit(again, source)
    assert plain(data.get(again, cache=Cache(tmp_path / "fresh"))) == plain(source)
