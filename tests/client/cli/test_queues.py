"""`larder queues`: what waits, and its order."""

import dataclasses
import json
import time

import pytest

from larder.contract import queues, runs, tenants
from larder.contract.endpoint import Nothing, Role
from larder.contract.runs import RunStatus


@pytest.fixture
def waiting(server):
    made = [server.add(status=RunStatus.DRAFT, name=f"run {number}") for number in range(3)]
    for run in made:
        server.enqueue(runs.Enqueue(queue="default"), run.id)
    return made


def test_queues_and_their_jobs_are_listed(call, server, waiting):
    assert call("queues", "ls").stdout.splitlines()[1].split() == ["default", "3", "0", "0"]
    rows = call("queues", "show").stdout.splitlines()[1:]
    assert [row.split()[1] for row in rows] == [run.id[-8:] for run in waiting]
    assert [row.split()[3] for row in rows] == ["1", "2", "3"]
    assert len(json.loads(call("queues", "show", "--json").stdout)) == 3
    assert "Nothing waits" in call("queues", "show", "gpu").stderr


def test_a_job_is_named_by_its_run_and_moved(call, server, waiting):
    result = call("queues", "move", waiting[2].id[-8:])
    assert result.exit_code == 0 and "place 1." in result.stderr
    assert min(server.jobs.values(), key=lambda job: job.position).subject == waiting[2].id
    assert call("queues", "move", waiting[2].id, "--bottom").exit_code == 0
    assert max(server.jobs.values(), key=lambda job: job.position).subject == waiting[2].id
    assert call("queues", "move", waiting[2].id, "--before", waiting[1].id, "--to-queue", "gpu").exit_code == 0


def test_what_waits_elsewhere_is_said(call, server, waiting):
    result = call("queues", "move", waiting[0].id, "-q", "gpu")
    assert result.exit_code == 4 and "--queue default" in result.stderr
    assert call("queues", "move", "ffffffff").exit_code == 4


def test_a_policy_is_set_and_shown(call, server, waiting):
    policies = {}

    def change(order, queue):
        given = {name: value for name, value in vars(order).items() if value is not None}
        policies[queue] = dataclasses.replace(policies.get(queue, queues.Policy()), **given)
        return queues.Queue(name=queue, waiting=0, leased=0, policy=policies[queue])

    def every(_):
        return queues.Queues(queues=[queues.Queue(name=name, waiting=3, leased=0, policy=policy, agents=2)
                                     for name, policy in policies.items()])  # fmt: skip

    server.answers[:0] = [(queues.CHANGE, change), (queues.LIST, every)]
    assert "paused" in call("queues", "pause", "gpu").stderr
    assert "paused, draining" in call("queues", "drain", "gpu").stderr
    assert "first served" in call("queues", "resume", "gpu").stderr
    assert call("queues", "set", "gpu", "--limit-per-user", "4", "--share", "vision=2").exit_code == 0
    call("queues", "set", "gpu", "--share", "=0.5")
    assert policies["gpu"] == queues.Policy(limit_per_user=4, shares={"vision": 2.0, "": 0.5})
    row = call("queues", "ls").stdout.splitlines()[1]
    assert row.split()[:4] == ["gpu", "3", "0", "2"] and "4 per user, no team=0.5, vision=2" in row
    call("queues", "set", "gpu", "--no-shares")
    assert policies["gpu"].shares == {}
    assert call("queues", "set", "gpu").exit_code == 2
    assert call("queues", "set", "gpu", "--share", "vision").exit_code == 2


def test_why_is_asked_of_a_run_or_of_a_job(call, server, waiting):
    jobs = {job.subject: job for job in server.jobs.values()}

    def why(job):
        return queues.Why(job=job, reasons=["No agent listens to queue default."], ahead=1,
                          starts=int((time.time() + 3600) * 1e6))  # fmt: skip

    server.answers[:0] = [(runs.WHY, lambda _, run_id: why(jobs[run_id])),
                       (queues.WHY, lambda _, job_id: why(server.jobs[job_id]))]  # fmt: skip
    job = jobs[waiting[1].id]
    for name in (waiting[1].id[-8:], waiting[1].id, job.id):
        said = call("queues", "why", name).stdout
        assert "place 2" in said and "No agent listens" in said and "Expected to start in" in said
    assert json.loads(call("queues", "why", job.id, "--json").stdout)["ahead"] == 1
    assert call("queues", "why", "ffffffff").exit_code == 4


def test_a_history_is_a_table(call, server):
    server.answers.append(
        (
            queues.HISTORY,
            lambda query, queue: queues.History(times=[0, 1], waiting=[2, 0], leased=[1, 1], waits=[90.0, None]),
        )
    )
    rows = call("queues", "history", "gpu").stdout.splitlines()
    assert rows[1].split()[-3:] == ["2", "1", "1m30s"] and len(rows) == 3


def test_agents_are_listed_and_asked_to_end(call, server):
    drained = []
    found = queues.Agent(
        name="a1", state="busy", queues=["gpu", "default"], seen=int(time.time() * 1e6), started=0, host="box",
        capacity=queues.Capacity(slots=2), load=queues.Load(cpu=0.25, gpus=[0.5]),
        jobs=[queues.Job(id="j", queue="gpu", kind="run", subject="0123456789", state="leased", position=0, fence=1, created=0)],
    )  # fmt: skip
    server.answers += [
        (queues.AGENTS, lambda _: queues.Agents(agents=[found])),
        (queues.DRAIN_AGENT, lambda _, agent: drained.append(agent) or Nothing()),
    ]
    row = call("agents", "ls").stdout.splitlines()[1]
    for word in ("a1", "busy", "gpu,default", "1/2", "cpu 25% gpu 50%", "23456789", "box"):
        assert word in row
    assert json.loads(call("agents", "ls", "--json").stdout)[0]["name"] == "a1"
    assert call("agents", "drain", "a1").exit_code == 0 and drained == ["a1"]


def test_users_are_listed_and_put_into_teams(call, server):
    users = {"evi": tenants.User(name="evi", role=Role.CONTRIBUTOR)}

    def change(order, user):
        users[user] = dataclasses.replace(users[user], team=order.team)
        return users[user]

    server.answers += [
        (tenants.LIST_USERS, lambda _: tenants.Users(users=list(users.values()))),
        (tenants.CHANGE_USER, change),
    ]
    assert "vision" in call("users", "team", "evi", "vision").stderr
    assert call("users", "ls").stdout.splitlines()[1].split() == ["evi", "vision", "contributor"]
    assert "no team" in call("users", "team", "evi", "").stderr
