"""Agents that wait: woken one at a time, without a transaction while there is nothing; and tokens of runs, over HTTP."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn

from larder.contract import queues, runs, tenants
from larder.contract.endpoint import Nothing, Role
from larder.contract.errors import Denied, Unauthenticated
from larder.transport import Transport
from larder_server import app
from larder_server.settings import Settings
from tests.server.conftest import HeldClock

GPU = queues.Capacity(gpus=[queues.Gpu(index=0, memory=24 * 10**9)])


class Served:
    """A server in threads of this process, so that a test can see what it does to its database."""

    def __init__(self, server):
        self.server = server
        self.writes = []
        write = server.runtime.database.write

        def counted(work):
            self.writes.append(threading.current_thread().name)
            return write(work)

        server.runtime.database.write = counted
        self.looks = []
        read = server.runtime.database.read

        def noted():
            if threading.current_thread().name.startswith("AnyIO"):  # a request's, not a timer's
                self.looks.append(time.monotonic())
            return read()

        server.runtime.database.read = noted
        config = uvicorn.Config(server.asgi, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=2)
        self.edge = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.edge.run)
        self.thread.start()
        while not self.edge.started:
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{self.edge.servers[0].sockets[0].getsockname()[1]}"
        self.admin = self.as_(server.local_secret)

    def as_(self, secret):
        return Transport(self.url, secret)

    def lease(self, agent, wait=20.0, capacity=None, queue="gpu"):
        order = queues.LeaseRequest(queues=[queue], agent=agent, wait=wait, capacity=capacity)
        return self.admin.call(queues.LEASE, order)

    def enqueue(self, needs=None, queue="gpu"):
        run = self.admin.call(runs.CREATE, runs.NewRun(project="p"))
        return self.admin.call(runs.ENQUEUE, runs.Enqueue(queue=queue, needs=needs), run_id=run.id)

    def agents(self):
        return {agent.name: agent for agent in self.admin.call(queues.AGENTS, Nothing()).agents}

    def until_known(self, *names):
        deadline = time.monotonic() + 20
        while not set(names) <= set(self.agents()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.1)  # known just before it waits

    def stop(self):
        self.server.runtime.hub.close()
        self.edge.should_exit = True
        self.thread.join()
        self.server.close()


def order_of(agent, wait=20.0, **question):
    return queues.LeaseRequest(queues=["gpu"], agent=agent, wait=wait, **question)


@pytest.fixture
def served(database_url, tmp_path):
    served = Served(app.build(Settings(home=tmp_path / "server", database=database_url)))
    yield served
    served.stop()


@pytest.fixture
def threads():
    with ThreadPoolExecutor(16) as pool:
        yield pool


def test_one_job_wakes_one_agent_that_could_hold_it(served, threads):
    small = [threads.submit(served.lease, f"small{number}", 3.0, queues.Capacity()) for number in range(4)]
    big = [threads.submit(served.lease, f"big{number}", 3.0, GPU) for number in range(2)]
    served.until_known("small0", "small1", "small2", "small3", "big0", "big1")
    began = time.monotonic()
    run = served.enqueue(queues.Needs(gpus=1))
    given = [future.result().job for future in big]
    assert [job.subject for job in given if job is not None] == [run.id]
    assert all(future.result().job is None for future in small)
    assert time.monotonic() - began < 20


def test_what_one_has_no_room_for_goes_to_the_next(served, threads):
    """Both could hold it, the first in line is full: the wake is passed on."""
    two = queues.Capacity(slots=2, gpus=GPU.gpus)
    served.enqueue(queues.Needs(gpus=1))
    assert served.lease("full", 0.0, two).job is not None
    first = threads.submit(served.lease, "full", 10.0, two)
    served.until_known("full")
    second = threads.submit(served.lease, "free", 10.0, two)
    served.until_known("free")
    began = time.monotonic()
    run = served.enqueue(queues.Needs(gpus=1))
    assert second.result().job.subject == run.id
    assert time.monotonic() - began < 5
    assert first.result().job is None


def test_the_end_of_a_job_wakes_the_agent_that_held_it(served, threads):
    served.enqueue(queues.Needs(gpus=1))
    after = served.enqueue(queues.Needs(gpus=1))
    two = queues.Capacity(slots=2, gpus=GPU.gpus)
    held = served.lease("a1", 0.0, two).job
    waiting = threads.submit(served.lease, "a1", 20.0, two)
    time.sleep(0.3)
    assert not waiting.done()
    began = time.monotonic()
    served.admin.call(queues.COMPLETE, queues.Hold(fence=held.fence), job_id=held.id)
    assert waiting.result().job.subject == after.id
    assert time.monotonic() - began < 5


def test_waiting_writes_nothing(served, threads):
    served.lease("a1", 0.0)
    waiting = threads.submit(served.lease, "a1", 1.5)
    time.sleep(0.4)
    served.writes.clear()
    assert waiting.result().job is None
    again = served.lease("a1", 1.0)
    assert again.job is None
    assert [name for name in served.writes if name != "larder-timers"] == []


def test_idle_agents_do_not_make_the_server_look(served):
    began = time.monotonic()
    while not served.server.runtime.memory._hears_all:  # of other servers on PostgreSQL
        assert time.monotonic() - began < 20
        time.sleep(0.01)
    for agent in ("a1", "a2"):
        served.lease(agent, 0.05)  # writes down who asks
    served.lease("a1", 0.05)  # finds nothing
    served.looks.clear()
    for agent in ("a2", "a1", "a2"):
        assert served.lease(agent, 0.05).job is None
    if served.server.runtime.database.sqlite:
        assert not served.looks
    else:
        assert len(served.looks) == 3  # for the token alone
    run = served.enqueue()
    assert served.lease("a1", 5.0).job.subject == run.id


def test_no_job_is_missed_by_those_who_were_told_that_there_is_none(served, threads):
    """Jobs are put in at every moment of short questions; one missed would wait until the next look by the clock."""
    took, over = {}, threading.Event()

    def work(agent):
        mine = served.as_(served.server.local_secret)
        order = queues.LeaseRequest(queues=["gpu"], agent=agent, wait=0.02)
        while not over.is_set():
            given = mine.call(queues.LEASE, order).job
            if given is not None:
                took[given.subject] = time.monotonic()
                mine.call(queues.COMPLETE, queues.Hold(fence=given.fence), job_id=given.id)
        mine.close()

    working = [threads.submit(work, f"a{number}") for number in range(3)]
    slowest = 0.0
    try:
        for _ in range(40):
            began = time.monotonic()
            run = served.enqueue()
            while run.id not in took:
                assert time.monotonic() - began < 20
                time.sleep(0.001)
            slowest = max(slowest, took[run.id] - began)
    finally:
        over.set()
        [each.result() for each in working]
    assert slowest < 3.0


def test_an_agent_that_waits_hears_at_once_that_it_shall_end(served, threads):
    waiting = threads.submit(served.lease, "a1", 20.0)
    served.until_known("a1")
    began = time.monotonic()
    served.admin.call(queues.DRAIN_AGENT, Nothing(), agent="a1")
    assert waiting.result().drain
    assert time.monotonic() - began < 5


def test_resuming_a_queue_wakes_those_who_wait(served, threads):
    served.admin.call(queues.CHANGE, queues.ChangePolicy(paused=True), queue="gpu")
    sent = {served.enqueue().id for _ in range(2)}
    waiting = [threads.submit(served.lease, f"a{number}", 20.0) for number in range(2)]
    served.until_known("a0", "a1")
    assert not any(one.done() for one in waiting)
    served.admin.call(queues.CHANGE, queues.ChangePolicy(paused=False), queue="gpu")
    assert {one.result().job.subject for one in waiting} == sent


def test_a_waiting_agent_is_given_the_run_started_and_hears_it_again_when_it_asks_again(served):
    order = order_of("a1", ask="p.0")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(served.admin.call, runs.TAKE, order)
        served.until_known("a1")
        run = served.enqueue()
        taken = waiting.result()
    assert (taken.run.id, taken.run.status, taken.run.attempt) == (run.id, "running", 1)
    assert served.as_(taken.lease.token).call(tenants.WHOAMI, Nothing()).run == run.id
    # the queue is known to be empty, and the question waits long: only that it is repeated brings the answer
    assert served.admin.call(runs.TAKE, order_of("a1", ask="p.1", wait=0.2)).run is None
    began = time.monotonic()
    again = served.admin.call(runs.TAKE, order_of("a1", ask="p.0", repeated=True))
    assert again.run.id == run.id and again.lease.job.fence == 1 and time.monotonic() - began < 10
    with pytest.raises(Denied, match="token of run"):
        served.as_(taken.lease.token).call(runs.TAKE, order)


def test_a_runs_token_speaks_for_the_run_while_its_lease_lives(served):
    run = served.enqueue()
    lease = served.lease("a1", 0.0)
    assert lease.token and lease.job.subject == run.id
    mine = served.as_(lease.token)
    who = mine.call(tenants.WHOAMI, Nothing())
    assert (who.run, who.role, who.user) == (
        run.id,
        Role.CONTRIBUTOR,
        served.admin.call(tenants.WHOAMI, Nothing()).user,
    )
    assert mine.call(runs.GET, Nothing(), run_id=run.id).id == run.id
    other = mine.call(runs.CREATE, runs.NewRun(project="p"))
    mine.call(runs.ENQUEUE, runs.Enqueue(queue="more"), run_id=other.id)
    job = served.admin.call(queues.SHOW, Nothing(), queue="more").jobs[0]
    assert job.priority is queues.Priority.AUTOMATIC
    refused = [
        (queues.LEASE, queues.LeaseRequest(queues=["gpu"], agent="a2"), {}),
        (queues.MOVE, queues.Move(), {"job_id": job.id}),
        (queues.COMPLETE, queues.Hold(fence=lease.job.fence), {"job_id": lease.job.id}),
        (runs.DELETE, Nothing(), {"run_id": run.id}),
    ]
    for endpoint, body, arguments in refused:
        with pytest.raises(Denied, match="token of run"):
            mine.call(endpoint, body, **arguments)
    with pytest.raises(Unauthenticated):
        served.as_(lease.token.replace(f".{lease.job.fence}.", f".{lease.job.fence + 1}.")).call(
            tenants.WHOAMI, Nothing()
        )
    served.admin.call(
        queues.GIVE_BACK, queues.GiveBack(fence=lease.job.fence), job_id=lease.job.id
    )  # fmt: skip
    with pytest.raises(Unauthenticated):
        mine.call(tenants.WHOAMI, Nothing())
    again = served.lease("a2", 0.0)
    assert again.token != lease.token
    with pytest.raises(Unauthenticated):
        mine.call(tenants.WHOAMI, Nothing())
    assert served.as_(again.token).call(tenants.WHOAMI, Nothing()).run == run.id


def test_the_use_of_a_token_is_written_down_beside_the_requests(served):
    issued = served.admin.call(tenants.ISSUE_TOKEN, tenants.NewToken(user="evi"))
    transport = served.as_(issued.secret)
    served.writes.clear()
    transport.call(tenants.WHOAMI, Nothing())
    assert [name for name in served.writes if name != "larder-timers"] == []
    deadline = time.monotonic() + 40
    while True:
        tokens = {token.id: token for token in served.admin.call(tenants.LIST_TOKENS, Nothing()).tokens}
        if tokens[issued.token.id].last_used is not None:
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.postgres
def test_an_agent_that_waits_at_one_server_hears_of_a_run_put_in_at_another(
    postgres_url, tmp_path, threads, monkeypatch
):
    servers = [
        Served(app.build(Settings(home=tmp_path / name, database=postgres_url))) for name in ("one", "two")
    ]  # fmt: skip
    try:
        one, two = servers
        # so that nobody hears it by asking again
        monkeypatch.setattr(type(one.server.runtime), "ask_again", property(lambda _: 60.0))
        one.lease("a1", 0.05)
        one.lease("a1", 0.05)  # the first server knows now that there is nothing
        waiting = threads.submit(one.lease, "a1", 30.0)
        time.sleep(0.3)
        began = time.monotonic()
        run = two.enqueue()
        assert waiting.result().job.subject == run.id
        assert time.monotonic() - began < 10
    finally:
        for server in servers:
            server.stop()


def test_a_revoked_token_is_worth_nothing_at_once(served):
    issued = served.admin.call(tenants.ISSUE_TOKEN, tenants.NewToken(user="evi"))
    transport = served.as_(issued.secret)
    assert transport.call(tenants.WHOAMI, Nothing()).team == ""
    served.admin.call(tenants.CHANGE_USER, tenants.ChangeUser(team="vision"), user="evi")
    assert transport.call(tenants.WHOAMI, Nothing()).team == "vision"
    served.admin.call(tenants.REVOKE_TOKEN, Nothing(), token_id=issued.token.id)
    with pytest.raises(Unauthenticated):
        transport.call(tenants.WHOAMI, Nothing())


def test_a_token_is_known_again_until_it_expires(served):
    clock = served.server.runtime.clock = HeldClock(served.server.runtime.clock.now())
    issued = served.admin.call(tenants.ISSUE_TOKEN, tenants.NewToken(user="evi", days=1))
    transport = served.as_(issued.secret)
    asked = []
    view = served.server.runtime.view

    def counted(identity, work):
        asked.append(identity.user)
        return view(identity, work)

    served.server.runtime.view = counted
    for _ in range(3):
        assert transport.call(tenants.WHOAMI, Nothing()).user == "evi"
    assert asked.count("system") == (1 if served.server.runtime.database.sqlite else 3)
    clock.forward(86_401)
    with pytest.raises(Unauthenticated):
        transport.call(tenants.WHOAMI, Nothing())
