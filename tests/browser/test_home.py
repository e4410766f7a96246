"""Home: an empty server teaches the first run and turns into it; projects at a glance, which hear what happens."""

import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from larder.contract import projects, runs
from larder.contract.projects import NewProject
from larder.contract.runs import Finish, NewRun, Points, PointsBatch, RunStatus

pytestmark = pytest.mark.browser

EVIL = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'


def record(server, name, values=(), project="bakery", metric="val/mae", status=RunStatus.COMPLETED):
    call = server.transport.call
    run = call(runs.CREATE, NewRun(project=project, name=name))
    if values:
        call(runs.LOG_METRICS, PointsBatch(metrics=[Points(name=metric, values=list(values))]), run_id=run.id)
        call(runs.FINISH, Finish(status=status), run_id=run.id)
    return run


def test_an_empty_server_teaches_the_first_run_and_turns_into_it(up, page, tmp_path):
    server = up()
    page.goto(server.url)
    page.get_by_role("heading", name="No runs yet").wait_for()
    snippet = page.get_by_role("region", name="Connect a machine")
    expect(snippet).to_contain_text(f"larder login {server.url}")
    page.get_by_role("button", name="Put a token into the line").click()
    expect(snippet).to_contain_text("--token larder_default.")
    secret = re.search(r"--token (\S+)", snippet.inner_text())[1]
    code = page.get_by_role("region", name="Two lines in a script").inner_text()
    script = tmp_path / "first.py"
    script.write_text(code)
    # what the page says, done as it says it
    login = [sys.executable, "-m", "larder.cli", "login", server.url, "--token", secret]
    subprocess.run(login, check=True, timeout=60, capture_output=True)
    subprocess.run([sys.executable, str(script)], check=True, timeout=60, capture_output=True, cwd=tmp_path)
    page.get_by_text("Your first run is here").wait_for(timeout=15000)
    page.get_by_role("link", name="my-project").wait_for()
    page.get_by_role("link", name="Open it").click()
    page.wait_for_url("**/runs/*")
    page.go_back()
    page.get_by_role("heading", name="Projects").wait_for()


def test_projects_tell_what_runs_and_the_best_values(up, page):
    server = up()
    good = record(server, "good", [3.0, 1.25])
    for value in (4.0, 5.0):
        record(server, f"run {value}", [value])
    record(server, "failed", [9.0], status=RunStatus.FAILED)
    record(server, "other", [0.5], project="shelf", metric="val/acc")
    page.goto(server.url)
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="bakery"))
    expect(card).to_contain_text("Lowest val/mae")
    expect(card).to_contain_text("1.25")
    expect(card.get_by_role("img", name="val/mae of the newest 4 runs")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="shelf"))).to_contain_text(
        "Highest val/acc"
    )
    card.get_by_role("link", name="good").click()
    page.wait_for_url(f"**/runs/{good.id}")
    page.go_back()
    card.get_by_role("link", name="1 failed").click()
    expect(page).to_have_url(f"{server.url}/projects/bakery?where=status%3Afailed")


def test_home_hears_of_a_run_within_a_second_and_of_its_points(up, page):
    server = up()
    record(server, "one", [3.0])
    page.goto(server.url)
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="bakery"))
    expect(card).to_contain_text("3")
    page.wait_for_timeout(500)
    new = server.transport.call(runs.CREATE, NewRun(project="bakery", name="two"))
    expect(card.get_by_role("link", name="1 draft")).to_be_visible(timeout=1500)
    points = PointsBatch(metrics=[Points(name="val/mae", values=[0.125])])
    server.transport.call(runs.LOG_METRICS, points, run_id=new.id)
    server.transport.call(runs.FINISH, Finish(status=RunStatus.COMPLETED), run_id=new.id)
    expect(card).to_contain_text("0.125", timeout=4000)


def test_the_page_says_when_the_server_is_away_and_recovers_by_itself(up, page):
    server = up()
    record(server, "one", [3.0])
    page.goto(server.url)
    page.get_by_role("heading", name="bakery").wait_for()
    page.wait_for_timeout(500)
    server.stop()
    page.get_by_text("The server does not answer").wait_for(timeout=15000)
    server.start()
    page.get_by_text("The server does not answer").wait_for(state="detached", timeout=20000)
    record(server, "later", [1.0], project="after the break")
    page.get_by_role("heading", name="after the break").wait_for(timeout=5000)


def test_what_happened_while_the_server_was_away_is_there_afterwards(up, page):
    server = up()
    record(server, "one", [3.0])
    page.goto(server.url)
    page.get_by_role("heading", name="bakery").wait_for()
    server.stop(kill=True)
    page.get_by_text("The server does not answer").wait_for(timeout=15000)
    server.start()
    record(server, "meanwhile", [1.0], project="meanwhile")
    page.get_by_role("heading", name="meanwhile").wait_for(timeout=15000)


def test_two_tabs_share_one_connection_and_both_hear(up, page):
    server = up()
    record(server, "one", [3.0])
    page.goto(server.url)
    page.get_by_role("heading", name="bakery").wait_for()
    others = [page.context.new_page() for _ in range(7)]
    for other in others:
        other.goto(server.url)
        other.get_by_role("heading", name="bakery").wait_for()
    record(server, "two", [1.0], project="seen by all")
    for tab in (page, *others):
        tab.get_by_role("heading", name="seen by all").wait_for(timeout=5000)


def test_recorded_text_is_never_run_and_a_phone_needs_no_sideways_scrolling(up, page):
    server = up()
    server.transport.call(projects.CREATE, NewProject(name=EVIL[:190], description=EVIL + "x" * 300))
    record(server, EVIL, [1.0], project=EVIL[:190].strip(), metric="val/mae")
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(server.url)
    page.get_by_text("Lowest val/mae").wait_for()
    page.wait_for_timeout(300)
    assert page.evaluate("window.hurt") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
