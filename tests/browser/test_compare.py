"""Runs side by side by hand-like clicks: what differs, what came out, why, and a link for those who only look."""

import math
import re

import pytest
from blake3 import blake3
from playwright.sync_api import expect

from larder import media
from larder.contract import queues, runs, shares
from larder.contract.runs import (
    ArtifactFile,
    Batch,
    ConsoleLine,
    Finish,
    NewArtifact,
    NewRun,
    Opening,
    Points,
    PointsBatch,
    RunStatus,
)
from larder.contract.shares import NewShare, SharePolicy
from tests.journeys.conftest import eventually

pytestmark = pytest.mark.browser

EVIL = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'


def put(server, content):
    """Store bytes as an object; the file that names them."""
    import urllib.request

    hash = blake3(content).hexdigest()
    request = urllib.request.Request(f"{server.url}/v1/objects/{hash}", content, method="PUT")
    request.add_header("authorization", f"Bearer {server.token}")
    urllib.request.urlopen(request, timeout=10).close()
    return hash


def picture(server, name, step, shade):
    content = media.png(64, 48, 3, bytes([shade, 255 - shade, 120] * 64 * 48))
    file = ArtifactFile(path=f"{name}.png", hash=put(server, content), size=len(content))
    return NewArtifact(name=name, kind="image", format="png", files=[file], step=step)


def script(server, text):
    content = text.encode()
    file = ArtifactFile(path="train.py", hash=put(server, content), size=len(content))
    artifact = NewArtifact(name="code/folder", kind="code", format="folder", files=[file])
    return artifact, {"kind": "folder", "tree": file.hash, "artifact": "code/folder", "files": 1}


def record(
    server, name, *, level, finish=True, lines=(), packages=None, text="clip = 1\nprint(clip)\n", shade=80, **fields
):
    """A run with curves, console, code and an image, made through the API."""
    call = server.transport.call
    artifact, code = script(server, text)
    facts = {
        "code": code, "command": {"argv": ["train.py"], "script": "/home/ada/train.py"},
        "packages": packages or {"python": "3.11.9", "lightgbm": "4.1.0"}, "machine": {"host": "oven", "cpus": 8},
    }  # fmt: skip
    pictures = [picture(server, "heatmap", step, shade + step) for step in (1, 2)]
    run = call(runs.CREATE, NewRun(project="bakery", name=name, facts=facts, artifacts=[artifact, *pictures], **fields))
    if lines:
        batch = Batch(
            writer="w", start=0, end=10, opening=Opening(project="bakery", name=name, time=run.created),
            console=[ConsoleLine(time=run.created, text=line) for line in lines],
        )  # fmt: skip
        call(runs.APPEND, batch, run_id=run.id)
    curve = [level + 2 * math.exp(-step / 12) for step in range(60)]
    points = [
        Points(name="val/mae", values=curve),
        Points(name="train/loss", values=[0.8 * value for value in curve]),
        Points(name="val/acc", values=[1 - value / 10 for value in curve]),
    ]
    call(runs.LOG_METRICS, PointsBatch(metrics=points), run_id=run.id)
    if finish:
        call(runs.FINISH, Finish(status=RunStatus.COMPLETED), run_id=run.id)
    return run.id


def five(server):
    """Five runs: other learning rates, depths and seeds, one with other code and one with a newer package."""
    settings = [(0.1, 4, 2.0), (0.05, 4, 1.6), (0.02, 6, 1.2), (0.01, 6, 1.4), (0.2, 8, 2.6)]
    return [
        record(
            server, f"depth {depth}, lr {lr}", level=level, shade=40 * index,
            params={"lr": lr, "depth": depth, "seed": index, "epochs": 60, "loss": "l1"},
            lines=[f"epoch {step} loss {level / step:.3f}" for step in range(1, 6)] + (["early stop"] if index == 2 else []),
            text="clip = 1\nprint(clip)\n" if index != 2 else "clip = 9\nprint(clip)\n",
            packages={"python": "3.11.9", "lightgbm": "4.1.0" if index < 3 else "4.3.0"},
        )
        for index, (lr, depth, level) in enumerate(settings)
    ]  # fmt: skip


def row(page, name):
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=False)).first


def opened(server, page, ids, more=""):
    page.goto(f"{server.url}/compare?runs={','.join(ids)}{more}")
    page.get_by_role("heading", name=f"Compare {len(ids)} runs").wait_for()


def test_only_what_differs_is_shown_with_curves_and_the_best(up, page):
    server = up()
    ids = five(server)
    opened(server, page, ids)
    table = page.get_by_role("region", name="Differences and results")
    expect(table.get_by_role("rowheader", name="lr", exact=True)).to_be_visible()
    expect(table.get_by_role("rowheader", name="epochs")).to_have_count(0)
    best = row(page, "val/mae").get_by_role("cell").filter(has_text="best")
    expect(best).to_have_count(1)
    assert best.inner_text().startswith("1.2")
    page.get_by_role("checkbox", name=re.compile("that are the same")).check()
    expect(table.get_by_role("rowheader", name="epochs")).to_be_visible()
    assert "all=1" in page.url
    expect(page.locator("canvas").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    text = download.value.path().read_text()
    assert "params.lr,0.1,0.05,0.02,0.01,0.2" in text.splitlines()
    assert any(line.startswith("metrics.val/mae.min,") for line in text.splitlines())


def test_a_curve_tells_its_parameters_leads_to_its_code_and_back_restores_all(up, page):
    server = up()
    ids = five(server)
    opened(server, page, ids)
    page.get_by_role("checkbox", name="Choose depth 6, lr 0.02").check()
    chart = page.get_by_role("group", name=re.compile("^val.mae by step"))
    chart.scroll_into_view_if_needed()
    chart.locator("canvas").wait_for()
    box = chart.locator(".u-over").bounding_box()
    # a part of the steps
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 40, steps=8)
    page.mouse.up()
    page.wait_for_url(re.compile("zoom="))
    zoomed = page.url
    # the lowest curve at the end is the best run's
    found = None
    for share in range(95, 20, -2):
        page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * share / 100)
        page.wait_for_timeout(60)
        card = page.get_by_text("was 0.1", exact=False)
        if card.count():
            found = page.locator("dl", has=card).last.inner_text()
            break
    assert found and "lr" in found and "0.02" in found
    page.mouse.down()
    page.mouse.up()
    page.wait_for_url(re.compile("tab=code"))
    expect(page.get_by_role("cell", name="clip = 9")).to_be_visible()
    page.go_back()
    page.wait_for_url(zoomed)
    expect(page.get_by_role("button", name="Show all steps")).to_be_visible()
    expect(page.get_by_role("checkbox", name="Choose depth 6, lr 0.02")).to_be_checked()


def test_runs_of_other_data_are_told_and_offered_to_run_again(up, page):
    server = up()
    ids = [record(server, f"on {version}", level=2, params={"data_version": version}) for version in ("v3", "v4")]
    opened(server, page, ids)
    banner = page.get_by_role("status").filter(has_text="data_version")
    expect(banner).to_contain_text("“v3” (on v3), “v4” (on v4)")
    banner.get_by_role("button", name="Run again on the same").click()
    page.get_by_role("button", name="Run 1 copy").click()
    page.get_by_role("button", name="Compare the new ones").click()
    page.get_by_role("heading", name="Compare 2 runs").wait_for()
    expect(page.get_by_role("status").filter(has_text="data_version")).to_have_count(0)
    (job,) = server.transport.call(queues.SHOW, queue="default").jobs
    copy = server.transport.call(runs.GET, run_id=job.subject)
    assert copy.params["data_version"] == "v3" and copy.parent == ids[1]


def test_laggards_are_stopped_while_others_go_on(up, page):
    server = up()
    ids = [
        record(server, name, level=level, finish=False, lines=["hello"]) for name, level in (("fast", 1), ("slow", 5))
    ]
    opened(server, page, ids)
    page.get_by_role("checkbox", name="Choose slow").check()
    page.get_by_role("button", name="Stop 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    page.get_by_text("1 run will stop").wait_for()
    batch = Batch(writer="w", start=10, end=20)
    assert server.transport.call(runs.APPEND, batch, run_id=ids[1]).stop
    assert not server.transport.call(runs.APPEND, batch, run_id=ids[0]).stop
    server.transport.call(runs.FINISH, Finish(status=RunStatus.STOPPED), run_id=ids[1])
    expect(page.get_by_role("columnheader", name="slow")).to_contain_text(re.compile("stopped", re.I), timeout=5000)


def test_a_logged_point_is_seen_without_reload_and_a_short_address_opens_the_same(up, page):
    server = up()
    ids = [record(server, name, level=level, finish=False) for name, level in (("one", 1), ("two", 5))]
    opened(server, page, ids, "&stat=last")
    cell = row(page, "val/mae").get_by_role("cell").first
    expect(cell).to_contain_text("1.0")
    page.wait_for_timeout(500)
    point = PointsBatch(metrics=[Points(name="val/mae", values=[0.125], steps=[60])])
    server.transport.call(runs.LOG_METRICS, point, run_id=ids[0])
    expect(cell).to_contain_text("0.125", timeout=5000)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy a short address").click()
    page.get_by_text("Copied a short address").wait_for()
    short = page.evaluate("navigator.clipboard.readText()")
    assert len(short) < 80
    page.goto(short)
    page.get_by_role("heading", name="Compare 2 runs").wait_for()
    assert "stat=last" in page.url and "view=" not in page.url


def test_why_code_console_packages_and_images_of_two_runs(up, page):
    server = up()
    ids = five(server)
    opened(server, page, ids, f"&b={ids[2]}")
    page.get_by_role("tab", name="Why").click()
    expect(page.get_by_text("The most likely reason")).to_be_visible()
    first = page.get_by_role("list", name=re.compile("most likely")).get_by_role("listitem").first
    expect(first).to_contain_text("train.py was changed")
    first.get_by_text("Show the lines").click()
    expect(first.get_by_role("cell", name="clip = 9")).to_be_visible()
    page.get_by_role("tab", name="Console").click()
    expect(page.get_by_role("cell", name="early stop")).to_be_visible()
    expect(page.get_by_role("cell", name=re.compile("^epoch 1 loss 2"))).to_have_count(0)
    page.get_by_role("checkbox", name="numbers count").check()
    expect(page.get_by_role("cell", name=re.compile("^epoch 1 loss 2"))).to_be_visible()
    page.get_by_role("tab", name="Packages").click()
    expect(row(page, "lightgbm")).to_contain_text("4.3.0")
    page.get_by_role("tab", name="Images").click()
    expect(page.get_by_role("img", name=re.compile("at step 2"))).to_have_count(5)
    eventually(lambda: page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth === 64)"))
    page.get_by_role("slider", name="Step").press("ArrowLeft")
    expect(page.get_by_role("img", name=re.compile("at step 1"))).to_have_count(5)
    page.get_by_role("tab", name="Relations").click()
    expect(page.get_by_role("img", name=re.compile("^val.acc against params"))).to_be_visible()
    page.get_by_role("radio", name="parallel coordinates").click()
    expect(page.get_by_role("img", name=re.compile("^Parallel"))).to_be_visible()
    page.get_by_role("radio", name="boxes").click()
    page.get_by_role("combobox", name="A box for each").select_option(label="depth")
    expect(row(page, "depth 6")).to_contain_text("2")
    page.go_back()
    expect(page.get_by_role("radio", name="parallel coordinates")).to_be_checked()


def test_a_link_is_made_opens_on_a_phone_without_login_and_is_revoked(up, page, browser):
    server = up()
    ids = five(server)
    opened(server, page, ids)
    page.get_by_role("button", name="Share").click()
    page.get_by_label("Title").fill("For the board")
    page.get_by_role("radio", name="anyone with the address").click()
    page.get_by_role("button", name="Allow it").click()
    expect(page.get_by_role("button", name="Allow it")).to_have_count(0)
    page.get_by_role("button", name="Make and copy the address").click()
    address = page.get_by_role("textbox", name="Address").input_value()
    phone = browser.new_context(viewport={"width": 360, "height": 740}, device_scale_factor=2, is_mobile=True)
    guest = phone.new_page()
    asked = []
    guest.on("request", lambda request: asked.append(request.url))
    guest.goto(address)
    headline = guest.get_by_role("heading", level=1)
    headline.wait_for()
    guest.locator("canvas").wait_for()
    assert headline.inner_text() == "Of 5 runs depth 6, lr 0.02 is best: val/acc 0.8785, 2.3 % better than the next"
    expect(guest.get_by_text("For the board")).to_be_visible()
    order = [
        guest.get_by_role("heading", name=name).bounding_box()["y"]
        for name in ("Of 5 runs", "higher is better", "What differs")
    ]
    assert order == sorted(order)
    assert guest.evaluate("document.documentElement.scrollWidth") <= 360
    assert phone.cookies() == []
    assert not [url for url in asked if "/v1/" in url and "/v1/shared/" not in url]
    (share,) = server.transport.call(shares.LIST).shares
    server.transport.call(shares.REVOKE, share_id=share.id)
    guest.reload()
    guest.get_by_role("heading", name="This address does not open").wait_for()
    phone.close()


def test_a_share_for_members_opens_with_a_sign_in_only(up, page, browser):
    server = up()
    first = record(server, "first", level=4, params={"lr": 0.1, "epochs": 60})
    run = record(server, "deep", level=2, params={"lr": 0.01, "epochs": 60}, parent=first)
    share = server.transport.call(shares.CREATE, NewShare(runs=[run]))
    stranger = browser.new_context()
    guest = stranger.new_page()
    guest.goto(f"{server.url}{share.path}")
    guest.get_by_text("opens only to those who sign in").wait_for()
    stranger.close()
    page.goto(server.url)
    page.goto(f"{server.url}{share.path}")
    page.get_by_role("heading", name="deep reached val/acc 0.7985, 33 % better than first").wait_for()
    changed = page.get_by_role("region", name="What changed")
    assert changed.get_by_role("row").all_inner_texts() == ["Parameter\tfirst\tdeep", "lr\t0.1\t0.01"]
    eventually(lambda: server.transport.call(shares.LIST).shares[0].opened)


def test_what_was_recorded_is_text_and_nothing_else(up, page):
    server = up()
    names = [f"{EVIL} {index}" for index in range(2)]
    ids = [
        record(server, name, level=index + 1, params={EVIL: name, "data_version": name}, lines=[name], notes=EVIL,
               tags=[EVIL], text=f"# {name}\n", packages={EVIL: name})
        for index, name in enumerate(names)
    ]  # fmt: skip
    server.transport.call(shares.CHANGE_POLICY, SharePolicy(public=True))
    share = server.transport.call(shares.CREATE, NewShare(runs=ids, title=EVIL, public=True))
    opened(server, page, ids)
    for tab in ("Why", "Code", "Packages", "Console", "Images", "Relations", "Differences"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(150)
    page.get_by_role("button", name="Share").click()
    page.goto(f"{server.url}{share.path}")
    page.get_by_role("heading", level=1).wait_for()
    assert page.evaluate("window.hurt") is None


@pytest.mark.parametrize("ids", ["", "x", "x,y", ",".join(f"r{index}" for index in range(51))])
def test_an_address_that_names_no_comparison_says_what_to_do(up, page, ids):
    server = up()
    page.goto(f"{server.url}/compare?runs={ids}")
    page.get_by_role("heading", name="Compare").wait_for()
    page.get_by_role("link", name=re.compile("table of runs|other runs")).wait_for()
