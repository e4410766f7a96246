"""An event from outside starts its door's action, once."""

import base64
import json
import threading
from dataclasses import replace

import pytest

from larder.contract.doors import CloudEvent, NewEventDoor, ReceivedQuery
from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Invalid, NotFound
from larder.contract.runs import Enqueue, NewRun, RunStatus
from larder_server.app import ACTIONS
from larder_server.kernel.actions import Actions
from larder_server.runs import service as runs
from larder_server.schedules import rules, service
from tests.server.conftest import ALICE

NOTHING = Nothing()
EVENT = CloudEvent(
    id="1", source="https://shop.example/photos", type="photo.added",
    data={"bucket": "shelf", "object": {"key": "a.jpg", "size": 17}, "tags": ["x", "y"]},
)  # fmt: skip


def door(context, name="photos", actions=ACTIONS, **order):
    return service.put(context, NewEventDoor(**{"type": "photo.added", **order}), name, actions=actions)


def receive(context, event=EVENT, actions=ACTIONS):
    return service.receive(context, event, actions=actions)


def template(context):
    return runs.create(context, NewRun(project="shelf", params={"path": "", "size": 0}))


def test_an_event_makes_a_run_once(context):
    source = template(context)
    params = {"path": "s3://${data.bucket}/${data.object.key}", "size": "${data.object.size}"}
    door(context, action="runs.repeat", arguments={"run": source.id, "queue": "ingest", "params": params})
    first = receive(context)
    run = runs.get(context, NOTHING, first.run)
    assert run.status is RunStatus.QUEUED and run.queue == "ingest" and run.parent == source.id
    assert run.params == {"path": "s3://shelf/a.jpg", "size": 17}, "a whole value keeps its kind"
    again = receive(context, replace(EVENT, data=None))
    assert again == replace(first, again=True)
    other = receive(context, replace(EVENT, source="https://other.example"))
    assert other.run not in ("", first.run) and not other.again, "an id is of its source"
    assert service.every(context, NOTHING).doors[0].received == 2
    assert {each.run for each in service.received(context, ReceivedQuery()).events} == {first.run, other.run}
    assert service.received(context, ReceivedQuery(door="else")).events == []
    told = [event for event in context.emitted if event.name == "schedules.event_received"]
    assert [event.data["run"] for event in told] == [first.run, other.run] and told[0].subject == "photos"
    assert told[0].data["id"] == "1" and told[0].data["source"] == EVENT.source


def test_a_draft_is_queued(context):
    draft = template(context)
    door(context, action="runs.enqueue", arguments={"run": "${data.run}"})
    assert receive(context, replace(EVENT, data={"run": draft.id})).run == draft.id
    assert runs.get(context, NOTHING, draft.id).status is RunStatus.QUEUED
    with pytest.raises(Conflict):
        receive(context, replace(EVENT, id="2", data={"run": draft.id}))


def test_the_door_of_its_source_goes_first(context):
    source = template(context)
    arguments = {"run": source.id}
    door(context, "a", action="runs.repeat", arguments=arguments)
    door(context, "b", action="runs.repeat", arguments=arguments, source=EVENT.source)
    door(context, "c", action="runs.repeat", arguments=arguments, source="https://nobody.example")
    assert receive(context).door == "b"
    assert receive(context, replace(EVENT, source="x")).door == "a"
    service.close(context, NOTHING, "b")
    assert receive(context).door == "b", "what was received is known although its door is closed"
    assert receive(context, replace(EVENT, id="3")).door == "a"
    for name in ("a", "c"):
        service.close(context, NOTHING, name)
    with pytest.raises(NotFound, match="no event door takes events of the type"):
        receive(context, replace(EVENT, id="4"))
    with pytest.raises(NotFound):
        service.close(context, NOTHING, "a")


def test_another_tenant_has_doors_and_events_of_its_own(context, other_context):
    door(context, action="runs.repeat", arguments={"run": template(context).id})
    receive(context)
    assert service.every(other_context, NOTHING).doors == []
    assert service.received(other_context, ReceivedQuery()).events == []
    with pytest.raises(NotFound):
        receive(other_context)
    door(other_context, action="runs.repeat", arguments={"run": template(other_context).id})
    assert not receive(other_context).again


def test_what_is_refused_leaves_the_event_unknown(runtime):
    """The whole request is undone, so the sender may send the event again."""
    runtime.transact(ALICE, lambda context: door(context, action="runs.enqueue", arguments={"run": "${data.run}"}))
    for data in ({"run": "01a0f000-0000-7000-8000-000000000000"}, {"ran": 1}, {"run": 5}):
        with pytest.raises((Invalid, NotFound, ValueError)):
            runtime.transact(ALICE, lambda context, data=data: receive(context, replace(EVENT, data=data)))
    draft = runtime.transact(ALICE, template)
    done = runtime.transact(ALICE, lambda context: receive(context, replace(EVENT, data={"run": draft.id})))
    assert done.run == draft.id and not done.again
    with pytest.raises(Conflict):
        runtime.transact(ALICE, lambda context: runs.enqueue(context, Enqueue(), draft.id))


def test_one_of_many_at_once(runtime):
    made = []
    once = Actions({"count": lambda context: made.append(context.user) or {"run": "r"}})
    runtime.transact(ALICE, lambda context: door(context, action="count", actions=once))
    answers, problems = [], []

    def send():
        try:
            answers.append(runtime.transact(ALICE, lambda context: receive(context, actions=once)))
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and sorted(answer.again for answer in answers) == [False] + [True] * 7
    assert {answer.run for answer in answers} == {"r"}
    stored = runtime.view(ALICE, lambda context: service.every(context, NOTHING).doors[0].received)
    assert stored == 1


def test_what_events_say_is_kept_for_who_asks(context, clock):
    door(context, action="events.keep")
    began = clock.now()
    for at, data in enumerate(({"text": "ä"}, [1], None, "x")):
        receive(context, replace(EVENT, id=str(at), data=data))
        clock.forward(1)
    packed = base64.b64encode(b'{"n": 1}').decode()
    receive(context, replace(EVENT, id="9", data=None, data_base64=packed))

    def said(**query):
        return [each.data for each in service.received(context, ReceivedQuery(**query)).events]

    assert said(since=0, data=True, door="photos") == [{"text": "ä"}, [1], None, "x", {"n": 1}]
    assert said(since=began + 2_500_000, data=True) == ["x", {"n": 1}] and said(since=0, limit=2, data=True) == [
        {"text": "ä"},
        [1],
    ]
    assert said(since=0) == [None] * 5 and said(data=True, limit=1) == [{"n": 1}]
    assert said(since=0, data=True, door="else") == []
    with pytest.raises(Invalid, match="may have 1 MB"):
        receive(context, replace(EVENT, id="10", data="x" * (1 << 20)))
    door(context, "other", type="other", action="runs.repeat", arguments={"run": template(context).id})
    receive(context, replace(EVENT, type="other", id="11"))
    assert said(since=0, data=True, door="other") == [None], "what starts something is not kept as well"


def test_events_of_long_ago_are_forgotten(context, clock):
    door(context, action="runs.repeat", arguments={"run": template(context).id})
    receive(context)
    clock.forward(89 * 86_400)
    service.forget(context)
    assert receive(context).again
    clock.forward(2 * 86_400)
    service.forget(context)
    assert service.received(context, ReceivedQuery()).events == []


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"action": "runs.delete"}, "action"), ({"action": "runs.repeat"}, "arguments"),
        ({"action": "runs.repeat", "arguments": {"run": "x", "what": 1}}, "arguments"),
        ({"action": "runs.repeat", "arguments": {"run": "${tenant}"}}, "arguments"),
        ({"action": "runs.repeat", "arguments": {"run": "${id.x}"}}, "arguments"),
        ({"action": "runs.repeat", "arguments": {"run": "x" * 20_000}}, "arguments"),
        ({"action": "runs.repeat", "arguments": {"run": "x"}, "type": ""}, "type"),
        ({"action": "runs.repeat", "arguments": {"run": "x"}, "source": "a\nb"}, "source"),
    ],
)  # fmt: skip
def test_a_door_that_cannot_be_is_refused(context, order, field):
    with pytest.raises((Invalid, NotFound)) as refused:
        door(context, **order)
    assert refused.value.field == field
    with pytest.raises(Invalid):
        door(context, "../x", action="runs.repeat", arguments={"run": "x"})
    assert service.every(context, NOTHING).doors == []


@pytest.mark.parametrize(
    "change", [{"id": ""}, {"source": "x" * 501}, {"type": "a\0"}, {"specversion": "0.3"}, {"subject": "\n"}]
)
def test_what_is_no_event_is_refused(change):
    with pytest.raises(Invalid) as refused:
        rules.event(replace(EVENT, **change))
    assert refused.value.field in change


def test_the_binary_shape():
    headers = {
        "ce-id": "a b",
        "ce-source": "/x",
        "ce-type": "t",
        "ce-specversion": "1.0",
        "content-type": "application/json",
    }
    assert rules.binary(headers, b'{"n": 1}') == CloudEvent(
        id="a b", source="/x", type="t", datacontenttype="application/json", data={"n": 1}
    )
    assert rules.binary({**headers, "content-type": "text/plain"}, b"hi").data == "hi"
    assert (
        rules.binary({**headers, "content-type": "image/png"}, b"\x89").data_base64
        == base64.b64encode(b"\x89").decode()
    )
    assert rules.binary(headers, b"").data is None
    for wrong in (b"{", b"[" * 100_000):
        with pytest.raises(Invalid):
            rules.binary(headers, wrong)
    for lacking in ("ce-id", "ce-source", "ce-type"):
        with pytest.raises(Invalid, match=lacking):
            rules.binary({name: value for name, value in headers.items() if name != lacking}, b"")


def test_places_in_an_event():
    packed = base64.b64encode(json.dumps({"n": [1, {"m": None}]}).encode()).decode()
    event = replace(EVENT, data=None, data_base64=packed, subject="s")
    arguments = {"a": "${data.n.0}", "b": ["${data.n.1.m}"], "c": {"d": "${subject}-${data.n}"}, "e": 5}
    assert rules.filled(arguments, event) == {"a": 1, "b": [None], "c": {"d": 's-[1, {"m": null}]'}, "e": 5}
    for place in ("data.n.2", "data.m", "data.n.x", "data.n.-1"):
        with pytest.raises(Invalid):
            rules.filled({"a": f"${{{place}}}"}, event)
    with pytest.raises(Invalid):
        rules.filled({"a": "${data.n}"}, replace(event, data_base64="???"))
