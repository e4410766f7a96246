"""The runs table: found, narrowed down, grouped, kept as a view, changed in bulk, taken along."""

import csv
import io
import os
import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

import larder
from larder.contract import runs
from larder.contract.runs import Finish, NewRun, Points, PointsBatch, RunStatus

pytestmark = pytest.mark.browser

EVIL = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
CODE = {"code": {"commit": "3f2a9c", "branch": "main"}}


@pytest.fixture(autouse=True)
def _patience():
    """A machine that does other work, too, is waited for."""
    expect.set_options(timeout=20_000)
    yield
    expect.set_options(timeout=5_000)


def record(server, name, *, metrics=None, ended=True, **fields):
    """A run with what it has measured."""
    call = server.transport.call
    run = call(runs.CREATE, NewRun(**{"project": "bakery", "name": name} | fields))
    if metrics:
        points = [
            Points(name=key, values=values if isinstance(values, list) else [values]) for key, values in metrics.items()
        ]
        call(runs.LOG_METRICS, PointsBatch(metrics=points), run_id=run.id)
    if ended:
        call(runs.FINISH, Finish(status=RunStatus.COMPLETED), run_id=run.id)
    return run


def rows(page):
    """The names of the runs shown, from the top."""
    return page.locator("[data-run]").evaluate_all(
        "rows => rows.map(row => [Number(row.getAttribute('aria-rowindex')), row.querySelector('a').textContent]).sort((a, b) => a[0] - b[0]).map(pair => pair[1])"
    )


def shows(page, *names):
    """Wait until exactly these runs are shown, in this order."""
    page.wait_for_function(
        """names => JSON.stringify([...document.querySelectorAll('[data-run]')]
             .map(row => [Number(row.getAttribute('aria-rowindex')), row.querySelector('a').textContent])
             .sort((a, b) => a[0] - b[0]).map(pair => pair[1])) === JSON.stringify(names)""",
        arg=list(names),
        timeout=30000,
    )


def head(page, name):
    return page.get_by_role("columnheader").filter(has_text=re.compile(f"^{re.escape(name)}"))


def test_a_remembered_number_finds_its_run(up, page):
    """F1: paste a number, or a range with a user."""
    server = up()
    for index in range(12):
        record(server, f"other-{index}", metrics={"val_acc": 0.5 + index / 100})
    record(server, "the one", metrics={"val_acc": [0.4, 0.9132]})
    page.goto(f"{server.url}/runs")
    page.get_by_role("searchbox", name="Search").fill("0.913")
    shows(page, "the one")
    assert "text=0.913" in page.url
    user = server.transport.call(runs.SEARCH, runs.RunQuery(limit=1)).runs[0].user
    page.get_by_role("searchbox", name="Search").fill(f"val_acc 0.91..0.92 and user:{user}")
    shows(page, "the one")


def test_a_leaderboard_is_sorted_saved_and_the_same_for_a_colleague(up, page, browser):
    """F2: sort by a metric's best, pin, archive the rest, save; who opens the address sees the same rows in order."""
    server = up()
    for name, values in (("low", [0.2, 0.3]), ("best", [0.95, 0.6]), ("good", [0.7, 0.8]), ("bad", [0.1, 0.05])):
        record(server, name, metrics={"val/acc": values})
    page.goto(f"{server.url}/projects/bakery")
    shows(page, "bad", "good", "best", "low")
    column = head(page, "val/acc")
    column.get_by_role("button", name="Column val/acc").click()
    page.get_by_role("menuitemcheckbox", name="max").click()
    column = head(page, "val/acc (max)")
    column.get_by_role("button", name="Column val/acc (max)").click()
    page.get_by_role("menuitemcheckbox", name="Largest first").click()
    shows(page, "best", "good", "low", "bad")
    head(page, "val/acc (max)").get_by_role("button", name="Column").click()
    page.get_by_role("menuitemcheckbox", name="Pin up to here").click()
    page.get_by_role("checkbox", name="Tick low").click()
    page.get_by_role("checkbox", name="Tick bad").click()
    page.get_by_role("button", name="Archive", exact=True).click()
    shows(page, "best", "good")
    page.get_by_text("2 runs archived").wait_for()
    page.get_by_role("button", name="Views").click()
    page.get_by_role("menuitem", name="Save as a view").click()
    page.get_by_role("textbox", name="Name").fill("leaderboard")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url(re.compile(r"[?&]view="))
    context = browser.new_context()
    colleague = context.new_page()
    colleague.goto(page.url)
    shows(colleague, "best", "good")
    expect(head(colleague, "val/acc (max)")).to_have_attribute("aria-sort", "descending")
    colleague.get_by_role("button", name="leaderboard").wait_for()
    context.close()


def test_a_run_that_cannot_be_repeated_says_what_it_lacks(up, page):
    """T6: amber, with the words."""
    server = up()
    record(server, "whole", params={"seed": 1, "data.version": "v3"}, facts=CODE)
    record(server, "lacking", params={"lr": 0.1})
    page.goto(f"{server.url}/runs")
    row = page.locator("[data-run]", has_text="lacking")
    expect(row).to_contain_text("no seed, commit, data version")
    expect(
        page.locator("[data-run]", has_text="whole").get_by_title("seed, commit and data version are recorded")
    ).to_be_visible()


def test_a_filter_is_completed_and_points_at_its_mistake(up, page):
    server = up()
    record(server, "rye", metrics={"val/mae": 2.0}, params={"optimizer": "adam"})
    record(server, "wheat", metrics={"val/mae": 4.0}, params={"optimizer": "sgd"})
    page.goto(f"{server.url}/runs")
    shows(page, "wheat", "rye")
    box = page.get_by_role("combobox", name="Filter")
    box.click()
    page.keyboard.type("metrics.va", delay=30)
    page.get_by_role("option", name="metrics.val/mae").click()
    page.keyboard.type("< 3 and opt", delay=30)
    page.get_by_role("option", name="params.optimizer").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(box).to_have_value("metrics.val/mae < 3 and params.optimizer ")
    page.keyboard.type("= a", delay=30)
    page.get_by_role("option", name="'adam'").click()
    page.keyboard.press("Enter")
    shows(page, "rye")
    assert "where=" in page.url
    page.go_back()
    shows(page, "wheat", "rye")
    expect(box).to_have_value("")
    box.fill("metrics.val/mae < < 3")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("expected a value")
    lines = alert.inner_text().split("\n")
    assert lines[1][lines[2].index("^")] == "<" and lines[2].index("^") > lines[1].index("<")


def test_facets_count_and_narrow_down_and_back_undoes(up, page):
    server = up()
    for index in range(6):
        record(server, f"r{index}", params={"depth": index % 2}, tags=["night"] if index < 2 else [])
    page.goto(f"{server.url}/projects/bakery")
    page.get_by_role("button", name="Narrow down").click()
    aside = page.get_by_role("complementary", name="Narrow down")
    expect(aside.get_by_label("night")).to_be_visible()
    aside.get_by_role("button", name="depth").click()
    expect(aside.locator("label", has_text="1")).to_contain_text("3")
    aside.get_by_label("night").check()
    shows(page, "r1", "r0")
    expect(page.get_by_role("combobox", name="Filter")).to_have_value("tags has 'night'")
    aside.locator("fieldset", has_text="depth").get_by_role("checkbox").first.check()
    page.wait_for_function("document.querySelectorAll('[data-run]').length === 1")
    page.go_back()
    shows(page, "r1", "r0")
    aside.get_by_label("night").uncheck()
    shows(page, *[f"r{index}" for index in reversed(range(6))])


def test_groups_average_over_all_rows_with_an_interval(up, page):
    server = up()
    for depth in (2, 4):
        for seed in range(5):
            record(
                server,
                f"d{depth}s{seed}",
                params={"depth": depth, "seed": seed},
                metrics={"val/mae": depth + seed / 10},
            )
    page.goto(f"{server.url}/projects/bakery")
    page.get_by_role("button", name="Group").click()
    page.get_by_role("button", name="All that differs but the seed").click()
    page.get_by_role("button", name="Done").click()
    group = page.get_by_role("row", name=re.compile("depth = 2"))
    expect(group).to_contain_text("n 5")
    expect(group).to_contain_text("2.2")
    expect(group).to_contain_text("± 0.2")
    expect(page.get_by_role("status").filter(has_text="groups")).to_contain_text("10 runs in 2 groups")
    page.get_by_role("button", name=re.compile("Runs with depth = 4")).click()
    shows(page, "d4s4", "d4s3", "d4s2", "d4s1", "d4s0")


def test_many_runs_are_tagged_archived_and_brought_back(up, page):
    server = up()
    for index in range(8):
        record(server, f"r{index}", params={"i": index})
    page.goto(f"{server.url}/projects/bakery?sort=params.i+asc")
    names = [f"r{index}" for index in range(8)]
    shows(page, *names)
    page.get_by_role("checkbox", name="Tick r1").click()
    page.get_by_role("checkbox", name="Tick r4").click(modifiers=["Shift"])
    page.get_by_text("4 ticked").wait_for()
    page.get_by_role("button", name="Tag", exact=True).click()
    page.get_by_role("combobox", name="Tags").fill("candidate")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("4 runs tagged").wait_for()
    expect(page.locator("[data-run]", has_text="r2")).to_contain_text("candidate")
    page.get_by_role("button", name="Archive", exact=True).click()
    shows(page, "r0", "r5", "r6", "r7")
    page.get_by_role("status").filter(has_text="4 runs archived").get_by_role("button", name="Undo").click()
    shows(page, *names)
    # all that match, by their condition, after a question
    page.get_by_role("combobox", name="Filter").fill("params.i > 2")
    page.keyboard.press("Enter")
    shows(page, *names[3:])
    page.get_by_role("checkbox", name="Tick r3").click()
    page.get_by_role("button", name="Tick all 5").click()
    page.get_by_role("button", name="More").last.click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("button", name="Delete for good").click()
    page.get_by_text("No runs match").wait_for()
    assert sorted(run.name for run in server.transport.call(runs.SEARCH, runs.RunQuery()).runs) == names[:3]


def test_keys_move_tick_and_compare(up, page):
    server = up()
    made = {name: record(server, name).id for name in ("a", "b", "c")}
    page.goto(f"{server.url}/runs?sort=name+asc")
    shows(page, "a", "b", "c")
    for key in ("j", "x", "j", "j", "x"):
        page.keyboard.press(key)
    page.get_by_text("2 ticked").wait_for()
    page.keyboard.press("c")
    page.wait_for_url(re.compile("/compare"))
    assert made["a"] in page.url and made["c"] in page.url and made["b"] not in page.url


def test_a_run_opens_beside_the_table_and_j_goes_on(up, page):
    server = up()
    for name in ("a", "b"):
        record(server, name, metrics={"loss": [3.0, 2.0]})
    page.goto(f"{server.url}/runs?sort=name+asc")
    shows(page, "a", "b")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    panel = page.get_by_role("region", name="Run", exact=True)
    panel.get_by_role("heading", name="a", exact=True).wait_for()
    page.keyboard.press("j")
    panel.get_by_role("heading", name="b", exact=True).wait_for()
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)


def test_the_baseline_shows_how_far_the_others_are(up, page):
    server = up()
    record(server, "base", metrics={"val/mae": 2.0}, params={"depth": 2})
    record(server, "better", metrics={"val/mae": 1.5}, params={"depth": 4})
    page.goto(f"{server.url}/projects/bakery")
    shows(page, "better", "base")
    page.locator("[data-run]", has_text="base").hover()
    page.get_by_role("button", name="Compare all with base").click()
    row = page.locator("[data-run]", has_text="better")
    expect(row).to_contain_text("−0.5")
    expect(row.get_by_title("better than the baseline")).to_be_visible()
    assert "baseline=" in page.url
    page.reload()
    expect(row).to_contain_text("−0.5")


def test_copied_questions_answer_the_same_rows(up, page, tmp_path):
    """F4: Python, command line and curl."""
    server = up()
    for index in range(6):
        record(server, f"r{index}", metrics={"val/mae": 6.0 - index}, params={"note": "it's"})
    page.goto(
        f"{server.url}/projects/bakery?where=metrics.val%2Fmae+%3C+5+and+params.note+%3D+%22it%27s%22&sort=metrics.val%2Fmae+asc"
    )
    shows(page, "r5", "r4", "r3", "r2")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copied = {}
    for item in ("Python", "Command line", "curl"):
        page.get_by_role("button", name="Copy as").click()
        page.get_by_role("menuitem", name=item).click()
        page.get_by_text(re.compile("^Copied as")).last.wait_for()
        copied[item] = page.evaluate("navigator.clipboard.readText()")
    said = {}
    exec(copied["Python"], said)
    assert [run.name for run in said["runs"]] == rows(page)
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    command = subprocess.run(
        ["bash", "-c", copied["Command line"] + " --json"], env=environment, capture_output=True, text=True
    )
    assert re.findall(r'"name": ?"(r\d)"', command.stdout) == rows(page), command.stderr
    address = re.search(r"http\S+?(?='|$)", copied["curl"])[0]
    import urllib.request

    request = urllib.request.Request(address, headers={"authorization": f"Bearer {server.token}"})
    assert re.findall(r'"name":"(r\d)"', urllib.request.urlopen(request).read().decode()) == rows(page)
    assert larder.runs


def test_a_file_of_all_that_match(up, page):
    server = up()
    for index in range(3):
        record(server, f"r{index}", metrics={"val/mae": float(index)}, params={"depth": index})
    page.goto(f"{server.url}/projects/bakery?where=params.depth+%3E+0")
    shows(page, "r2", "r1")
    page.get_by_role("button", name="More").click()
    with page.expect_download() as told:
        page.get_by_role("menuitem", name="CSV, everything").click()
    with open(told.value.path(), encoding="utf-8") as file:
        found = list(csv.DictReader(io.StringIO(file.read())))
    assert [row["name"] for row in found] == ["r2", "r1"] and found[0]["metrics.val/mae"] == "2.0"


def test_columns_are_chosen_moved_and_widened_in_the_address(up, page):
    server = up()
    record(server, "a", metrics={"loss": 1.0, "odd name": 2.0}, params={"depth": 4})
    page.goto(f"{server.url}/projects/bakery")
    shows(page, "a")
    page.get_by_role("button", name="Columns").click()
    dialog = page.get_by_role("dialog", name="Columns")
    for name in ("user", "tags", "created", "duration", "status"):
        dialog.get_by_role("button", name=f"Hide {name}").click()
    dialog.get_by_label("depth").check()
    dialog.get_by_role("button", name="Move depth up").click()
    dialog.get_by_role("button", name="Done").click()
    heads = page.get_by_role("columnheader")
    expect(head(page, "depth")).to_be_visible()
    assert [text.strip() for text in heads.all_inner_texts() if text.strip()] == [
        "name",
        "repeatable",
        "loss",
        "depth",
        "odd name",
    ]
    before = head(page, "depth").bounding_box()["width"]
    head(page, "depth").get_by_role("button", name="Column depth").click()
    page.get_by_role("menuitem", name="Wider").click()
    page.wait_for_function("location.search.includes('w=')")
    page.reload()
    shows(page, "a")
    assert head(page, "depth").bounding_box()["width"] >= before + 39
    head(page, "loss").get_by_role("button").first.drag_to(head(page, "depth").get_by_role("button").first)
    page.wait_for_function(
        "() => { const t = [...document.querySelectorAll('[role=columnheader]')].map(h => h.innerText.trim()); return t.indexOf('depth') >= 0 && t.indexOf('loss') > t.indexOf('depth') }"
    )


def test_a_long_state_gets_a_short_address(up, page):
    server = up()
    record(server, "a", params={"depth": 4})
    record(server, "b", params={"depth": 5000})
    values = ", ".join(str(index) for index in range(500))
    page.goto(f"{server.url}/runs")
    shows(page, "b", "a")
    box = page.get_by_role("combobox", name="Filter")
    box.fill(f"params.depth in ({values})")
    page.keyboard.press("Enter")
    shows(page, "a")
    page.wait_for_url(re.compile(r"/runs\?view=\w{12}$"))
    page.reload()
    shows(page, "a")
    box.fill("")
    page.keyboard.press("Enter")
    shows(page, "b", "a")


def test_a_run_started_elsewhere_appears_by_itself(up, page):
    server = up()
    page.goto(f"{server.url}/runs")
    page.get_by_text("No runs yet").wait_for()
    record(server, "first")
    shows(page, "first")


def test_recorded_text_is_never_run(up, page):
    server = up()
    record(server, EVIL, params={EVIL: EVIL, "x": 1}, metrics={EVIL: 1.0}, tags=[EVIL[:150]])
    record(server, "other", params={EVIL: "b", "x": 2})
    page.goto(f"{server.url}/runs?facets=1")
    page.locator("[data-run]").first.wait_for()
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Group").click()
    page.get_by_role("button", name="Done").click()
    page.wait_for_timeout(300)
    assert page.evaluate("window.hurt") is None


def test_a_phone_needs_no_sideways_scrolling(up, page):
    server = up()
    record(server, "a long name of a run that goes on and on and on", metrics={"val/mae": 1.0})
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{server.url}/runs?facets=1")
    page.locator("[data-run]").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_view_is_shared_opens_on_a_phone_without_login_and_is_revoked(up, page, browser):
    server = up()
    for name, error in (("low", 4.0), ("best", 1.5), ("good", 2.0)):
        record(server, name, metrics={"val/mae": error}, params={"depth": int(error)})
    record(server, "secret", metrics={"val/mae": 0.5}, project="elsewhere")
    page.goto(f"{server.url}/projects/bakery?where=metrics.val%2Fmae+%3C+3&sort=metrics.val%2Fmae+asc")
    shows(page, "best", "good")
    page.get_by_role("button", name="Views").click()
    page.get_by_role("menuitem", name="Share without sign-in").click()
    dialog = page.get_by_role("dialog", name="Share this view")
    dialog.get_by_label("Title").fill("What is best")
    dialog.get_by_role("radio", name="anyone with the address").click()
    dialog.get_by_role("button", name="Allow it").click()
    expect(dialog.get_by_role("button", name="Allow it")).to_have_count(0)
    dialog.get_by_role("button", name="Make and copy the address").click()
    address = dialog.get_by_role("textbox", name="Address").input_value()
    phone = browser.new_context(viewport={"width": 360, "height": 740}, device_scale_factor=2, is_mobile=True)
    guest = phone.new_page()
    asked = []
    guest.on("request", lambda request: asked.append(request.url))
    guest.goto(address)
    expect(guest.get_by_role("heading", level=1)).to_contain_text("best")
    expect(guest.get_by_text("What is best")).to_be_visible()
    expect(guest.get_by_role("region", name="Runs").get_by_role("rowheader")).to_have_text(
        [re.compile("best"), re.compile("good")]
    )
    expect(guest.locator("body")).not_to_contain_text("secret")
    assert guest.evaluate("document.documentElement.scrollWidth") <= 360
    assert phone.cookies() == []
    assert not [url for url in asked if "/v1/" in url and "/v1/shared/" not in url]
    # what is recorded later and fits is in the view, too
    record(server, "later", metrics={"val/mae": 1.0})
    guest.reload()
    expect(guest.get_by_role("heading", level=1)).to_contain_text("later")
    page.goto(f"{server.url}/settings/shares")
    page.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    page.get_by_text("Revoked: the address opens nothing any more.").wait_for()
    guest.reload()
    guest.get_by_role("heading", name="This address does not open").wait_for()
    phone.close()
