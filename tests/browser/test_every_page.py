"""Every page, in both themes and on a phone, over a world in which each text that a user can write is an attack."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from blake3 import blake3
from playwright.sync_api import expect

import larder.data
from larder.contract import datasets, objects, runs
from larder.contract.runs import (
    ArtifactFile,
    Batch,
    ConsoleLine,
    Ending,
    Enqueue,
    NewArtifact,
    NewRun,
    Opening,
    Points,
    PointsBatch,
    RunStatus,
)

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
EVIL = '"><img src=x onerror="window.hurt=1"><script>window.hurt=1</script><svg onload="window.hurt=1">'
MARKDOWN = f"# {EVIL}\n\n[here](javascript:window.hurt=1) ![x](x\"onerror=\"window.hurt=1) <iframe srcdoc='{EVIL}'>"
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg"><script>parent.hurt=1;window.hurt=1</script></svg>'
DOCUMENT = "<!doctype html><script>parent.hurt=1;top.hurt=1;window.hurt=1</script><h1>a report</h1>"


@dataclass
class World:
    """A server with a few runs, and their ids."""

    server: object
    ids: list[str] = field(default_factory=list)
    dataset: str = ""

    def pages(self):
        """The addresses to visit, by a name for screenshots."""
        first, second = self.ids[:2]
        return {
            "home": "/",
            "runs": "/runs",
            "project": "/projects/bakery",
            "run": f"/runs/{first}",
            **{f"run-{tab}": f"/runs/{first}/{tab}" for tab in TABS},
            "compare": f"/compare?runs={first},{second}",
            "queues": "/queues",
            "queue": "/queues/default",
            "agents": "/agents",
            "datasets": "/datasets",
            "dataset": f"/datasets/{self.dataset}",
            **{f"dataset-{tab}": f"/datasets/{self.dataset}/v2/{tab}" for tab in SECTIONS},
            **{
                f"dataset-{path}": f"/datasets/{self.dataset}/v2?file={path}"
                for path in ("note.md", "page.html", "drawing.svg", "table.csv")
            },
            "dataset-pictures": f"/datasets/{self.dataset}/v2?view=grid",
            "settings": "/settings",
            "settings-tokens": "/settings/tokens",
            "share": "/share/unknown",
            "nothing": "/no/such/page",
        }


TABS = ["params", "metrics", "console", "artifacts", "code", "environment", "machine", "lineage", "events"]
SECTIONS = ["files", "statistics", "changes", "lineage", "report"]
PAGES = list(World(server=None, ids=["a", "b"]).pages())


def plant(server):
    """Runs whose every text is an attack; one waits in a queue."""
    call = server.transport.call
    world = World(server)
    files = {"note.md": MARKDOWN, "picture.svg": PICTURE, "report.html": DOCUMENT, "table.csv": f"a,b\n1,{EVIL}\n"}
    stored = []
    for path, text in files.items():
        content = text.encode()
        name = blake3(content).hexdigest()
        file = Path(server.home.parent / path)
        file.write_bytes(content)
        server.transport.upload(objects.PUT, file, hash=name)
        stored.append(ArtifactFile(path=path, hash=name, size=len(content)))
    facts = {
        "command": {"argv": ["python", EVIL]},
        "code": {"commit": "0" * 40, "dirty": True, "branch": EVIL, "diff": f"--- a/{EVIL}\n+++ b/x\n@@ -1 +1 @@\n-{EVIL}\n+x\n"},
        "packages": {EVIL: "1.0", "numpy": "2.0"},
        "machine": {"cpu": EVIL},
    }  # fmt: skip
    for index in range(3):
        run = call(
            runs.CREATE,
            NewRun(
                project="bakery", name=f"{index} {EVIL}", tags=[EVIL[:60]], notes=MARKDOWN, facts=facts,
                params={"lr": 0.1 * index, EVIL[:80]: EVIL},
            ),
        )  # fmt: skip
        world.ids.append(run.id)
        call(
            runs.APPEND,
            Batch(
                writer=f"writer-{index}",
                start=0,
                end=100,
                opening=Opening(project="bakery", name=run.name, time=1_790_000_000_000_000),
                console=[
                    ConsoleLine(time=1_790_000_000_000_000 + line, text=f"{line} {EVIL}", stream="err" if line % 5 == 0 else "out")
                    for line in range(40)
                ],
                artifacts=[
                    NewArtifact(name=EVIL[:100], kind="text", format="file", files=stored),
                    NewArtifact(name="picture", kind="image", format="file", files=[stored[1]], step=1),
                ],
            ),
            run_id=run.id,
        )  # fmt: skip
        points = [Points(name=name, values=[3.0 - step / 20 for step in range(50)]) for name in ("val/mae", EVIL[:80])]
        call(runs.LOG_METRICS, PointsBatch(metrics=points), run_id=run.id)
        call(
            runs.APPEND,
            Batch(
                writer=f"writer-{index}", start=100, end=200, closed=True,
                ending=Ending(status=RunStatus.FAILED if index else RunStatus.COMPLETED, time=1_790_000_100_000_000, reason=EVIL),
            ),
            run_id=run.id,
        )  # fmt: skip
    world.dataset = plant_data(server, world.ids)
    waiting = call(runs.CLONE, runs.Clone(name=EVIL), run_id=world.ids[0])
    call(runs.ENQUEUE, Enqueue(queue="default"), run_id=waiting.id)
    return world


def plant_data(server, ids):
    """A dataset of two versions whose every text is an attack."""
    folder = server.home.parent / "evil"
    inner = folder / EVIL.replace("/", "|")
    inner.mkdir(parents=True)
    (inner / inner.name).write_text(EVIL)
    texts = {"note.md": MARKDOWN, "page.html": DOCUMENT, "drawing.svg": PICTURE, "table.csv": f"a,{EVIL}\n1,{EVIL}\n"}
    for name, text in texts.items():
        (folder / name).write_text(text)
    name, report = "bakery/evil", {EVIL: EVIL, "checks": [{EVIL: EVIL}]}
    options = {"transport": server.transport, "progress": False}
    larder.data.create(name, description=EVIL, transport=server.transport)
    first = larder.data.commit(name, folder, message=EVIL, **options)
    (folder / "table.csv").write_text(f"a,{EVIL}\n2,{EVIL}\n")
    (folder / "drawing.svg").rename(folder / "picture.svg")
    (folder / "drawing.svg").write_text(PICTURE + " ")
    second = larder.data.commit(name, folder, message=EVIL, report=report, **options)
    larder.data.alias("bakery/evil@v1", "ready", transport=server.transport)
    for version, run, role in ((first, ids[0], "input"), (second, ids[0], "output"), (second, ids[1], "input")):
        server.transport.call(datasets.USE, datasets.NewUse(run=run, role=role), version_id=version.id)
    return first.dataset


@pytest.fixture
def world(up):
    return plant(up())


def settle(page):
    """Wait until what the page asks for has come."""
    page.locator("h1").first.wait_for()
    expect(page.locator("[aria-label=Loading]")).to_have_count(0, timeout=15_000)
    page.wait_for_timeout(400)


ALL_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


def serious(page, *, contrast_only=False):
    """What shuts people out, in axe's words; only the contrast is another one in another theme."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    rules = {"type": "rule", "values": ["color-contrast"]} if contrast_only else {"type": "tag", "values": ALL_RULES}
    found = page.evaluate("rules => axe.run(document, {runOnly: rules})", rules)
    return [
        f"{one['id']}: {one['help']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:4]
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_page_is_safe_open_to_everybody_and_fits_a_phone(world, page, tmp_path):
    if not AXE.exists():
        pytest.fail("axe-core is not installed: `make web ARGS=--check` installs it")
    said = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    faults = {}
    for name, path in world.pages().items():
        said.clear()
        found = []
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(world.server.url + path)
        settle(page)
        page.screenshot(path=tmp_path / f"{name}-light.png")
        found += serious(page)
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(200)
        page.screenshot(path=tmp_path / f"{name}-dark.png")
        found += [f"dark {one}" for one in serious(page, contrast_only=True)]
        page.set_viewport_size({"width": 360, "height": 740})
        page.wait_for_timeout(300)
        page.screenshot(path=tmp_path / f"{name}-phone.png")
        width = page.evaluate("document.documentElement.scrollWidth")
        found += [f"360 pixels: {width} wide"] if width > 360 else []
        if page.evaluate("window.hurt") is not None:
            found.append("a recorded text was run")
        found += [f"console: {one[:300]}" for one in said if not re.search("404|401|400", one)]
        if found:
            faults[name] = found
    assert not faults, json.dumps(faults, indent=1)
