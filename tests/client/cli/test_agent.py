"""`larder agent start`, up to the loop itself."""

import pytest

from larder.agent.executors.container import ContainerExecutor
from larder.agent.worker import Agent


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Agent]:
    """The agents that would have worked."""
    agents: list[Agent] = []
    monkeypatch.setattr(Agent, "run_forever", lambda agent: agents.append(agent))
    monkeypatch.setattr(ContainerExecutor, "find", classmethod(lambda cls, **_: None))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return agents


def test_what_is_given_becomes_the_capacity(call, made):
    options = ["--queue", "gpu,default", "-q", "night", "--slots", "3", "--cpu-only", "--memory", "500MB"]
    result = call("agent", "start", *options, "--labels", "site=lab,disk=fast", "--labels", "a=b", "--name", "k1")
    assert result.exit_code == 0, result.stderr
    (agent,) = made
    assert agent.name == "k1" and agent._queues == ["gpu", "default", "night"]
    capacity = agent.capacity
    assert (capacity.slots, capacity.memory, capacity.gpus, capacity.executors) == (3, 500_000_000, [], ["process"])
    assert capacity.labels == {"site": "lab", "disk": "fast", "a": "b"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gpus", "0", "--cpu-only"], "exclude one another"),
        (["--gpus", "first"], "indexes of nvidia-smi"),
        (["--gpus", "77"], "no GPU 77"),
        (["--labels", "lab"], "site=lab"),
        (["--memory", "much"], "no size"),
        (["--memory", "900TB"], "of memory"),
        (["--executor", "container"], "Neither podman nor docker works"),
    ],
)
def test_what_cannot_be_given_is_refused_with_a_sentence(call, made, options, said):
    result = call("agent", "start", *options)
    assert result.exit_code == 2 and said in result.stderr and made == [], result.stderr
