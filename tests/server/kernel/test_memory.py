"""What was found is recalled until an event ends it, whoever raced with that event."""

import pytest

from larder_server.kernel.memory import Fact, Memory
from larder_server.kernel.outbox import Event
from tests.server.conftest import ALICE

FILLED = Event(name="shelf_filled", subject="s1")
FORGETS = {"shelf_filled": lambda event: ("empty", event.subject)}


def fact(key="s1", seconds=60.0):
    return Fact(topic="empty", key=key, value=True, seconds=seconds)


@pytest.fixture
def memory():
    return Memory(FORGETS)


def test_a_fact_is_recalled_until_an_event_of_its_tenant_ends_it(memory):
    memory.keep("acme", [fact(), fact("s2")], since=memory.changes)
    assert memory.recall("acme", "empty", "s1")
    assert memory.recall("globex", "empty", "s1") is None
    memory.hear("globex", [FILLED])
    memory.hear("acme", [Event(name="shelf_dusted", subject="s1")])
    assert memory.recall("acme", "empty", "s1")
    memory.hear("acme", [FILLED])
    assert memory.recall("acme", "empty", "s1") is None
    assert memory.recall("acme", "empty", "s2")


def test_what_was_found_before_an_event_is_not_kept_after_it(memory):
    since = memory.changes
    memory.hear("acme", [FILLED])
    memory.keep("acme", [fact()], since=since)
    assert memory.recall("acme", "empty", "s1") is None


def test_of_an_old_fact_one_is_told_nothing_and_looks_again(memory):
    memory.keep("acme", [fact(seconds=0)], since=memory.changes)
    assert memory.recall("acme", "empty", "s1") is None
    assert memory.recall("acme", "empty", "s1")
    memory.hear("acme", [FILLED])
    assert memory.recall("acme", "empty", "s1") is None


def test_nothing_is_kept_before_every_event_is_heard():
    memory = Memory(FORGETS, hears_all=False)
    since = memory.changes
    memory.keep("acme", [fact()], since=since)
    memory.listen()
    memory.keep("acme", [fact()], since=since)
    assert memory.recall("acme", "empty", "s1") is None
    memory.keep("acme", [fact()], since=memory.changes)
    assert memory.recall("acme", "empty", "s1")


def test_a_memory_has_an_end(memory):
    for number in range(0, 3 * Memory.MOST, 1000):
        memory.keep("acme", [fact(str(number + one)) for one in range(1000)], since=memory.changes)
    assert len(memory._facts) <= Memory.MOST


def look(context):
    context.remember("empty", "s1", True, seconds=60)


def fill(context):
    context.signal(FILLED)


def test_a_view_during_which_something_was_committed_keeps_nothing(runtime):
    runtime.memory = Memory(FORGETS)

    def slow_look(context):
        look(context)
        runtime.transact(ALICE, fill)

    runtime.view(ALICE, slow_look)
    assert runtime.memory.recall("acme", "empty", "s1") is None
    runtime.view(ALICE, look)
    assert runtime.memory.recall("acme", "empty", "s1")


def test_a_transaction_keeps_what_it_found_unless_it_was_undone_or_ended_it_itself(runtime):
    runtime.memory = Memory(FORGETS)

    def undone(context):
        look(context)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        runtime.transact(ALICE, undone)
    assert runtime.memory.recall("acme", "empty", "s1") is None
    runtime.transact(ALICE, look)
    assert runtime.memory.recall("acme", "empty", "s1")

    def look_and_fill(context):
        look(context)
        fill(context)

    runtime.transact(ALICE, look_and_fill)
    assert runtime.memory.recall("acme", "empty", "s1") is None
