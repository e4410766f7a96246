"""The page of a run: read, searched, compared, cloned and steered as a user does it; what users wrote does nothing."""

import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from playwright.sync_api import Page, expect

from larder.contract import objects, queues, reading, runs
from larder.contract.endpoint import Nothing
from larder.contract.ids import new_id
from larder.contract.runs import (
    ArtifactFile,
    Batch,
    Cause,
    ConsoleLine,
    Ending,
    NewArtifact,
    Opening,
    RunStatus,
    Series,
)
from larder.media import png
from larder.transport import Transport
from tests.journeys.conftest import Up

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(400)]

SECOND = 1_000_000
expect.set_options(timeout=15_000)  # a loaded machine is slow, and nothing here is about speed

TABS = (
    "", "metrics", "params", "console", "samples", "artifacts", "code", "environment", "machine", "lineage", "events",
)  # fmt: skip
"""The tabs of a run's page, as they stand in its address."""


def now() -> int:
    return time.time_ns() // 1000


class Recorder:
    """Writes a run as a journal does, and goes on writing it."""

    def __init__(self, up: Up, name: str, *, project="bakery", started=None, parent=None, **more) -> None:
        self.transport: Transport = up.transport
        self.id = new_id()
        self.started = started or now() - 600 * SECOND
        self.offset = 0
        self.say(opening=Opening(project=project, name=name, time=self.started, host="oven-1", parent=parent), **more)

    def say(self, **more) -> "Recorder":
        batch = Batch(writer="main", start=self.offset, end=self.offset + 10, **more)
        self.offset = self.transport.call(runs.APPEND, batch, run_id=self.id).offset
        return self

    def end(self, status=RunStatus.COMPLETED, *, at=None, reason="") -> "Recorder":
        cause = Cause.FAILED if status is RunStatus.FAILED else Cause.NONE
        return self.say(ending=Ending(status=status, time=at or now(), reason=reason, cause=cause))

    def put(self, data: bytes) -> ArtifactFile:
        hash = blake3(data).hexdigest()
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            self.transport.upload(objects.PUT, Path(file.name), hash=hash)
        return ArtifactFile(path="", hash=hash, size=len(data))

    def keep(
        self, name: str, kind: str, format: str, files: dict[str, bytes], *, step=None, metadata=None
    ) -> "Recorder":
        stored = [
            ArtifactFile(path=path, hash=(file := self.put(data)).hash, size=file.size) for path, data in files.items()
        ]
        return self.say(artifacts=[
            NewArtifact(name=name, kind=kind, format=format, files=stored, step=step, metadata=metadata or {}, time=now())
        ])  # fmt: skip


def series(name: str, values, *, steps=None, times=None, started: int = 0) -> Series:
    values = np.asarray(values, "<f8")
    steps = np.arange(len(values), dtype="<i8") if steps is None else np.asarray(steps, "<i8")
    times = started + steps * SECOND if times is None else np.asarray(times, "<i8")
    return Series(name=name, steps=steps.tobytes(), times=times.astype("<i8").tobytes(), values=values.tobytes())


def picture(shade: int) -> bytes:
    return png(24, 24, 3, bytes(value for y in range(24) for x in range(24) for value in (shade, x * 10, y * 10)))


def repository(folder: Path) -> tuple[bytes, bytes, str]:
    """A repository with one commit and a change: the bundle, the patch, the commit."""

    def git(*arguments: str) -> bytes:
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
        return subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, check=True).stdout

    folder.mkdir()
    git("init", "-q", ".")
    (folder / "train.py").write_text("import larder\n\nlr = 0.1\nrun = larder.init('bakery')\n")
    (folder / "shop").mkdir()
    (folder / "shop" / "model.py").write_text("class Model:\n    depth = 4\n")
    git("add", "-A")
    git("commit", "-qm", "one")
    git("bundle", "create", "-q", "commit.bundle", "HEAD")
    bundle = (folder / "commit.bundle").read_bytes()
    (folder / "commit.bundle").unlink()
    (folder / "train.py").write_text("import larder\n\nlr = 0.05  # slower\nrun = larder.init('bakery')\n")
    git("add", "-A")
    patch = git("diff", "--cached", "--binary", "--full-index", "HEAD")
    return bundle, patch, git("rev-parse", "HEAD").decode().strip()


def curve(count: int, *, floor: float, seed: int = 1) -> np.ndarray:
    steps = np.arange(count)
    return floor + 3 * np.exp(-steps / (count / 5)) + np.random.default_rng(seed).normal(0, 0.05, count)


def baseline(up: Up, tmp_path: Path) -> Recorder:
    """A finished run with something in every part of its page."""
    bundle, patch, commit = repository(tmp_path / "repository")
    started = now() - 5_000 * SECOND
    run = Recorder(
        up, "baseline", started=started,
        params={"lr": 0.1, "depth": 4, "optimizer": "adam", "data.path": "sales/2024", "epochs": 10},
        facts={
            "command": {"argv": ["train.py", "--lr", "0.05"], "script": "/home/evi/shop/train.py"},
            "code": {"kind": "git", "commit": commit, "branch": "main", "dirty": True, "tree": "0" * 40,
                     "bundle": {"artifact": "code/bundle", "file": "commit.bundle", "needs": [], "base": ""},
                     "skipped": [{"path": ".env", "size": 3, "why": "may hold a secret"}]},
            "packages": {"python": "3.11.9", "numpy": "2.1.0", "lightgbm": "4.5.0", "larder": "0.1.0"},
            "machine": {"host": "oven-1", "os": "Linux 6.1", "processor": "x86_64", "cpus": 16, "memory": 64 * 10**9,
                        "gpus": [{"index": 0, "name": "A100", "memory": 40 * 10**9}]},
            "sources": {"arguments": "active", "gpu": "active", "lightgbm": "absent"},
        },
        add_tags=["candidate"], notes="A **first** try with the `adam` optimizer.",
    )  # fmt: skip
    times = started + np.arange(900) * 5 * SECOND
    gpu = np.where((np.arange(900) > 200) & (np.arange(900) < 500), 1.0, 88.0)
    run.say(series=[
        series("train/loss", curve(2_000, floor=0.4), started=started), series("val/loss", curve(200, floor=0.5, seed=2), steps=np.arange(0, 2_000, 10), started=started),
        series("val/mae", curve(200, floor=2.0, seed=3), steps=np.arange(0, 2_000, 10), started=started),
        series("lr", np.full(2_000, 0.1), started=started),
        series("system/gpu.0.percent", gpu, times=times), series("system/gpu.0.memory_bytes", gpu * 4e8, times=times),
        series("system/cpu_percent", 40 + 10 * np.sin(np.arange(900) / 30), times=times),
    ])  # fmt: skip
    lines = [ConsoleLine(time=started + n * 100_000, text=f"step {n}: loss {3 / (n + 1):.4f}") for n in range(4_000)]
    lines[2_500] = ConsoleLine(time=started, text="Traceback: ValueError: the oven is cold", stream="err")
    lines[10] = ConsoleLine(time=started, text="\x1b[32mall good\x1b[0m and plain")
    run.say(console=lines)
    run.keep("code/patch", "code", "patch", {"changes.patch": patch})
    run.keep("code/bundle", "code", "bundle", {"commit.bundle": bundle})
    for step in (0, 500, 1_000):
        run.keep("forecast", "image", "png", {"forecast.png": picture(step // 5)}, step=step)
    rows = ["image,item,truth,prediction,loss"]
    rows += [f"images/{n}-0.png,bread {n},{n},{n + 0.5},{(n * 7) % 40 / 10}" for n in range(40)]
    run.keep("eval/samples", "table", "csv", {"samples.csv": "\n".join(rows).encode(), **{f"images/{n}-0.png": picture(n * 6) for n in range(40)}}, metadata={"images": ["image"], "rows": 40, "columns": 5, "dataset": "sales", "version": "v3"})  # fmt: skip
    run.keep("report", "file", "file", {"report.md": b"# Report\n\nIt *works*."})
    run.keep("figure", "figure", "html", {"figure.html": b"<!doctype html><h1 id=t>before</h1><script>document.getElementById('t').textContent='a live figure'</script>"})  # fmt: skip
    run.keep("model", "model", "lightgbm", {"model.txt": b"tree\nversion=v4\n"})
    return run.end(at=started + 4_600 * SECOND)


def clone_of(up: Up, parent: Recorder) -> str:
    made = up.transport.call(runs.CLONE, runs.Clone(params={"lr": 0.2}, name="second try"), run_id=parent.id)
    return made.id


@pytest.fixture
def shop(up: Callable[..., Up]) -> Up:
    return up()


def opened(page: Page, up: Up, run: str, tab: str = "", query: str = "") -> None:
    page.goto(f"{up.url}/runs/{run}{'/' + tab if tab else ''}{'?' + query if query else ''}")


# -- read ----------------------------------------------------------------------------------------------------------


def test_the_overview_says_in_words_what_happened(shop, page, tmp_path):
    run = baseline(shop, tmp_path)
    opened(page, shop, run.id)
    expect(page.get_by_role("heading", name="baseline", level=1)).to_be_visible()
    lead = page.locator("article p").first
    expect(lead).to_contain_text("Completed after 1 h 16 min")
    expect(lead).to_contain_text("Its lowest val/")
    expect(page.get_by_text("A GPU had nothing to do for more than ten minutes.")).to_be_visible()
    expect(page.locator("strong", has_text="first")).to_be_visible()
    expect(page.locator("article canvas").first).to_be_visible()
    expect(page.get_by_text("train.py --lr 0.05")).to_be_visible()


def test_name_tags_and_notes_are_edited_in_place(shop, page, tmp_path):
    run = Recorder(shop, "plain").end()
    opened(page, shop, run.id)
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Name of the run").fill("the good one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="the good one", level=1)).to_be_visible()
    page.get_by_role("button", name="Add a tag").click()
    page.get_by_label("New tag").fill("keeper")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove the tag keeper")).to_be_visible()
    page.get_by_role("button", name="Write notes").click()
    page.get_by_label("Notes, in Markdown").fill("It *worked*.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("em", has_text="worked")).to_be_visible()
    found = shop.transport.call(runs.GET, Nothing(), run_id=run.id)
    assert (found.name, found.tags, found.notes) == ("the good one", ["keeper"], "It *worked*.")


def test_train_and_test_share_a_chart_and_the_look_is_in_the_address(shop, page, tmp_path):
    run = baseline(shop, tmp_path)
    opened(page, shop, run.id, "metrics")
    loss = page.get_by_role("figure", name="loss", exact=True)
    expect(loss.locator("canvas")).to_be_visible()
    expect(loss.get_by_text("train/loss")).to_be_visible()
    expect(loss.get_by_text("val/loss")).to_be_visible()
    page.get_by_label("Smoothing").fill("0.9")
    page.get_by_label("log y").check()
    page.get_by_role("radio", name="Since start").click()
    expect(page).to_have_url(re.compile(r"(?=.*smooth=0\.9)(?=.*logy=1)(?=.*x=relative)"))
    page.reload()
    expect(page.get_by_label("log y")).to_be_checked()
    expect(page.get_by_role("radio", name="Since start")).to_be_checked()
    page.get_by_role("radio", name="Step").click()
    # dragging zooms all charts; the values under the pointer are told
    box = loss.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    expect(loss.get_by_text(re.compile(r"^step \d"))).to_be_visible()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50, steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"zoom=\d"))
    page.get_by_role("button", name="Zoom", exact=True).click()
    expect(page).not_to_have_url(re.compile("zoom="))
    page.get_by_label("Find metrics").fill("mae")
    expect(page.get_by_role("figure", name="loss", exact=True)).to_have_count(0)


def test_curves_of_another_run_lie_beside(shop, page, tmp_path):
    run = baseline(shop, tmp_path)
    other = Recorder(shop, "rival", series=[series("val/loss", curve(200, floor=0.3, seed=9))]).end()
    opened(page, shop, run.id, "metrics")
    page.get_by_role("button", name="Compare with…").click()
    page.get_by_role("button", name=re.compile("rival")).click()
    expect(page).to_have_url(re.compile(f"with={other.id}"))
    expect(page.get_by_role("figure", name="loss", exact=True).get_by_text(re.compile("rival"))).to_be_visible()


def test_parameters_are_searched_and_compared_with_the_parent(shop, page, tmp_path):
    run = baseline(shop, tmp_path)
    child = clone_of(shop, run)
    opened(page, shop, child, "params")
    expect(page.get_by_label("only the 1 that differ")).to_be_visible()
    page.get_by_label("only the 1 that differ").check()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("0.2")
    expect(rows).to_contain_text("0.1")
    page.get_by_label("only the 1 that differ").uncheck()
    page.get_by_label("Find parameters").fill("adam")
    expect(rows).to_have_count(1)


def test_the_whole_log_is_searched_by_regular_expression(shop, page, tmp_path):
    run = baseline(shop, tmp_path)
    opened(page, shop, run.id, "console")
    log = page.get_by_role("log")
    expect(log.get_by_text("step 0: loss 3.0000")).to_be_visible()
    expect(log.locator("span[class*=ansi32]", has_text="all good")).to_be_visible()
    page.get_by_label("Search the whole log").fill(r"value\w+:")
    expect(page.get_by_text("1 line of 4,000")).to_be_visible()
    expect(log.locator("mark")).to_have_text("ValueError:")
    page.get_by_label("Line 2501").click()
    expect(page).to_have_url(re.compile(r"line=2501"))
    expect(log.get_by_text("the oven is cold")).to_be_visible()
    expect(log.get_by_text("step 2501: loss")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Search the whole log")).to_have_value(r"value\w+:")
    page.get_by_label("Search the whole log").fill("(")
    expect(page.get_by_text("this is no regular expression")).to_be_visible()
    page.get_by_label("Search the whole log").fill("")
    page.get_by_label("errors only").check()
    expect(page.get_by_text("1 line of 4,000")).to_be_visible()


def test_a_line_can_be_linked_to(shop, page, tmp_path):
    run = baseline(shop, tmp_path)
    opened(page, shop, run.id, "console", "line=3000")
    expect(page.get_by_role("log").get_by_text("step 2999: loss")).to_be_visible()
    expect(page.locator("[data-here=true]")).to_contain_text("step 2999")


def test_the_log_and_the_curves_grow_while_they_are_looked_at(shop, page, tmp_path):
    run = Recorder(shop, "going", started=now() - 30 * SECOND, facts={"progress": {"steps": 100}})
    run.say(console=[ConsoleLine(time=now(), text=f"line {n}") for n in range(200)],
            series=[series("loss", [3.0, 2.0], started=run.started)])  # fmt: skip
    opened(page, shop, run.id, "console")
    log = page.get_by_role("log")
    expect(log.get_by_text("line 199", exact=True)).to_be_visible()
    run.say(console=[ConsoleLine(time=now(), text=f"more {n}", rank=n % 2) for n in range(100)])
    expect(log.get_by_text("more 99", exact=True)).to_be_visible(timeout=8_000)
    page.get_by_role("radio", name="A lane a rank").click()
    expect(page.get_by_role("region", name="Rank 1").get_by_text("more 99", exact=True)).to_be_visible()
    opened(page, shop, run.id)
    expect(page.get_by_text("step 2 of 100")).to_be_visible()
    run.say(series=[series("loss", [1.0], steps=[49], started=run.started)])
    expect(page.get_by_text("step 50 of 100")).to_be_visible(timeout=12_000)
    run.end()
    expect(page.get_by_text("completed", exact=True).first).to_be_visible(timeout=8_000)


def test_samples_come_worst_first_with_their_pictures(shop, page, tmp_path):
    run = baseline(shop, tmp_path)
    opened(page, shop, run.id, "samples")
    first = page.locator("tbody tr").first
    expect(first).to_contain_text("3.9")
    expect(first.locator("img")).to_be_visible()
    assert first.locator("img").evaluate("image => image.complete && image.naturalWidth") == 24
    expect(page.get_by_text("version v3")).to_be_visible()
    page.get_by_role("button", name=re.compile("^truth")).click()
    expect(page.locator("tbody tr").first).to_contain_text("bread 39")
    page.get_by_label("Find rows").fill("bread 17")
    expect(page.get_by_text("1 of 40 rows")).to_be_visible()
    page.get_by_role("button", name="Open row 18").click()
    expect(page.get_by_role("dialog").locator("img")).to_be_visible()


def test_artifacts_are_looked_at(shop, page, tmp_path):
    run = baseline(shop, tmp_path)
    opened(page, shop, run.id, "artifacts")
    listed = page.get_by_role("navigation", name="Artifacts")
    listed.get_by_role("button", name=re.compile("forecast")).click()
    shown = page.get_by_role("region", name="forecast")
    expect(shown.locator("img")).to_be_visible()
    expect(shown.get_by_text("1000 (3 of 3)")).to_be_visible()
    shown.get_by_label("Step").fill("0")
    expect(page.get_by_role("region", name="forecast").get_by_text("0 (1 of 3)")).to_be_visible()
    listed.get_by_role("button", name=re.compile("figure")).click()
    expect(page.frame_locator("iframe").get_by_text("a live figure")).to_be_visible()
    listed.get_by_role("button", name=re.compile("report")).click()
    expect(page.get_by_role("heading", name="Report")).to_be_visible()
    listed.get_by_role("button", name=re.compile("^model")).click()
    expect(page.get_by_text("version=v4")).to_be_visible()


def test_code_is_read_and_compared(shop, page, tmp_path):
    run = baseline(shop, tmp_path)
    opened(page, shop, run.id, "code")
    expect(page.get_by_role("row", name="added lr = 0.05 # slower")).to_be_visible()
    page.get_by_role("radio", name="Files").click()
    expect(page.get_by_role("region", name="train.py").get_by_text("lr = 0.05  # slower")).to_be_visible()
    page.get_by_role("button", name="shop/model.py").click()
    expect(page.get_by_text("depth = 4")).to_be_visible()
    child = clone_of(shop, run)
    opened(page, shop, child, "code", "code=run")
    expect(page.get_by_text("The code of both runs is the same.")).to_be_visible()


def test_environment_machine_lineage_and_events(shop, page, tmp_path):
    run = baseline(shop, tmp_path)
    child = clone_of(shop, run)
    opened(page, shop, run.id, "environment")
    expect(page.get_by_role("row", name=re.compile("lightgbm 4.5.0"))).to_be_visible()
    opened(page, shop, run.id, "machine")
    expect(page.get_by_text(re.compile("GPU 0 had nothing to do for 24 min"))).to_be_visible()
    expect(page.get_by_role("figure", name="GPU load, %").locator("canvas")).to_be_visible()
    opened(page, shop, run.id, "lineage")
    expect(page.get_by_role("region", name="Made from it").get_by_text("lr = 0.2")).to_be_visible()
    page.get_by_role("link", name="second try").click()
    expect(page).to_have_url(re.compile(f"{child}/lineage"))
    expect(page.get_by_text("this run: a copy with")).to_be_visible()
    opened(page, shop, run.id, "events")
    expect(page.get_by_role("cell", name="Kept forecast, version 3")).to_be_visible()
    expect(page.get_by_role("cell", name="Completed")).to_be_visible()


# -- steer ---------------------------------------------------------------------------------------------------------


def test_a_clone_with_another_value_is_enqueued_in_a_few_actions(shop, page, tmp_path):
    run = baseline(shop, tmp_path)
    opened(page, shop, run.id)
    page.get_by_role("button", name="Clone & edit").click()
    page.get_by_label("lr", exact=True).fill("0.3")
    page.get_by_role("button", name="Enqueue with 1 change").click()
    expect(page).not_to_have_url(re.compile(run.id))
    expect(page.get_by_text("queued", exact=True).first).to_be_visible()
    made = page.url.rsplit("/", 1)[1]
    found = shop.transport.call(runs.GET, Nothing(), run_id=made)
    assert (found.status, found.params["lr"], found.params["depth"], found.parent) == ("queued", 0.3, 4, run.id)
    assert [job.subject for job in shop.transport.call(queues.SHOW, queue="default").jobs] == [made]
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Stop the run").click()
    expect(page.get_by_text("stopped", exact=True).first).to_be_visible()


def test_a_draft_is_edited_and_enqueued(shop, page, tmp_path):
    child = clone_of(shop, baseline(shop, tmp_path))
    opened(page, shop, child)
    page.get_by_role("button", name="Edit & enqueue").click()
    page.get_by_label("depth", exact=True).fill("8")
    page.get_by_label("optimizer", exact=True).fill("sgd")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved")).to_be_visible()
    found = shop.transport.call(runs.GET, Nothing(), run_id=child)
    assert (found.status, found.params["depth"], found.params["optimizer"]) == ("draft", 8, "sgd")


def test_archive_is_undone_and_publish_is_for_good(shop, page):
    run = Recorder(shop, "plain").end()
    opened(page, shop, run.id)
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Archive").click()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Back in the lists")).to_be_visible()
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Publish: lock for good").click()
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_text("published, locked for good")).to_be_visible()
    found = shop.transport.call(runs.GET, Nothing(), run_id=run.id)
    assert found.published and not found.archived
    page.get_by_role("button", name="More actions").click()
    expect(page.get_by_role("menuitem", name="Delete")).to_have_attribute("aria-disabled", "true")


def test_brackets_walk_through_the_runs_and_keep_the_tab(shop, page):
    ids = [Recorder(shop, f"run {n}", started=now() - (9 - n) * SECOND, params={"n": n}).end().id for n in range(3)]
    opened(page, shop, ids[1], "params")
    expect(page.get_by_role("heading", name="run 1")).to_be_visible()
    page.keyboard.press("]")
    expect(page).to_have_url(re.compile(f"{ids[2]}/params"))
    page.keyboard.press("[")
    page.keyboard.press("[")
    expect(page).to_have_url(re.compile(f"{ids[0]}/params"))
    page.go_back()
    expect(page).to_have_url(re.compile(f"{ids[1]}/params"))


def test_a_run_that_is_not_there_says_so(shop, page):
    opened(page, shop, new_id())
    expect(page.get_by_role("heading", name="There is no such run")).to_be_visible()


# -- safe and fast -------------------------------------------------------------------------------------------------

EVIL = "<img src=x onerror=window.hurt=1><script>window.hurt=1</script>\"'{{7*7}}"


def test_what_users_wrote_does_nothing(shop, page):
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" onload="parent.hurt=1"><script>parent.hurt=1;top.hurt=1</script></svg>'
    html = (
        b"<script>try{parent.hurt=1}catch(e){};try{top.location='https://evil.example'}catch(e){}</script><p>figure</p>"
    )
    run = Recorder(
        shop, EVIL.replace('"', ""), params={EVIL: EVIL}, notes=f"{EVIL}\n\n[x](javascript:window.hurt=1)", add_tags=[EVIL],
        facts={"command": {"argv": [EVIL]}, "packages": {EVIL: EVIL}, "machine": {"host": EVIL}},
        console=[ConsoleLine(time=1, text=EVIL)], series=[series(EVIL, [1.0, 2.0])],
    )  # fmt: skip
    run.keep(EVIL.replace('"', ""), "text", "text", {"x.txt": EVIL.encode()})
    run.keep("page", "figure", "html", {"page.html": html})
    run.keep("picture", "image", "svg", {"picture.svg": svg})
    run.keep(
        "words",
        "file",
        "file",
        {"words.md": f"# x\n{EVIL}\n<iframe srcdoc='<script>parent.hurt=1</script>'></iframe>".encode()},
    )
    run.keep(
        "cells",
        "table",
        "csv",
        {"cells.csv": f'a,{EVIL.replace(chr(34), "")}\n1,"{EVIL.replace(chr(34), chr(34) * 2)}"'.encode()},
    )
    run.end(RunStatus.FAILED, reason=EVIL)
    for tab in TABS:
        opened(page, shop, run.id, tab)
        expect(page.get_by_role("heading", level=1)).to_contain_text("onerror")
        page.wait_for_timeout(150)
        assert page.evaluate("window.hurt") is None, tab
    for name in ("page", "picture", "words", "cells"):
        opened(page, shop, run.id, "artifacts", f"name={name}")
        # its table, once it is there, is a region of the same name within it
        expect(page.locator(f'section[aria-label="{name}"]')).to_be_visible()
        page.wait_for_timeout(300)
        assert page.evaluate("window.hurt") is None, name
        assert page.url.startswith(shop.url)
    # opened by themselves, they are of an origin of their own
    for name, path in (("page", "page.html"), ("picture", "picture.svg")):
        answer = page.request.get(f"{shop.url}/v1/runs/{run.id}/artifact-file?name={name}&path={path}&show=true")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "allow-same-origin" not in answer.headers["content-security-policy"]


def test_a_clone_executes_any_commit_of_the_remote(shop, page):
    code = {
        "kind": "git",
        "commit": "a" * 40,
        "tree": "b" * 40,
        "dirty": False,
        "remote": "https://example.org/shop.git",
    }
    run = Recorder(shop, "pushed", params={"lr": 0.1}, facts={"code": code}).end()
    opened(page, shop, run.id)
    page.get_by_role("button", name="Clone & edit").click()
    page.get_by_label("Code", exact=True).select_option(label="Another commit of its repository")
    commit = page.get_by_label("Commit", exact=True)
    commit.fill("main")
    page.get_by_role("button", name="Keep as a draft").click()
    expect(page.get_by_role("alert")).to_contain_text("a commit is named by its whole hash")
    commit.fill("c" * 40)
    page.get_by_role("button", name="Keep as a draft").click()
    expect(page.get_by_text("is a draft")).to_be_visible()
    (copy,) = shop.transport.call(runs.SEARCH, runs.RunQuery(where="status:draft")).runs
    assert copy.commit == "c" * 40 and copy.parent == run.id


def test_of_fifty_charts_of_ten_thousand_points_only_those_near_the_window_are_mounted(shop, page):
    names = [f"layer/{n:02d}/loss" for n in range(50)]
    run = Recorder(shop, "large")
    for name in names:
        run.say(series=[series(name, curve(10_000, floor=0.1, seed=len(name)))])
    run.end()
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/v1/charts" in request.url else None)
    opened(page, shop, run.id, "metrics")
    first = page.get_by_role("figure", name="layer/00/loss")
    expect(first.locator("canvas")).to_be_visible()
    last = page.get_by_role("figure", name="layer/49/loss")
    expect(last).to_have_count(0)
    assert 0 < page.locator("canvas").count() < 40
    assert not [url for url in asked if "layer%2F49" in url or "layer/49" in url]
    page.mouse.wheel(0, 100_000)
    expect(last.locator("canvas")).to_be_visible()
    expect(first).to_have_count(0)
    assert 0 < page.locator("canvas").count() < 40
    # and what is drawn is thinned out to what a chart can show
    told = shop.transport.call(reading.CHARTS, reading.ChartsQuery(runs=[run.id], names=names, points=500))
    assert len(told.charts) == 50 and max(len(chart.steps) for chart in told.charts) <= 500


def test_the_page_fits_a_phone(shop, page, tmp_path):
    run = baseline(shop, tmp_path)
    page.set_viewport_size({"width": 360, "height": 740})
    for tab in TABS:
        opened(page, shop, run.id, tab)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_timeout(500)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{tab or 'overview'} is {wide} px wider than the phone"
