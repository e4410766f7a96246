"""Everything that opens over a page: dialogs, menus, panels, the palette and the list of keys, looked at by axe."""

import json
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from larder.contract import queues, runs, shares, tenants, views
from larder.contract.endpoint import Nothing
from larder.contract.queues import LeaseRequest
from larder.contract.runs import Enqueue, NewRun, Start
from larder.contract.shares import NewShare
from tests.browser.test_every_page import AXE, EVIL, plant, serious, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]


def press(name: str, *then: str) -> Callable[[Page], None]:
    """Click the first button of that name, then the items of the menu that it opened."""

    def do(page: Page) -> None:
        page.get_by_role("button", name=name, exact=True).first.click()
        for item in then:
            page.get_by_role("menuitem", name=item).or_(page.get_by_role("menuitemcheckbox", name=item)).first.click()

    return do


def keys(*chords: str) -> Callable[[Page], None]:
    def do(page: Page) -> None:
        for chord in chords:
            page.keyboard.press(chord)

    return do


def both(*steps: Callable[[Page], None]) -> Callable[[Page], None]:
    def do(page: Page) -> None:
        for step in steps:
            step(page)

    return do


def tick(page: Page) -> None:
    for row in (0, 1):
        page.locator("[data-run] input[type=checkbox]").nth(row).click()


def found(page: Page) -> None:
    page.get_by_role("combobox", name="Find anything").fill("0")
    expect(page.get_by_role("listbox", name="Found")).to_have_attribute("aria-busy", "false", timeout=15_000)


def completed(page: Page) -> None:
    page.get_by_role("combobox", name="Filter").click()
    page.keyboard.type("metrics.", delay=20)
    page.get_by_role("option").first.wait_for()


def token(page: Page) -> None:
    page.get_by_role("region", name="The token").wait_for()


def item(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("menuitem", name=name).click()


def typed(page: Page) -> None:
    page.get_by_role("textbox", name="Find or set a parameter").fill("no-such=1")
    page.get_by_role("alert").wait_for()


def of_run(index: int, tab: str = "") -> Callable[[list[str]], str]:
    return lambda ids: f"/runs/{ids[index]}{tab}"


def bar_more(page: Page) -> None:
    page.get_by_role("toolbar").get_by_role("button", name="More").click()


def first(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("button", name=name).first.click()


def job(name: str) -> Callable[[Page], None]:
    return lambda page: page.locator("[data-job]").first.get_by_role("button", name=name).click()


Address = str | Callable[[list[str]], str]
TABLE = quote(EVIL[:100], safe="")
PAIR: Address = lambda ids: f"/compare?runs={ids[0]},{ids[1]}"  # noqa: E731

OVER: dict[str, dict[str, tuple[Address, Callable[[Page], None]]]] = {
    "around": {
        "history of an agent": ("/agents", press("History")),
        "drain": ("/agents", press("Drain")),
        "keys": ("/", keys("?")),
        "palette": ("/", keys("Control+k")),
        "palette, found": ("/", both(keys("Control+k"), found)),
        "theme": ("/", press("Theme")),
        "sign in": ("/sign-in", lambda page: None),
        "new token": ("/settings/tokens", press("New token")),
        "the new token": ("/settings/tokens", both(press("New token"), press("Make it"), token)),
        "revoke a token": ("/settings/tokens?whose=all", first("Revoke")),
        "team": ("/settings/people", first("Change the team")),
        "shares": ("/settings/shares", lambda page: page.get_by_role("button", name="Revoke").first.wait_for()),
        "revoke a share": ("/settings/shares", first("Revoke")),
    },
    "table": {
        "views": ("/runs", press("Views")),
        "save a view": ("/runs", press("Views", "Save as a view…")),
        "share a view": ("/runs", press("Views", "Share without sign-in…")),
        "columns": ("/runs", press("Columns")),
        "groups": ("/projects/bakery", press("Group")),
        "copy as": ("/runs", press("Copy as")),
        "more of the table": ("/runs", press("More")),
        "facets": ("/runs?facets=1", lambda page: page.get_by_role("complementary", name="Narrow down").wait_for()),
        "filter": ("/runs", completed),
        "column": ("/runs", lambda page: page.get_by_role("columnheader").get_by_role("button", name="Column").nth(1).click()),
        "a run beside": ("/runs", both(keys("j", "Enter"), lambda page: page.get_by_role("region", name="Run", exact=True).wait_for())),
    },
    "many": {
        "ticked": ("/runs", tick),
        "ticked, more": ("/runs", both(tick, bar_more)),
        "tag many": ("/runs", both(tick, press("Tag"))),
        "archive all": ("/runs", both(tick, first("Tick all"), press("Archive"))),
        "enqueue many": ("/runs", both(tick, bar_more, item("Put drafts into a queue"))),
        "stop many": ("/runs", both(tick, bar_more, item("Stop"))),
        "share many": ("/runs", both(tick, bar_more, item("Share without sign-in"))),
        "delete many": ("/runs", both(tick, bar_more, item("Delete"))),
        "why a job waits": ("/queues/default", lambda page: page.locator("[data-job]").first.get_by_role("button").nth(1).click()),
        "a job's actions": ("/queues/default", job("Actions")),
        "policy": ("/queues/default", press("Policy")),
    },
    "run": {
        "clone": (of_run(0), press("Clone & edit")),
        "clone, an unknown name": (of_run(0), both(press("Clone & edit"), typed)),
        "edit a draft": (of_run(3), press("Edit & enqueue")),
        "share a run": (of_run(0), press("Share")),
        "a run's actions": (of_run(0), press("More actions")),
        "delete a run": (of_run(0), press("More actions", "Delete")),
        "publish a run": (of_run(0), press("More actions", "Publish: lock for good")),
        "compare parameters with": (of_run(0, "/params"), press("Compare with…")),
        "a row": (of_run(0, f"/artifacts?name={TABLE}"), first("Open row 1")),
        "add to a comparison": (PAIR, press("Add a run")),
        "share a comparison": (PAIR, press("Share")),
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """A machine that does other work, too, is waited for."""
    expect.set_options(timeout=30_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture
def world(up):
    """Runs with odd texts, a draft, a job that waits, one that is executed, a view, a share, another user."""
    world = plant(up())
    call = world.server.transport.call
    ids = world.ids
    draft = call(runs.CREATE, NewRun(project="bakery", name="a draft", params={"lr": 0.1}))
    world.ids.append(draft.id)
    going = call(runs.CREATE, NewRun(project="bakery", name="going"))
    call(runs.ENQUEUE, Enqueue(queue="ovens"), run_id=going.id)
    job = call(queues.LEASE, LeaseRequest(queues=["ovens"], agent="bench-1")).job
    call(runs.START, Start(fence=job.fence, agent="bench-1"), run_id=going.id)
    call(views.CREATE, views.NewView(name="leaderboard", state="sort=name+asc", page="runs", shared=True))
    call(shares.CREATE, NewShare(runs=ids[:2], title="For the board"))
    call(tenants.ISSUE_TOKEN, tenants.NewToken(user="evi", name="a notebook"))
    assert call(queues.LIST, Nothing()).queues
    return world


@pytest.mark.parametrize("part", OVER)
def test_what_opens_over_a_page_is_open_to_everybody(world, page, tmp_path, part):
    if not AXE.exists():
        pytest.fail("axe-core is not installed: `make web ARGS=--check` installs it")
    faults: dict[str, list[str]] = {}
    for name, (address, show) in OVER[part].items():
        path = address if isinstance(address, str) else address(world.ids)
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(world.server.url + path)
        settle(page)
        try:
            show(page)
        except Exception as problem:  # the others are looked at all the same
            faults[name] = [f"it does not open: {str(problem)[:500]}"]
            page.screenshot(path=tmp_path / f"{name}.png")
            continue
        page.wait_for_timeout(300)
        page.screenshot(path=tmp_path / f"{name}.png")
        told = serious(page)
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        page.wait_for_timeout(150)
        page.screenshot(path=tmp_path / f"{name}-dark.png")
        told += [f"dark {one}" for one in serious(page, contrast_only=True)]
        page.set_viewport_size({"width": 360, "height": 740})
        page.wait_for_timeout(200)
        page.screenshot(path=tmp_path / f"{name}-phone.png")
        width = page.evaluate("document.documentElement.scrollWidth")
        told += [f"360 pixels: {width} wide"] if width > 360 else []
        told += ["a recorded text was run"] if page.evaluate("window.hurt") is not None else []
        if told:
            faults[name] = told
    assert not faults, json.dumps(faults, indent=1)
