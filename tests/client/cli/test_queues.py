"""`larder queues`: what waits, and its order."""

import json

import pytest

from larder.contract import runs
from larder.contract.runs import RunStatus


@pytest.fixture
def waiting(server):
    made = [server.add(status=RunStatus.DRAFT, name=f"run {number}") for number in range(3)]
    for run in made:
        server.enqueue(runs.Enqueue(queue="default"), run.id)
    return made


def test_queues_and_their_jobs_are_listed(call, server, waiting):
    assert call("queues", "ls").stdout.splitlines()[1].split() == ["default", "3", "0"]
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
