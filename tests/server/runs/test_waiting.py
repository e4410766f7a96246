"""Whoever changes a run and its job locks the run first, so that on PostgreSQL nobody waits in a ring."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from larder.contract.endpoint import Nothing
from larder.contract.queues import LeaseRequest, LineQuery
from larder.contract.runs import Enqueue, NewRun, RunStatus, Stop
from larder_server.queues import service as queues
from larder_server.runs.service import life
from larder_server.runs.store import runs
from tests.server.conftest import ALICE, opened

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.parametrize("database_url", ["postgres"], indirect=True),  # SQLite has one writer: nobody waits
]
ASK = LeaseRequest(queues=["default"], agent="a1", ask="first")


@pytest.fixture
def queued(runtime):
    """The id of a run that waits in the queue `default`."""

    def make(context):
        run = life.create(context, NewRun(project="bakery"))
        return life.enqueue(context, Enqueue(), run.id).id

    return runtime.transact(ALICE, make)


def taking(runtime, ask, said):
    with opened(runtime) as context:
        said.append(context.db.one("select pg_backend_pid() as pid").pid)
        return life.take(context, ask)


def await_blocked(runtime, said):
    """Until the transaction of that process of the database waits for a lock."""
    deadline = time.monotonic() + 30
    with runtime.database.engine.connect() as connection:
        while time.monotonic() < deadline:
            if (
                said
                and connection.exec_driver_sql(
                    "select 1 from pg_stat_activity where pid = %s and wait_event_type = 'Lock'", (said[0],)
                ).first()
            ):
                return
            connection.rollback()
            time.sleep(0.01)
    raise AssertionError("it waited for nobody")


@pytest.mark.parametrize("repeated", [False, True])
def test_a_lease_and_a_stop_of_one_run_wait_for_one_another_in_one_order(runtime, queued, repeated):
    ask = LeaseRequest(queues=ASK.queues, agent=ASK.agent, ask=ASK.ask, repeated=repeated)
    if repeated:
        assert runtime.transact(ALICE, lambda context: life.take(context, ASK)).run.id == queued
    said = []
    with ThreadPoolExecutor(1) as pool, opened(runtime) as stopping:
        assert runs.find(stopping, queued, lock=True).run.id == queued  # the first thing that a stop does
        taken = pool.submit(taking, runtime, ask, said)
        await_blocked(runtime, said)
        life.stop(stopping, Stop(), queued)
        stopping.db._connection.commit()
        answer = taken.result(30)
    status = runtime.transact(ALICE, lambda context: life.get(context, Nothing(), queued)).status
    if repeated:  # it runs, and hears of the stop
        assert answer.lease.job.subject == queued and status is RunStatus.RUNNING
    else:
        assert answer.lease.job is None and status is RunStatus.STOPPED


def test_a_run_that_another_has_is_passed_over(runtime, queued):
    second = runtime.transact(
        ALICE, lambda context: life.enqueue(context, Enqueue(), life.create(context, NewRun(project="bakery")).id)
    )
    with opened(runtime) as busy, opened(runtime) as context:
        runs.find(busy, queued, lock=True)
        assert life.take(context, ASK).run.id == second.id


def test_the_job_of_a_run_that_is_gone_leaves_its_queue(runtime, queued):
    def forget(context):
        runs.delete(context, runs.find(context, queued).seq)

    runtime.transact(ALICE, forget)
    assert runtime.transact(ALICE, lambda context: life.take(context, ASK)).lease.job is None
    with opened(runtime) as context:
        assert not queues.line(context, LineQuery(), "default").waiting
