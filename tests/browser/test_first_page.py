"""The first page shows what was recorded, by itself, and runs nothing that was recorded."""

import pytest
from playwright.sync_api import expect

from larder.contract import runs
from larder.contract.runs import NewRun, Points, PointsBatch

pytestmark = pytest.mark.browser

EVIL = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'


def record(server, name, values, **fields):
    """A run with one curve, made through the API."""
    call = server.transport.call
    run = call(runs.CREATE, NewRun(project="bakery", name=name, **fields))
    call(runs.LOG_METRICS, PointsBatch(metrics=[Points(name="val/mae", values=values)]), run_id=run.id)
    return run


def test_an_empty_server_teaches_the_first_run_and_turns_into_it(up, page):
    server = up()
    page.goto(server.url)
    page.get_by_text("No runs yet").wait_for()
    assert "larder.init" in page.content()
    record(server, "first", [3.0, 2.0])
    page.get_by_role("link", name="first").wait_for(timeout=5000)


def test_a_run_page_draws_its_metric_and_hears_of_new_points(up, page):
    server = up()
    run = record(server, "curve", [3.0, 2.0, 1.0], params={"lr": 0.1})
    page.goto(f"{server.url}/runs/{run.id}")
    page.locator("figure svg path").wait_for()
    assert "lr" in page.content() and "3 points" in page.content()
    server.transport.call(
        runs.LOG_METRICS, PointsBatch(metrics=[Points(name="val/mae", values=[0.5], steps=[3])]), run_id=run.id
    )
    page.get_by_text("4 points").wait_for(timeout=5000)


def test_search_lives_in_the_address_and_back_works(up, page):
    server = up()
    for name in ("rye", "wheat"):
        record(server, name, [1.0])
    page.goto(server.url)
    page.get_by_role("link", name="rye").wait_for()
    page.get_by_label("Where").fill("name = 'wheat'")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="rye").wait_for(state="detached")
    assert "where=" in page.url
    page.go_back()
    page.get_by_role("link", name="rye").wait_for()


def test_a_mistake_in_where_is_shown_at_its_character(up, page):
    server = up()
    record(server, "rye", [1.0])
    page.goto(server.url + "/?where=metrics.loss+%3C+%3C")
    assert "^" in page.get_by_role("alert").inner_text()


def test_recorded_text_is_never_run(up, page):
    server = up()
    run = record(server, EVIL, [1.0], tags=["<b>x</b>"], notes=EVIL, params={EVIL: EVIL})
    for address in (server.url, f"{server.url}/runs/{run.id}"):
        page.goto(address)
        page.locator("h1").wait_for()
        page.wait_for_timeout(300)
        assert page.evaluate("window.hurt") is None


def test_the_page_says_when_the_server_is_away_and_recovers(up, page):
    server = up()
    record(server, "rye", [1.0])
    page.goto(server.url)
    page.get_by_role("link", name="rye").wait_for()
    server.stop()
    page.get_by_text("does not answer").wait_for(timeout=30000)
    server.start()
    expect(page.locator("#state")).to_have_text("", timeout=15000)


def test_a_phone_needs_no_sideways_scrolling(up, page):
    server = up()
    record(server, "a long name of a run that goes on and on", [1.0])
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(server.url)
    page.get_by_role("link", name="a long name").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_api_page_lists_the_endpoints_without_the_internet(up, page):
    server = up()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url + "/api")
    page.get_by_text("Find runs").wait_for(timeout=15000)
    assert all(url.startswith((server.url, "data:")) for url in asked)
