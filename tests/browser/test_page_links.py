"""The answer of a page names what the page needs first, and the browser uses it: nothing is fetched in vain."""

import re

import pytest

from larder.contract import projects, runs
from larder.contract.projects import NewProject
from larder.contract.runs import NewRun, Points, PointsBatch

pytestmark = pytest.mark.browser

NAMED = re.compile(r"<([^>]+)>; rel=(\w+)")


ADDRESSES = [
    "/runs", "/projects/bakery", "/projects/fresh%20goods%20~%20north", "/runs?archived=1", "/runs/{a}", "/runs/{a}/metrics",
    "/runs/{a}/lineage", "/compare?runs={a},{b}", "/compare?runs={a},{b}&system=1", "/", "/queues", "/agents", "/settings",
]  # fmt: skip


def test_what_a_page_needs_first_is_used(up, page):
    server = up()
    call = server.transport.call
    call(projects.CREATE, NewProject(name="fresh goods ~ north"))
    ids = []
    for name in "ab":
        ids.append(call(runs.CREATE, NewRun(project="bakery", name=name)).id)
        call(runs.LOG_METRICS, PointsBatch(metrics=[Points(name="loss", values=[2.0, 1.0])]), run_id=ids[-1])
    said: list[str] = []
    for path in (address.format(a=ids[0], b=ids[1]) for address in ADDRESSES):
        tab = page.context.new_page()
        tab.on("console", lambda message, path=path: said.append(f"{path}: {message.text}"))
        answer = tab.goto(server.url + path)
        tab.get_by_role("heading", level=1).wait_for()
        named = NAMED.findall(answer.headers.get("link", ""))
        assert any(rel == "modulepreload" for _, rel in named), path
        data = [url for url, rel in named if rel == "preload" and url.startswith("/v1/")]
        assert bool(data) == bool(re.match(r"/(runs|projects|compare)(?!.*archived)", path)), path
    page.wait_for_timeout(4500)  # a browser says after some seconds what it has fetched in vain
    assert [text for text in said if "preload" in text] == []
