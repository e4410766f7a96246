"""Queues: dragged and moved by keys, seen by others at once, undone; why a job waits; pause and drain."""

import time

import pytest
from playwright.sync_api import expect

from larder.contract import events, queues, runs, tenants
from larder.contract.endpoint import Nothing
from larder.contract.queues import LeaseRequest
from larder.contract.runs import Enqueue, NewRun, Start

pytestmark = pytest.mark.browser


def enqueue(server, *names, queue="gpu"):
    made = []
    for name in names:
        run = server.transport.call(runs.CREATE, NewRun(project="bakery", name=name))
        made.append(server.transport.call(runs.ENQUEUE, Enqueue(queue=queue), run_id=run.id))
    return made


def order(server, queue="gpu"):
    jobs = server.transport.call(queues.SHOW, Nothing(), queue=queue).jobs
    return [
        server.transport.call(runs.GET, Nothing(), run_id=job.subject).name for job in jobs if job.state == "waiting"
    ]


def rows(page):
    return page.locator("[data-job]")


def shown(page):
    return [link.inner_text() for link in rows(page).locator("a").all()]


def become(question, wanted, seconds=5.0):
    deadline = time.monotonic() + seconds
    while (found := question()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def drag(page, source, target):
    handle = source.get_by_role("button", name="Move ").bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    box = target.bounding_box()
    for share in (0.3, 0.7, 1.0):
        page.mouse.move(
            handle["x"] + (box["x"] + 40 - handle["x"]) * share,
            handle["y"] + (box["y"] + box["height"] / 2 - handle["y"]) * share,
            steps=6,
        )
    page.wait_for_timeout(150)
    page.mouse.up()


def test_a_drag_to_the_top_is_seen_in_another_browser_within_a_second_and_the_next_agent_takes_it(up, page, browser):
    server = up()
    names = [f"job {number}" for number in range(1, 8)]
    enqueue(server, *names)
    other = browser.new_context().new_page()
    for each in (page, other):
        each.goto(f"{server.url}/queues/gpu")
        rows(each).nth(6).wait_for()
    page.wait_for_timeout(800)
    drag(page, rows(page).nth(6), rows(page).nth(0))
    wanted = ["job 7", *names[:-1]]
    become(lambda: shown(page), wanted, seconds=1.0)
    become(lambda: shown(other), wanted, seconds=1.5)
    assert order(server) == wanted
    job = server.transport.call(queues.LEASE, LeaseRequest(queues=["gpu"], agent="a1")).job
    assert server.transport.call(runs.GET, Nothing(), run_id=job.subject).name == "job 7"
    happened = server.transport.call(events.LIST, events.EventQuery(limit=1000)).events
    assert [event.user for event in happened if event.name == "queues.job_moved"], "an audit entry with the user"
    other.context.close()


def test_a_move_can_be_undone(up, page):
    server = up()
    enqueue(server, "one", "two", "three")
    page.goto(f"{server.url}/queues/gpu")
    rows(page).nth(2).wait_for()
    page.get_by_role("button", name="Actions for two").click()
    page.get_by_role("menuitem", name="To the top").click()
    become(lambda: order(server), ["two", "one", "three"])
    page.get_by_role("button", name="Undo").click()
    become(lambda: order(server), ["one", "two", "three"])
    become(lambda: shown(page), ["one", "two", "three"])


def test_keys_move_the_job_that_has_the_focus(up, page):
    server = up()
    enqueue(server, "one", "two", "three")
    page.goto(f"{server.url}/queues/gpu")
    rows(page).nth(2).wait_for()
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("Alt+ArrowUp")
    become(lambda: order(server), ["one", "three", "two"])
    become(lambda: shown(page), ["one", "three", "two"])
    page.keyboard.press("Alt+ArrowUp")
    become(lambda: order(server), ["three", "one", "two"])
    page.keyboard.press("Alt+End")
    become(lambda: order(server), ["one", "two", "three"])
    expect(page.get_by_role("status").filter(has_text="three is now number 3 of 3")).to_have_count(1)


def test_the_space_key_picks_a_job_up_and_puts_it_down(up, page):
    server = up()
    enqueue(server, "one", "two", "three")
    page.goto(f"{server.url}/queues/gpu")
    rows(page).nth(2).wait_for()
    page.get_by_role("button", name="Move three").focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(300)
    page.keyboard.press("ArrowUp")
    page.wait_for_timeout(400)
    page.keyboard.press("Space")
    become(lambda: order(server), ["one", "three", "two"])


def test_a_job_is_dragged_to_another_queue(up, page):
    server = up()
    enqueue(server, "one", "two")
    enqueue(server, "elsewhere", queue="cpu")
    page.goto(f"{server.url}/queues/gpu")
    rows(page).nth(1).wait_for()
    drag(page, rows(page).nth(0), page.get_by_role("navigation", name="Queues").get_by_role("link", name="cpu"))
    become(lambda: order(server, "cpu"), ["elsewhere", "one"])
    become(lambda: shown(page), ["two"])
    page.get_by_role("link", name="cpu").click()
    become(lambda: shown(page), ["elsewhere", "one"])


def test_why_a_job_waits_is_said(up, page):
    server = up()
    enqueue(server, "one", "two")
    page.goto(f"{server.url}/queues/gpu")
    rows(page).nth(1).get_by_role("button", name="No agent listens").click()
    panel = page.get_by_role("dialog", name="Why two waits")
    expect(panel).to_contain_text("No agent listens to queue gpu.")
    expect(panel).to_contain_text("1 job is ahead of it.")


def test_what_runs_is_named_with_its_agent_and_can_be_stopped(up, page):
    server = up()
    (run,) = enqueue(server, "long one")
    job = server.transport.call(queues.LEASE, LeaseRequest(queues=["gpu"], agent="bench-1")).job
    server.transport.call(runs.START, Start(fence=job.fence, agent="bench-1"), run_id=run.id)
    page.goto(f"{server.url}/queues/gpu")
    page.get_by_role("link", name="bench-1").wait_for()
    page.get_by_role("button", name="Stop long one").click()
    page.get_by_role("button", name="Stop it").click()
    become(lambda: server.transport.call(queues.RENEW, queues.Hold(fence=job.fence), job_id=job.id).stop, True)


def test_a_queue_is_paused_and_drained_with_undo_and_a_contributor_may_not(up, page):
    server = up()
    enqueue(server, "one")
    page.goto(f"{server.url}/queues/gpu")

    def policy():
        found = server.transport.call(queues.LIST, Nothing()).queues
        return next((queue.policy.paused, queue.policy.draining) for queue in found if queue.name == "gpu")

    page.get_by_role("button", name="Pause").click()
    page.get_by_text("Paused: nothing is given").wait_for()
    become(policy, (True, False))
    page.get_by_role("button", name="Undo").click()
    become(policy, (False, False))
    page.get_by_text("Paused: nothing is given").wait_for(state="detached")
    page.get_by_role("button", name="Drain").click()
    become(policy, (False, True))

    secret = server.transport.call(tenants.ISSUE_TOKEN, tenants.NewToken(user="evi")).secret
    page.context.clear_cookies()
    page.goto(f"{server.url}/sign-in?token={secret}")
    page.goto(f"{server.url}/queues/gpu")
    expect(page.get_by_role("button", name="Pause")).to_be_disabled()


def test_a_refused_policy_says_which_line_is_wrong(up, page):
    server = up()
    enqueue(server, "one")
    page.goto(f"{server.url}/queues/gpu")
    page.get_by_role("button", name="Policy").click()
    page.get_by_label("Shares of teams").fill("vision 2\nnonsense")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Not a team and its weight: “nonsense”").wait_for()
    page.get_by_label("Shares of teams").fill("vision 2")
    page.get_by_label("Jobs of one user").fill("3")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("A user has at most 3 jobs running. Teams take turns by their shares: vision 2.").wait_for()


def test_an_empty_queue_teaches_and_the_charts_follow_the_address(up, page):
    server = up()
    page.goto(f"{server.url}/queues")
    page.get_by_role("heading", name="Nothing waits in default").wait_for()
    page.goto(f"{server.url}/queues/default?hours=168")
    expect(page.get_by_role("radio", name="7 d")).to_have_attribute("aria-checked", "true")
    page.get_by_role("radio", name="6 h").click()
    page.wait_for_url("**/queues/default?hours=6")


def test_a_phone_needs_no_sideways_scrolling(up, page):
    server = up()
    enqueue(server, "a very long name of a run that goes on and on and does not end at all", "two")
    page.set_viewport_size({"width": 360, "height": 740})
    for address in ("/queues/gpu", "/queues/empty"):
        page.goto(server.url + address)
        page.get_by_role("heading", name="Over time").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
