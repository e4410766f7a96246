"""Ctrl-K finds anything by its name, without a mouse."""

import re

import pytest
from playwright.sync_api import expect

from larder.contract import queues, runs
from larder.contract.runs import Enqueue, NewRun, Points, PointsBatch

pytestmark = pytest.mark.browser

EVIL = '<img src=x onerror="window.hurt=1">'


@pytest.fixture
def server(up):
    server = up()
    call = server.transport.call
    run = call(
        runs.CREATE, NewRun(project="shelf", name="resnet baseline", params={"arch": "resnet50"}, tags=["resnet-tag"])
    )
    call(runs.LOG_METRICS, PointsBatch(metrics=[Points(name="resnet/acc", values=[0.913])]), run_id=run.id)
    other = call(runs.CREATE, NewRun(project="bakery", name=EVIL, notes=EVIL))
    call(runs.ENQUEUE, Enqueue(queue="resnet-gpu"), run_id=other.id)
    call(queues.LEASE, queues.LeaseRequest(queues=["else"], agent="agent-resnet"))
    server.run = run
    return server


def find(page, text):
    page.get_by_role("heading", level=1).first.wait_for()
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox")
    field.wait_for()
    expect(field).to_be_focused()
    page.keyboard.type(text)
    return page.get_by_role("listbox", name="Found")


def test_a_name_is_found_in_everything_that_has_one(server, page):
    page.goto(server.url)
    found = find(page, "resnet")
    for option in ("resnet baseline", "arch = resnet50", "resnet/acc", "resnet-tag", "resnet-gpu", "agent-resnet"):
        found.get_by_role("option", name=option).first.wait_for()


def test_enter_opens_the_first_hit_and_a_remembered_number_finds_its_run(server, page):
    page.goto(server.url)
    found = find(page, "0.913")
    expect(found.get_by_role("option", name="resnet baseline")).to_have_attribute(
        "aria-selected", "true", timeout=20000
    )
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{server.run.id}")
    expect(page.get_by_role("dialog", name="Find anything")).to_have_count(0)


def test_a_value_leads_to_the_runs_that_have_it(server, page):
    page.goto(server.url)
    find(page, "resnet50").get_by_role("option", name="arch = resnet50").click()
    expect(page).to_have_url(re.compile("/runs.where=params.arch"))


def test_pages_and_actions_are_found(server, page):
    page.goto(server.url)
    find(page, "dark theme").get_by_role("option", name="Dark theme", exact=True).wait_for()
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    find(page, "agents").get_by_role("option", name="Agents", exact=True).click()
    page.wait_for_url("**/agents")
    find(page, "make a token").get_by_role("option", name="Make a token", exact=True).click()
    page.get_by_role("dialog", name="New token").wait_for()


def test_without_a_text_the_newest_runs_are_there_and_escape_closes(server, page):
    page.goto(server.url)
    found = find(page, "")
    found.get_by_role("option", name="resnet baseline").wait_for()
    page.wait_for_timeout(300)
    assert page.evaluate("window.hurt") is None
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Find anything")).to_have_count(0)


def test_what_is_nowhere_is_said(server, page):
    page.goto(server.url)
    find(page, "qqqqzz")
    page.get_by_text("Nothing is called so.").wait_for()
