"""`larder data`, `larder lineage` and `larder run --data` over a real server."""

import json
import os
import random
import subprocess
import sys
import time

import pytest

from larder import config, data
from larder.cli import data as commands
from larder.contract.errors import NotFound
from larder.transport import Transport
from tests.journeys.conftest import Up, eventually

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    started = Up(home=tmp_path_factory.mktemp("data") / "server").start()
    yield started
    started.stop()


@pytest.fixture
def server(started, tmp_path, monkeypatch):
    """The server that `call` asks; each test has a project of its own."""
    config.save(config.Config(started.url, started.token, config.home()))
    monkeypatch.setenv("LARDER_PROJECT", tmp_path.name[-60:])
    monkeypatch.chdir(tmp_path)
    return started


@pytest.fixture
def project(server):
    return os.environ["LARDER_PROJECT"]


@pytest.fixture
def photos(tmp_path):
    """A folder of photos and a table; no test shares content with another."""
    chance = random.Random(str(tmp_path))
    folder = tmp_path / "photos"
    for at in range(10):
        place = folder / f"shelf-{at % 2}" / f"{at}.bin"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(chance.randbytes(1000 + at))
    (folder / "sales.csv").write_text("id,price\n" + "".join(f"{at},{chance.random():.6f}\n" for at in range(200)))
    return folder


def changed(folder):
    """One file changed, one gone, one new, one moved; the prices of the table raised."""
    (folder / "shelf-0" / "0.bin").write_bytes(b"changed" + str(folder).encode())
    (folder / "shelf-0" / "2.bin").unlink()
    (folder / "shelf-1" / "new.bin").write_bytes(b"new" + str(folder).encode())
    (folder / "shelf-1" / "1.bin").rename(folder / "shelf-1" / "one.bin")
    head, *rows = (folder / "sales.csv").read_text().splitlines()
    dear = [f"{row.split(',')[0]},{float(row.split(',')[1]) + 3}" for row in rows[5:]]
    (folder / "sales.csv").write_text("\n".join([head, *dear, "900,4.5"]) + "\n")
    return folder


def ok(result):
    assert result.exit_code == 0, result.output
    return result


def refused(result, status, *words):
    assert result.exit_code == status, result.output
    assert result.stdout == "" and result.stderr.startswith("Error: ")
    for word in words:
        assert word in result.stderr
    return result


def test_a_commit_says_what_it_changed(call, photos, project):
    first = ok(call("data", "commit", "photos", "--to", "shelf", "-m", "march delivery", "--tag", "raw"))
    assert first.stdout == f"{project}/shelf@v1\n"
    assert "+11 −0 ~0 files" in first.stderr
    again = ok(call("data", "commit", "photos", "--to", "shelf"))
    assert again.stdout == first.stdout and "Nothing has changed" in again.stderr
    changed(photos)
    second = json.loads(ok(call("data", "commit", "photos", "--to", "shelf", "--alias", "ready", "--json")).stdout)
    assert (second["number"], second["aliases"]) == (2, ["ready"])
    assert second["statistics"]["tables"][0]["rows"] == 196
    assert len(call("data", "commit", "photos", "--to", "shelf", "-q").stdout.strip()) == 36

    lines = ok(call("data", "log", "shelf")).stdout.splitlines()
    assert lines[1].startswith("v2") and "ready" in lines[1] and lines[2].endswith("march delivery")
    assert [each["number"] for each in json.loads(call("data", "log", "shelf", "--tag", "raw", "--json").stdout)] == [1]
    assert call("data", "log", "shelf", "-q").stdout.splitlines()[0] == second["id"]
    row = next(line for line in ok(call("data", "ls", "-p", project)).stdout.splitlines() if "shelf" in line)
    assert row.split()[:3] == [f"{project}/shelf", "2", "11"] and "ready=v2" in row
    assert ok(call("data", "ls", "shelf")).stdout.splitlines()[1].split()[:2] == ["shelf-0/", "4"]
    assert call("data", "ls", "shelf@v1", "shelf-1", "-q").stdout.split() == [
        f"shelf-1/{at}.bin" for at in (1, 3, 5, 7, 9)
    ]


def test_a_difference_names_files_columns_and_rows(call, photos):
    ok(call("data", "commit", "photos", "--to", "shelf"))
    changed(photos)
    ok(call("data", "commit", "photos", "--to", "shelf"))
    lines = ok(call("data", "diff", "shelf@v1", "shelf@v2")).stdout.splitlines()
    assert sorted(line.split("  ")[0] for line in lines if "bin" in line) == [
        "+ shelf-1/new.bin", "- shelf-0/2.bin", "> shelf-1/1.bin > shelf-1/one.bin", "~ shelf-0/0.bin",
    ]  # fmt: skip
    assert "1 added, 1 removed, 2 changed, 1 renamed" in call("data", "diff", "shelf").stderr
    found = json.loads(call("data", "diff", "shelf@v1", "shelf@v2", "--rows", "--key", "id", "--json").stdout)
    (table,) = found["tables"]
    assert (table["path"], table["rows_before"], table["rows_after"]) == ("sales.csv", 200, 196)
    assert [table["rows"][key] for key in ("added", "removed", "changed", "same")] == [1, 5, 195, 0]
    shifts = {each["column"]: each for each in table["shifts"]}
    assert shifts["price"]["says"] == "much" and shifts["price"]["distance"] == pytest.approx(3, abs=0.2)
    assert "price has shifted much" in call("data", "diff", "shelf@v1", "shelf@v2", "--tables").stdout
    assert "They hold the same" in call("data", "diff", "shelf@v1", "shelf@v1").stderr
    refused(call("data", "diff", "shelf@v1", "shelf@v2", "--rows", "--key", "nope"), 2, "no column 'nope'")
    assert call("data", "diff", "shelf", "--key", "id").exit_code == 2


def test_a_version_is_brought_read_and_verified(call, photos, tmp_path):
    ok(call("data", "commit", "photos", "--to", "shelf"))
    path = ok(call("data", "get", "shelf")).stdout.strip()
    assert sorted(os.listdir(path)) == ["sales.csv", "shelf-0", "shelf-1"]
    assert json.loads(call("data", "get", "shelf", "--json").stdout)["path"] == path
    assert ok(call("data", "get", "shelf", "work", "--writable")).stdout.strip() == str(tmp_path / "work")
    assert "holds shelf" in ok(call("data", "verify", "shelf", "work")).stderr
    (tmp_path / "work" / "sales.csv").write_text("id,price\n")
    (tmp_path / "work" / "more").write_text("x")
    (tmp_path / "work" / "shelf-0" / "0.bin").unlink()
    wrong = call("data", "verify", "shelf", "work")
    assert wrong.exit_code == 1
    assert wrong.stdout.splitlines() == ["changed  sales.csv", "missing  shelf-0/0.bin", "added    more"]
    assert "11 files" in ok(call("data", "verify", "shelf")).stderr
    parts = [ok(call("data", "get", "shelf", f"part-{at}", "--part", f"{at}/3")).stdout.strip() for at in range(3)]
    names = [name for part in parts for _, _, files in os.walk(part) for name in files]
    assert sorted(names) == [*sorted(f"{at}.bin" for at in range(10)), "sales.csv"]

    assert call("data", "cat", "shelf", "sales.csv").stdout_bytes == (photos / "sales.csv").read_bytes()
    rows = json.loads(ok(call("data", "table", "shelf", "--where", "id > 3", "-c", "id", "-n", "2", "--json")).stdout)
    assert rows == [{"id": 4}, {"id": 5}]
    assert ok(call("data", "table", "shelf", "sales.csv", "--csv", "-n", "0")).stdout.count("\n") == 201
    told = ok(call("data", "stats", "shelf")).stdout
    assert "11 files" in told and "sales.csv  200 rows" in told and "price" in told
    assert json.loads(call("data", "stats", "shelf", "--json").stdout)["statistics"]["files"] == 11


def test_tags_aliases_merge_squash_and_deletion(call, photos, project):
    ok(call("data", "commit", "photos", "--to", "shelf"))
    ok(call("data", "add", "shelf", "photos/sales.csv", "--into", "extra", "-m", "more"))
    assert call("data", "cat", "shelf", "extra/sales.csv").stdout == (photos / "sales.csv").read_text()
    ok(call("data", "rm", "shelf", "shelf-0", "--parent", "@v1"))
    merged = ok(call("data", "merge", "shelf@v2", "shelf@v3", "-m", "both"))
    assert merged.stdout == f"{project}/shelf@v4\n" and "from v2, v3" in merged.stderr
    assert call("data", "ls", "shelf", "-q").stdout.split() == ["extra", "shelf-1", "sales.csv"]
    assert ok(call("data", "squash", "shelf@v4", "shelf@v1")).stdout == f"{project}/shelf@v5\n"

    assert "checked, good" in ok(call("data", "tag", "shelf@v4", "good", "checked")).stderr
    assert "v4: good" in ok(call("data", "tag", "shelf@v4", "checked", "--remove")).stderr
    ok(call("data", "alias", "shelf@v1", "ready", "--role", "maintainer"))
    ok(call("data", "alias", "shelf@v4", "ready"))
    assert [line.split()[:2] for line in call("data", "alias", "shelf").stdout.splitlines()[1:]] == [
        ["ready", "v4"],
        ["ready", "v1"],
    ]
    refused(call("data", "delete", "shelf@v4", "--yes"), 1, "ready")
    ok(call("data", "alias", "shelf", "ready", "--drop"))
    assert call("data", "delete", "shelf@v4", input="n\n").exit_code == 1
    ok(call("data", "delete", "shelf@v4", input="y\n"))
    refused(call("data", "get", "shelf@v4"), 4)
    said = ok(call("data", "gc", "--dry-run", "--json"))
    assert json.loads(said.stdout)["dry"] and "would be freed" in said.stderr
    assert json.loads(ok(call("data", "gc", "--yes", "--grace", "0", "--json")).stdout)["dry"] is False
    assert "all as they should be" in ok(call("data", "verify", "shelf@v1")).stderr
    ok(call("data", "delete", f"{project}/shelf", "--yes"))
    refused(call("data", "log", f"{project}/shelf"), 4, "no dataset")


def test_what_was_exported_is_imported(call, photos, project, tmp_path):
    ok(call("data", "commit", "photos", "--to", "shelf", "-m", "march"))
    for to in ("shelf.tar", "plain"):
        assert ok(call("data", "export", "shelf", to)).stdout.strip() == str(tmp_path / to)
        ok(call("data", "import", to, "--to", f"copy-{to.partition('.')[0]}"))
    trees = {
        json.loads(call("data", "log", name, "--json").stdout)[0]["tree"]
        for name in ("shelf", "copy-shelf", "copy-plain")
    }
    assert len(trees) == 1
    refused(call("data", "export", "shelf", "shelf.tar"), 1, "there already")


def test_bad_words_are_one_sentence(call, photos, server):
    for arguments, status, word in (
        (("get", "nothing-there"), 4, "nothing-there"),
        (("get", "shelf@"), 2, "@"),
        (("log", "nothing-there"), 4, "nothing-there"),
        (("rm", "nothing-there", "x"), 4, "nothing-there"),
        (("commit", "photos", "--to", "../up"), 2, "name"),
        (("commit", "photos", "--to", "shelf", "--external", "../x=s3://a/b"), 2, ".."),
        (("verify", "nothing-there", "photos"), 4, "nothing-there"),
    ):
        refused(call("data", *arguments), status, word)
    for arguments in (
        ("commit", "--to", "shelf"), ("commit", "photos/sales.csv", "--to", "shelf", "--watch"), ("get", "shelf", "--part", "1"),
        ("commit", "photos", "--to", "shelf", "--external", "x"), ("tag", "shelf"), ("table", "shelf", "-w", "price"),
    ):  # fmt: skip
        result = call("data", *arguments)
        assert result.exit_code == 2 and "Error" in result.stderr, arguments
    ok(call("data", "commit", "photos", "--to", "shelf"))
    refused(call("data", "rm", "shelf", "not/there"), 2, "not/there")
    refused(call("data", "cat", "shelf", "not/there"), 4, "not/there")
    refused(call("data", "alias", "shelf@v1", "v3"), 2)
    refused(call("lineage", "model:x@3"), 2, "model")
    refused(call("lineage", "run:ffffff"), 4)
    refused(call("lineage", "data:shelf@v1", "--at", "2001-01-01"), 4, "not there yet")
    assert call("lineage", "data:shelf", "--at", "someday").exit_code == 2


def test_a_blind_dataset_is_read_by_evaluators_only(call, photos, server, project):
    assert (
        ok(call("data", "create", "secret", "--blind", "--description", "the test set")).stdout == f"{project}/secret\n"
    )
    ok(call("data", "commit", "photos", "--to", "secret"))
    for evaluator, expected in ((False, 3), (True, 0)):
        said = ["--evaluator"] if evaluator else []
        secret = ok(call("tokens", "issue", "carol", *said)).stdout.strip()
        config.save(config.Config(server.url, secret, config.home()))
        assert call("data", "ls", "secret").exit_code == expected
        assert call("data", "cat", "secret", "sales.csv").exit_code == expected
        assert "11 files" in ok(call("data", "stats", "secret")).stdout
        config.save(config.Config(server.url, server.token, config.home()))
    assert "blind" in call("data", "ls", "-p", project).stdout


def test_a_server_out_of_reach_is_5(call, photos, monkeypatch):
    monkeypatch.setattr(config, "connect", lambda *_: Transport("http://127.0.0.1:9", "x", retries=0))
    refused(call("data", "ls"), 5)


def test_the_shell_completes_names_and_versions(server, call, photos, project):
    ok(call("data", "commit", "photos", "--to", "completed-shelf", "--tag", "raw", "--alias", "ready"))

    def complete(text):
        return [each.value for each in commands.ADDRESS.shell_complete(None, None, text)]

    assert complete("completed-s") == ["completed-shelf"]
    assert complete(f"{project}/completed") == [f"{project}/completed-shelf"]
    assert complete(f"{project}/completed-shelf@") == [
        f"{project}/completed-shelf@{each}" for each in ("ready", "raw", "v1")
    ]
    assert complete("nothing-there@") == []


def test_a_folder_is_followed(server, photos, tmp_path):
    command = [
        sys.executable,
        "-m",
        "larder.cli",
        "data",
        "commit",
        "photos",
        "--to",
        "followed",
        "--watch",
        "--settle",
        "0.2",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "LARDER_HOME": str(config.home())}
    ) as process:
        assert process.stdout.readline().endswith("/followed@v1\n")
        changed(photos)
        assert process.stdout.readline().endswith("/followed@v2\n")
        process.send_signal(2)
        assert process.wait(30) == 0
    assert {each.path for each in data.diff("followed").changes} >= {"shelf-1/new.bin", "shelf-0/0.bin"}


def test_a_run_is_pinned_to_a_version(call, photos, server, tmp_path, project):
    ok(call("data", "commit", "photos", "--to", "shelf-images"))
    home = str(config.home())

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "larder.cli", "run", "-p", project, *arguments],
            capture_output=True, text=True, env={**os.environ, "LARDER_HOME": home}, timeout=90,
        )  # fmt: skip

    done = run("--data", "shelf-images@v1", "--", "sh", "-c", "ls $LARDER_DATA_SHELF_IMAGES")
    assert done.stdout.split() == ["sales.csv", "shelf-0", "shelf-1"], done.stderr
    (use,) = eventually(lambda: data.used("shelf-images@v1"))
    assert use.role == "input" and sum(use.served.values()) > 0

    ok(call("data", "get", "shelf-images", "work", "--writable"))
    assert run(
        "--data", "shelf-images@v1=work", "--", "sh", "-c", "echo $LARDER_DATA_SHELF_IMAGES"
    ).stdout.strip() == str(tmp_path / "work")
    (tmp_path / "work" / "sales.csv").write_text("other\n")
    altered = run("--data", "shelf-images@v1=work", "--", "echo", "started")
    assert altered.returncode == 1 and altered.stdout == "" and "sales.csv" in altered.stderr
    assert len(data.used("shelf-images@v1")) == 2
    # One who writes into the cache itself deceives nobody either: what was altered is brought anew.
    tree = data.get("shelf-images@v1") / "sales.csv"
    size = tree.stat().st_size
    os.chmod(tree, 0o644)
    tree.write_text("x" * size)
    done = run("--data", "shelf-images@v1", "--", "sh", "-c", "cat $LARDER_DATA_SHELF_IMAGES/sales.csv")
    assert done.stdout == (photos / "sales.csv").read_text(), done.stderr
    assert run("--data", "nothing-there", "--", "echo", "started").returncode == 4
    assert run("--data", "shelf-images", "--queue", "gpu", "--", "echo", "started").returncode == 2


def test_lineage_walks_both_ways(call, photos, server, project):
    before = time.time_ns() // 1000
    first = data.commit("raw", "photos")
    runs = ["01a1ffab-0ad7-7e73-8d08-9a99cffa80a1", "01a1ffab-0ad7-7e73-8d08-9a99cffa80a2"]
    data.get("raw", run=runs[0])
    changed(photos)
    made = data.commit("clean", "photos", run=runs[0])
    between = time.time_ns() // 1000
    data.get("clean", part=(0, 2), run=runs[1])
    ok(call("data", "rm", "clean", "sales.csv"))

    told = ok(call("lineage", "data:clean@v1")).stdout.splitlines()
    assert told[0].startswith(f"data:{project}/clean@v1")
    assert [line.strip("│├└─ ").split("  ")[0].strip() for line in told[1:]] == [
        "comes from", "written by run:cffa80a1", f"read data:{project}/raw@v1", "went into",
        f"made into data:{project}/clean@v2", "read by run:cffa80a2 (part 0/2)",
    ]  # fmt: skip
    document = json.loads(call("lineage", "data:raw", "--json").stdout)
    (reader,) = document["results"]
    assert reader["id"] == runs[0] and [each["name"] for each in reader["nodes"]] == [made.address]
    assert {each["edge"] for each in reader["nodes"][0]["nodes"]} == {"child", "reader"}
    then = data.lineage("clean", at=between)
    assert then.of.name == made.address and then.results == []
    assert then.origins[0].nodes[0].name == first.address
    with pytest.raises(NotFound):
        data.lineage("clean", at=before)
