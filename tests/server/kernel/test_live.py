"""Open pages hear what happens, once, in order, whatever breaks in between; over HTTP, on both databases."""

import http.client
import json
import socket
import threading
import time
from urllib.parse import urlencode, urlsplit

import pytest

from larder import events
from larder.contract import queues, runs, tenants
from larder.contract.endpoint import Nothing, Role
from larder_server import app
from larder_server.kernel import live
from larder_server.settings import Settings
from tests.server.queues.test_waiting import Served


class Listener:
    """A page: it reads messages in a thread and keeps them."""

    def __init__(self, url, secret, *, after=None, since=None, last_event_id=None):
        place = urlsplit(url)
        self.connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
        headers = {"cookie": f"larder_session={secret}"}
        if last_event_id is not None:
            headers["last-event-id"] = str(last_event_id)
        asked = {"after": after, "since": since}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        self.connection.request("GET", f"/v1/live?{query}", headers=headers)
        self.socket = self.connection.sock
        self.response = self.connection.getresponse()
        self.messages = []
        self.ended = threading.Event()
        if self.response.status == 200:
            threading.Thread(target=self._read, daemon=True).start()
        else:
            self.ended.set()

    def _read(self):
        message = {}
        try:
            while line := self.response.readline():
                line = line.decode().rstrip("\n")
                if line:
                    name, _, value = line.partition(": ")
                    message[name] = value
                else:
                    self.messages.append(message)
                    message = {}
        except (OSError, http.client.HTTPException):
            pass
        self.ended.set()

    def named(self, name):
        return [message for message in self.messages if message.get("event", "message") == name]

    @property
    def hello(self):
        until(lambda: self.named("hello"))
        return json.loads(self.named("hello")[0]["data"])

    def events(self, name=""):
        heard = [event for message in self.named("message") for event in json.loads(message["data"])]
        return [event for event in heard if not name or event["name"] == name]

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed already
        self.ended.wait(5)


def until(question, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
    return answer


@pytest.fixture
def served(database_url, tmp_path):
    served = Served(app.build(Settings(home=tmp_path / "server", database=database_url)))
    yield served
    served.stop()


@pytest.fixture
def listen(served):
    opened = []

    def start(secret="", **options):
        opened.append(Listener(served.url, secret or served.server.local_secret, **options))
        return opened[-1]

    yield start
    for listener in opened:
        listener.close()


def draft(served, name="one"):
    return served.admin.call(runs.CREATE, runs.NewRun(project="bakery", name=name))


def log(served, run, *values):
    served.admin.call(
        runs.LOG_METRICS, runs.PointsBatch(metrics=[runs.Points(name="loss", values=list(values))]), run_id=run.id
    )


def test_every_page_hears_of_a_run_at_once_and_in_order(served, listen):
    pages = [listen() for _ in range(3)]
    assert all(page.hello["resumed"] is False for page in pages)
    began = time.monotonic()
    made = [draft(served, f"run {number}") for number in range(5)]
    for page in pages:
        until(lambda page=page: len(page.events("runs.created")) == 5)
        assert [event["subject"] for event in page.events("runs.created")] == [run.id for run in made]
        assert [event["sequence"] for event in page.events()] == sorted(event["sequence"] for event in page.events())
    assert time.monotonic() - began < 5
    time.sleep(0.3)
    assert all(len(page.events("runs.created")) == 5 for page in pages)


def test_a_page_that_comes_back_hears_what_it_missed(served, listen):
    first = listen()
    assert first.hello
    draft(served, "before")
    until(lambda: first.events("runs.created"))
    mark = int(first.named("message")[-1]["id"])
    first.close()
    missed = draft(served, "missed")
    for page in (listen(after=mark), listen(last_event_id=mark)):
        assert page.hello["resumed"] is True
        until(lambda page=page: missed.id in [event["subject"] for event in page.events("runs.created")])
    assert listen(after=mark + 10**9).hello["resumed"] is False


def test_a_new_page_hears_what_happened_while_it_was_loaded(served, listen):
    run = draft(served)
    page = listen(since=20)
    until(lambda: page.events("runs.created"))
    assert page.events("runs.created")[0]["subject"] == run.id
    assert listen().hello and listen(since=61).response.status == 400
    time.sleep(0.3)
    later = listen(since=0.01)
    assert later.hello and later.events() == []


def test_a_page_that_missed_too_much_is_told_to_look_anew(served, listen, monkeypatch):
    monkeypatch.setattr(live, "MOST", 5)
    mark = listen().hello["last"]
    for number in range(8):
        draft(served, str(number))
    late = listen(after=mark)
    # the newest may be on their way to every page at that very moment
    assert late.hello["resumed"] is False and len(late.events()) < 8


def test_logged_points_are_told_at_most_twice_a_second_for_a_run_and_the_last_of_them_surely(served, listen):
    run, page = draft(served), listen()
    assert page.hello
    began = time.monotonic()
    for value in range(40):
        log(served, run, value)
        time.sleep(0.03)
    lasted = time.monotonic() - began
    last = time.monotonic()
    seen = len(page.events("runs.logged"))
    assert 1 <= seen <= lasted * 2 + 2
    until(lambda: len(page.events("runs.logged")) > seen or time.monotonic() - last > 1)
    assert page.events("runs.logged")[-1]["subject"] == run.id
    assert page.events("runs.logged")[-1]["sequence"] == 0


def test_the_first_point_after_silence_is_told_within_a_moment(served, listen):
    run, page = draft(served), listen()
    assert page.hello
    began = time.monotonic()
    log(served, run, 1.0)
    until(lambda: page.events("runs.logged"))
    assert time.monotonic() - began < 1


def test_other_tenants_hear_nothing(served, listen):
    page = listen()
    assert page.hello
    from larder_server.kernel.outbox import Event
    from larder_server.kernel.runtime import system

    served.server.runtime.transact(
        system("globex"), lambda context: context.emit(Event(name="runs.created", subject="theirs"))
    )
    mine = draft(served)
    until(lambda: page.events("runs.created"))
    assert [event["subject"] for event in page.events("runs.created")] == [mine.id]


def test_a_sign_of_life_of_an_agent_is_told(served, listen):
    page = listen()
    assert page.hello
    served.lease("a1", 0.0)
    until(lambda: page.events("queues.agent_seen"))
    assert page.events("queues.agent_seen")[0]["subject"] == "a1"


def test_a_moved_job_is_told(served, listen):
    served.enqueue()
    second = served.enqueue()
    page = listen()
    assert page.hello
    jobs = served.admin.call(queues.SHOW, Nothing(), queue="gpu").jobs
    job = next(job for job in jobs if job.subject == second.id)
    began = time.monotonic()
    served.admin.call(queues.MOVE, queues.Move(to="top"), job_id=job.id)
    until(lambda: page.events("queues.job_moved"))
    assert time.monotonic() - began < 1


def test_without_a_good_token_nothing_is_told(served, listen):
    assert listen("larder_default.x.y").response.status == 401
    answer = listen(after="many").response
    assert answer.status == 400 and json.loads(answer.read())["field"] == "after"


def test_a_revoked_token_hears_no_more(served, listen, monkeypatch):
    monkeypatch.setattr(live, "BEAT", 0.3)
    issued = served.admin.call(tenants.ISSUE_TOKEN, tenants.NewToken(user="evi", role=Role.VIEWER))
    page = listen(issued.secret)
    until(lambda: page.named("beat"))
    served.admin.call(tenants.REVOKE_TOKEN, Nothing(), token_id=issued.token.id)
    assert page.ended.wait(10)


def test_the_pages_are_let_go_when_the_server_ends(served, listen):
    page = listen()
    assert page.hello
    began = time.monotonic()
    served.server.runtime.hub._loop.call_soon_threadsafe(served.server.runtime.hub.close)
    assert page.ended.wait(5)
    assert time.monotonic() - began < 2


def test_when_the_last_page_goes_nothing_is_left_behind(served, listen):
    pages = [listen() for _ in range(2)]
    assert all(page.hello for page in pages)
    hub = served.server.runtime.hub
    assert hub._listeners
    for page in pages:
        page.close()
    draft(served)
    until(lambda: not hub._listeners)


def test_a_slow_page_is_told_that_it_missed_something(monkeypatch):
    monkeypatch.setattr(live, "BEHIND", 3)
    follower = live._Follower()
    for number in range(4):
        follower.give(str(number).encode())
    assert list(follower.waiting) == [live.LOST]


@pytest.mark.postgres
def test_a_page_at_one_server_hears_what_happens_at_another(postgres_url, tmp_path):
    servers = [Served(app.build(Settings(home=tmp_path / name, database=postgres_url))) for name in ("one", "two")]
    pages = []
    try:
        one, two = servers
        page = Listener(one.url, one.server.local_secret)
        pages.append(page)
        assert page.hello
        began = time.monotonic()
        run = draft(two)
        until(lambda: [event for event in page.events("runs.created") if event["subject"] == run.id])
        assert time.monotonic() - began < 1
        began = time.monotonic()
        log(two, run, 1.0)
        until(lambda: page.events("runs.logged"))
        assert time.monotonic() - began < 1
        time.sleep(2.5)
        assert len(page.events("runs.created")) == 1, "each event once"
    finally:
        for page in pages:
            page.close()
        for server in servers:
            server.stop()


def test_the_sdk_follows(served):
    heard = []

    def listen():
        for event in events.follow(transport=served.admin):
            heard.append(event)
            if event.name == "runs.created":
                return

    thread = threading.Thread(target=listen)
    thread.start()
    until(lambda: served.server.runtime.hub._listeners)
    time.sleep(0.2)
    run = draft(served)
    thread.join(10)
    assert heard[-1].subject == run.id and heard[-1].data["name"] == "one"
