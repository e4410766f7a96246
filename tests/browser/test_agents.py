"""Agents: load, what each executes and has executed; drained by who may."""

import pytest
from playwright.sync_api import expect

from larder.contract import queues, runs
from larder.contract.endpoint import Nothing
from larder.contract.queues import Capacity, Gpu, LeaseRequest, Load
from larder.contract.runs import Enqueue, Finish, NewRun, RunStatus, Start

pytestmark = pytest.mark.browser

BENCH = LeaseRequest(
    queues=["default"], agent="bench-1", host="bench-1.local", version="1",
    capacity=Capacity(slots=2, cpus=16, memory=64 * 10**9, gpus=[Gpu(index=0, memory=24 * 10**9, name="RTX")]),
    load=Load(cpu=0.42, memory=16 * 10**9, gpus=[0.97]),
)  # fmt: skip


def start_one(server, name):
    call = server.transport.call
    run = call(runs.CREATE, NewRun(project="bakery", name=name))
    call(runs.ENQUEUE, Enqueue(), run_id=run.id)
    job = call(queues.LEASE, BENCH).job
    call(runs.START, Start(fence=job.fence, agent="bench-1"), run_id=run.id)
    return run, job


def test_an_agent_appears_by_itself_with_its_load_its_work_and_its_history(up, page):
    server = up()
    page.goto(f"{server.url}/agents")
    page.get_by_text("No agent has been here").wait_for()
    expect(page.get_by_role("region", name="Start an agent")).to_contain_text(f"larder login {server.url}")
    done, _ = start_one(server, "the first")
    page.get_by_role("heading", name="bench-1").wait_for(timeout=5000)
    page.get_by_role("link", name="the first").wait_for(timeout=5000)
    expect(page.get_by_role("meter", name="Memory")).to_have_attribute("aria-valuetext", "16 GB of 64 GB")
    expect(page.get_by_role("meter", name="GPU 0")).to_have_attribute("aria-valuetext", "97 % · RTX, 24 GB")
    server.transport.call(runs.FINISH, Finish(status=RunStatus.COMPLETED, attempt=1), run_id=done.id)
    start_one(server, "the second")
    page.get_by_role("button", name="History").click()
    page.wait_for_url("**/agents?agent=bench-1")
    table = page.get_by_role("region", name="What bench-1 has executed")
    expect(table.get_by_role("row")).to_have_count(3)
    expect(table.get_by_role("row").nth(1)).to_contain_text("the second")
    expect(table.get_by_role("row").nth(2)).to_contain_text("completed")
    page.reload()
    expect(table.get_by_role("row")).to_have_count(3)


def test_an_agent_is_drained(up, page):
    server = up()
    server.transport.call(queues.LEASE, BENCH)
    page.goto(f"{server.url}/agents")
    page.get_by_role("button", name="Drain").click()
    page.get_by_role("button", name="Drain it").click()
    page.get_by_text("It is about to end.").wait_for()
    assert server.transport.call(queues.AGENTS, Nothing()).agents[0].state == "draining"


def test_a_phone_needs_no_sideways_scrolling(up, page):
    server = up()
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{server.url}/agents")
    page.get_by_text("No agent has been here").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    start_one(server, "a very long name of a run that goes on and on and does not end at all")
    page.get_by_role("heading", name="bench-1").wait_for(timeout=5000)
    page.get_by_role("button", name="History").click()
    page.get_by_role("region", name="What bench-1 has executed").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
