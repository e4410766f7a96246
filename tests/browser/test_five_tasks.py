"""Five tasks that people do all day, each in at most five actions from home.

An action is what a hand does once: a click, a key or a chord of keys, or a text typed at one go. Waiting and looking are
none. What each task takes is listed where it is done.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Locator, Page, expect

from larder.contract import queues, runs
from larder.contract.endpoint import Nothing
from larder.contract.runs import Enqueue, Finish, NewRun, Points, PointsBatch, RunStatus
from tests.journeys.conftest import Up, eventually

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

MOST = 5


@dataclass
class Hand:
    """Does what a person does, from home, and writes it down."""

    page: Page
    actions: list[str] = field(default_factory=list)

    def click(self, target: Locator, said: str) -> None:
        target.click()
        self.actions.append(f"click {said}")

    def press(self, keys: str) -> None:
        self.page.keyboard.press(keys)
        self.actions.append(f"press {keys}")

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.actions.append(f"type {text}")

    def has_done(self, *actions: str) -> None:
        """These, and no more than five."""
        assert self.actions == list(actions)
        assert len(actions) <= MOST


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """What a machine takes is no action."""
    expect.set_options(timeout=30_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture
def shelf(up) -> Up:
    """A project with finished runs, each with an error and an accuracy of its own, and a queue in which five wait."""
    server: Up = up()
    call = server.transport.call
    for index, name in enumerate(["amber", "brisk", "calm", "dusty", "eager", "fuzzy"]):
        params: dict[str, runs.Param] = {"lr": 0.1 / (index + 1), "depth": 4 + index, "seed": index}
        run = call(runs.CREATE, NewRun(project="bakery", name=name, params=params))
        points = [Points(name="val/mae", values=[3.0, 1.9317 - index / 100]), Points(name="val/acc", values=[0.5, 0.8])]
        call(runs.LOG_METRICS, PointsBatch(metrics=points), run_id=run.id)
        call(runs.FINISH, Finish(status=RunStatus.COMPLETED), run_id=run.id)
    for name in ("first", "second", "third", "fourth", "fifth"):
        run = call(runs.CREATE, NewRun(project="oven", name=name))
        call(runs.ENQUEUE, Enqueue(queue="gpu"), run_id=run.id)
    return server


@pytest.fixture
def hand(shelf: Up, page: Page) -> Hand:
    page.goto(shelf.url)
    page.get_by_role("heading", name="bakery").wait_for()
    return Hand(page)


def named(server: Up, name: str) -> runs.Run:
    """The finished run of this name, not a copy of it."""
    (row,) = server.transport.call(runs.SEARCH, runs.RunQuery(where=f"name = '{name}' and status:completed")).runs
    return server.transport.call(runs.GET, Nothing(), run_id=row.id)


def find(hand: Hand, text: str, name: str) -> None:
    """Ctrl-K and a text, until the run stands there as what Enter takes."""
    hand.press("Control+k")
    expect(hand.page.get_by_role("combobox")).to_be_focused()
    hand.type(text)
    found = hand.page.get_by_role("listbox", name="Found")
    expect(found).to_have_attribute("aria-busy", "false", timeout=20_000)
    option = found.get_by_role("group", name="Runs", exact=True).get_by_role("option", name=name)
    expect(option).to_have_attribute("aria-selected", "true", timeout=20_000)


def test_the_run_of_a_remembered_number_is_found(shelf, hand, page):
    find(hand, "1.9117", "calm")
    hand.press("Enter")
    page.wait_for_url(f"**/runs/{named(shelf, 'calm').id}")
    page.get_by_role("heading", name="calm", level=1).wait_for()
    hand.has_done("press Control+k", "type 1.9117", "press Enter")


def test_three_runs_are_compared(shelf, hand, page):
    hand.click(page.get_by_role("link", name="bakery", exact=True), "bakery")
    for name in ("amber", "calm", "eager"):
        hand.click(page.get_by_role("checkbox", name=f"Tick {name}"), f"the box of {name}")
    hand.press("c")
    page.get_by_role("heading", name="Compare 3 runs").wait_for()
    for name in ("amber", "calm", "eager"):
        page.get_by_role("columnheader", name=name).wait_for()
    hand.has_done(
        "click bakery", "click the box of amber", "click the box of calm", "click the box of eager", "press c"
    )


def test_a_run_is_cloned_with_another_value_and_runs(shelf, hand, page):
    find(hand, "dusty", "dusty")
    hand.press("Shift+Enter")
    expect(page.get_by_role("textbox", name="Find or set a parameter")).to_be_focused()
    hand.type("lr=0.5")
    expect(page.get_by_role("button", name="Enqueue with 1 change")).to_be_enabled()
    hand.press("Enter")
    page.get_by_text("dusty waits in the queue default").wait_for()
    parent = named(shelf, "dusty")
    (job,) = shelf.transport.call(queues.SHOW, queue="default").jobs
    copy = shelf.transport.call(runs.GET, Nothing(), run_id=job.subject)
    assert copy.parent == parent.id and copy.status is RunStatus.QUEUED
    assert copy.params == {**parent.params, "lr": 0.5}
    page.wait_for_url(f"**/runs/{copy.id}")
    hand.has_done("press Control+k", "type dusty", "press Shift+Enter", "type lr=0.5", "press Enter")


def test_a_job_is_moved_to_the_top(shelf, hand, page):
    hand.click(page.get_by_role("link", name="Queues", exact=True), "Queues")
    hand.click(page.get_by_role("button", name="Actions for fourth"), "… beside fourth")
    hand.click(page.get_by_role("menuitem", name="To the top"), "To the top")

    def order() -> list[str]:
        jobs = shelf.transport.call(queues.SHOW, Nothing(), queue="gpu").jobs
        return [shelf.transport.call(runs.GET, Nothing(), run_id=job.subject).name for job in jobs]

    eventually(lambda: order() == ["fourth", "first", "second", "third", "fifth"])
    hand.has_done("click Queues", "click … beside fourth", "click To the top")


def test_a_link_is_sent(shelf, hand, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    find(hand, "1.9117", "calm")
    hand.press("Enter")
    hand.click(page.get_by_role("button", name="Share"), "Share")
    page.get_by_role("dialog", name="Share this run").wait_for()
    hand.press("Enter")
    page.get_by_text("It is on the clipboard.").wait_for()
    hand.has_done("press Control+k", "type 1.9117", "press Enter", "click Share", "press Enter")
    address = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(rf"{re.escape(shelf.url)}/share/\S+", address)
    page.goto(address)
    page.get_by_role("heading", level=1, name=re.compile("calm")).wait_for()
