"""Checkpoints: how one is named, found, kept, and gone on from."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import larder
from larder import checkpoints, config, guard
from larder.checkpoints import Address
from larder.contract import ids
from larder.contract import runs as contract
from larder.contract.errors import Invalid, LarderError, NotFound
from larder.journal import format, reader
from larder.journal.shipper import Shipper
from larder.recording import begin as beginning
from larder.recording import companion, place
from larder.runs import StoredArtifact
from larder.transport import Transport
from tests.client.fakes import FakeServer

# -- addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("deadbeef", Address("deadbeef")),
        ("deadbeef@last", Address("deadbeef")),
        (" deadbeef@120 ", Address("deadbeef", step=120)),
        ("deadbeef@best:val/mae", Address("deadbeef", metric="val/mae", direction="best")),
        ("deadbeef@highest:recall@10", Address("deadbeef", metric="recall@10", direction="highest")),
        ("deadbeef@best:a@lowest:b", Address("deadbeef", metric="a@lowest:b", direction="best")),
        ("http://evi@host/runs/deadbeef@last", Address("http://evi@host/runs/deadbeef")),
    ],
)
def test_an_address_says_which_checkpoint(text: str, address: Address) -> None:
    assert checkpoints.parse(text) == address


@pytest.mark.parametrize(
    "text", ["", "@last", "run@", "run@-1", "run@best", "run@best:", "@best:mae", "run@first", "run@1.5"]
)
def test_what_is_no_address_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        checkpoints.parse(text)
    assert "RUN@last" in refusal.value.hint


def stored(step: int | None, *, version: int = 1, created: int = 0, **metrics: Any) -> StoredArtifact:
    record = contract.Artifact(
        name="checkpoint", version=version, kind="checkpoint", format="bytes", files=[], size=0, created=created, step=step,
        metadata={"metrics": {name.replace("_", "/"): value for name, value in metrics.items()}},
    )  # fmt: skip
    return StoredArtifact(Transport("http://larder.test"), "run", record)


def chosen(address: str, *artifacts: StoredArtifact) -> int | None:
    return checkpoints.choose(artifacts, checkpoints.parse(address)).step


def test_the_last_one_is_that_of_the_greatest_step() -> None:
    assert chosen("run@last", stored(5), stored(20), stored(10)) == 20


def test_the_best_one_follows_the_direction_of_the_metric() -> None:
    three = (
        stored(1, val_mae=3.0, accuracy=0.5),
        stored(2, val_mae=1.0, accuracy=0.4),
        stored(3, val_mae=2.0, accuracy=0.9),
    )
    assert chosen("run@best:val/mae", *three) == 2
    assert chosen("run@best:accuracy", *three) == 3
    assert chosen("run@highest:val/mae", *three) == 1
    assert chosen("run@lowest:accuracy", *three) == 2


def test_of_equally_good_ones_it_is_the_earliest_and_nan_never_wins() -> None:
    nan = stored(1, loss=math.nan), stored(2, loss=None), stored(3, loss="low")
    assert chosen("run@best:loss", *nan, stored(6, loss=1.0), stored(4, loss=1.0)) == 4
    assert chosen("run@best:loss", *nan, stored(7, loss=math.inf)) == 7


def test_of_one_step_it_is_the_newest() -> None:
    first, second = stored(5, version=1, created=1), stored(5, version=2, created=2)
    assert checkpoints.choose([second, first], checkpoints.parse("run@5")).version == 2


@pytest.mark.parametrize(
    ("address", "message", "hint"),
    [
        ("run@7", "no checkpoint of step 7", "1, 2"),
        ("run@best:rmse", "knows a value of 'rmse'", "val/mae"),
        ("run@best:height", "does not say", "run@lowest:height"),
    ],
)
def test_what_cannot_be_found_says_what_there_is(address: str, message: str, hint: str) -> None:
    with pytest.raises(LarderError, match=message) as refusal:
        chosen(address, stored(1, val_mae=1.0, height=2.0), stored(2, val_mae=2.0))
    assert hint in refusal.value.hint


def test_a_run_without_checkpoints_says_so() -> None:
    with pytest.raises(NotFound, match="has no checkpoints"):
        chosen("run@last", stored(None))


# -- in a live run


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """Runs recorded offline, and a server that answers questions."""
    found = FakeServer()
    for name in ("WORLD_SIZE", "RANK", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LARDER_MODE", "offline")
    monkeypatch.setattr(place, "joined", set())
    monkeypatch.setattr(companion.Companion, "__init__", lambda self, folder: None)
    monkeypatch.setattr(companion.Companion, "wake", lambda self: None)
    monkeypatch.setattr(guard, "_warned", set())
    transport = Transport("http://larder.test", "secret", send=found.send, retries=0)
    monkeypatch.setattr(config, "connect", lambda settings=None: transport)
    yield found
    if beginning._run is not None:
        beginning._run.finish()


def begin(**given: Any) -> larder.Run:
    return larder.init(project="bakery", capture=False, **given)


def send(server: FakeServer, run: larder.Run) -> None:
    assert run.folder is not None
    shipper = Shipper(run.folder, Transport("http://larder.test", send=server.send, retries=0))
    shipper.ship()
    shipper.close()


def openings(run: larder.Run) -> list[dict[str, Any]]:
    assert run.folder is not None
    return [journal.opening for journal in reader.journals(run.folder)]


def train(server: FakeServer) -> larder.Run:
    """A run with checkpoints after steps 1 and 3; the first one is the better."""
    run = begin(name="first", params={"lr": 0.1})
    for step, value in enumerate([5.0, 1.0, 4.0, 3.0, 2.5]):
        run.log({"val": {"mae": value}})
        run.log({"val/rmse": 2 * value}, step=step)
        if step % 2:
            run.log_checkpoint(f"state {step}".encode())
    run.finish()
    send(server, run)
    return run


def test_a_checkpoint_knows_its_step_and_the_last_value_of_each_metric(server: FakeServer) -> None:
    run = begin()
    metrics = {"loss": 3.0}
    for step in range(3):
        metrics["loss"] -= 1
        run.log(metrics)
        run.log({"nested": {"a": float(step)}}, step=step)
    metrics["loss"] = 99.0  # not logged
    run.log_checkpoint(b"state", metadata={"epoch": 7})
    run.log_checkpoint({"w": [1, 2]}, name="ema", step=40)
    run.finish()
    send(server, run)
    first, second = server.stored(run.id)
    assert (first.name, first.kind, first.format, first.step) == ("checkpoint", "checkpoint", "bytes", 2)
    assert first.metadata == {"epoch": 7, "metrics": {"loss": 0.0, "nested/a": 2.0}}
    assert (second.name, second.kind, second.format, second.step) == ("ema", "checkpoint", "json", 40)


def test_only_the_first_rank_keeps_checkpoints(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LARDER_RUN": ids.new_id()}.items():
        monkeypatch.setenv(name, value)
    run = begin()
    run.log_checkpoint(b"state")
    run.finish()
    send(server, run)
    assert not server.stored(run.id)


def test_a_run_continues_from_the_best_checkpoint_of_another(server: FakeServer) -> None:
    parent = train(server)
    run = begin(continue_from=f"{parent.id}@best:val/mae")
    assert run.id != parent.id
    assert openings(run)[0]["parent"] == parent.id
    assert openings(run)[0]["continued"] is None
    assert run.checkpoint is not None
    assert (run.checkpoint.run, run.checkpoint.step, run.step) == (parent.id, 1, 2)
    assert run.checkpoint.metrics == {"val/mae": 1.0, "val/rmse": 2.0}
    assert run.checkpoint.load() == b"state 1"
    assert dict(run.params) == {}
    run.log({"val/mae": 0.5})
    run.finish()
    send(server, run)
    assert server.points(run.id, "val/mae") == [(2, 0.5)]
    assert server.gathered(run.id, "facts")["continued"] == {
        "run": parent.id, "name": "checkpoint", "version": 1, "step": 1
    }  # fmt: skip


def test_a_checkpoint_is_fetched_once_and_checked(server: FakeServer) -> None:
    parent = train(server)
    found = checkpoints.find(f"{parent.id}@last")
    path = found.path()
    assert path.read_bytes() == b"state 3"
    calls = server.calls
    assert found.path() == path
    assert server.calls == calls
    path.write_bytes(b"damaged")
    assert found.load() == b"state 3"
    (digest,) = [each.files[0].hash for each in server.stored(parent.id) if each.step == 3]
    server.objects[digest] = b"another thing"
    path.unlink()
    with pytest.raises(LarderError, match="damaged"):
        found.path()


@pytest.mark.parametrize("address", ["@best:loss", "@77", "@soon"])
def test_a_checkpoint_that_is_asked_for_and_not_there_is_an_error(address: str, server: FakeServer) -> None:
    parent = train(server)
    with pytest.raises(LarderError):
        begin(continue_from=f"{parent.id}{address}")
    assert larder.current() is None


def test_without_a_server_continuing_is_an_error_in_a_sentence(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "connect", lambda settings=None: Transport("http://127.0.0.1:1", retries=0))
    with pytest.raises(LarderError, match=r"127\.0\.0\.1:1"):
        begin(continue_from=f"{ids.new_id()}@last")


# -- a later attempt


def supervised(
    monkeypatch: pytest.MonkeyPatch, run: str, checkpoint: dict[str, Any] | None, *, attempt: int = 2
) -> None:
    """The environment that an agent gives; its `run.json` lies in the folder."""
    environment = {
        "LARDER_RUN": run,
        "LARDER_ATTEMPT": str(attempt),
        "LARDER_MAIN": f"agent:{run}",
        "LARDER_AGENT": "1",
        "LARDER_MODE": "online",
        "LARDER_CONSOLE": "off",
    }
    if checkpoint is not None:
        environment["LARDER_CHECKPOINT"] = json.dumps(checkpoint)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(place.SCRIPT, raising=False)
    monkeypatch.setattr(place, "joined", set())  # the agent's machine is another one
    folder = config.home() / "runs" / f"{run}.{attempt}"
    folder.mkdir(parents=True, exist_ok=True)
    info = {"run": run, "project": "bakery", "name": "first", "attempt": attempt, "agent": True, "mode": "online"}
    (folder / "run.json").write_text(json.dumps(info))


@pytest.fixture
def again(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[larder.Run]:
    """A run that an agent executes once more, after a checkpoint of step 1."""
    run = train(server)
    supervised(monkeypatch, run.id, {"run": run.id, "name": "checkpoint", "version": 1, "step": 1})
    yield run
    os.environ.pop(place.SCRIPT, None)


def test_a_later_attempt_that_resumes_says_after_which_step(again: larder.Run) -> None:
    run = begin(resume=True)
    assert (run.id, run.role, run.step) == (again.id, "child", 2)
    assert [opening["continued"] for opening in openings(run)] == [1]
    assert run.checkpoint is not None
    assert run.checkpoint.load() == b"state 1"


def test_a_later_attempt_that_does_not_resume_begins_anew(again: larder.Run) -> None:
    run = begin()
    assert (run.step, run.checkpoint) == (0, None)
    assert [(opening["role"], opening["continued"]) for opening in openings(run)] == [("child", None)]


def test_its_own_checkpoint_goes_before_that_of_another(again: larder.Run) -> None:
    run = begin(resume=True, continue_from=f"{again.id}@last")
    assert run.step == 2


def test_a_first_attempt_has_nothing_to_resume(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    supervised(monkeypatch, ids.new_id(), None, attempt=1)
    run = begin(resume=True)
    assert (run.step, run.checkpoint) == (0, None)


def test_a_checkpoint_that_cannot_be_read_is_a_warning(
    again: larder.Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LARDER_CHECKPOINT", "{")
    run = begin(resume=True)
    assert (run.step, run.checkpoint) == (0, None)
    assert "warning (resume)" in capfd.readouterr().err


def test_what_is_recorded_before_the_script_asks_waits_for_its_first_word(again: larder.Run) -> None:
    beginning.attach()
    early = larder.current()
    assert early is not None
    early.record_params({"lr": 0.2}, source="argparse")
    assert not openings(early)
    run = begin(resume=True)
    (journal,) = reader.journals(run.folder)  # type: ignore[arg-type]
    assert journal.opening["continued"] == 1
    said = [record[2] for _, record in journal.records() if record[0] == format.PARAMS]
    assert {"lr": 0.2} in said
    journal.close()


def test_points_before_the_script_asks_are_of_one_that_begins_anew(again: larder.Run) -> None:
    beginning.attach()
    early = larder.current()
    assert early is not None
    early.record_params({"lr": 0.2})
    early.log({"loss": 1.0})
    (journal,) = reader.journals(early.folder)  # type: ignore[arg-type]
    kinds = [record[0] for _, record in journal.records()]
    assert (journal.role, journal.opening["continued"]) == ("child", None)
    assert kinds.index(format.PARAMS) < kinds.index(format.POINTS)
    journal.close()


def test_a_process_that_ends_without_a_word_decides_nothing(again: larder.Run) -> None:
    beginning.attach()
    early = larder.current()
    assert early is not None
    early.record_params({"lr": 0.2})
    early.finish()
    assert [opening["role"] for opening in openings(early)] == ["companion"]


def test_restarted_ranks_ask_the_server_for_the_newest(again: larder.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    run = begin(resume=True)
    assert run.step == 4
    assert [opening["continued"] for opening in openings(run)] == [3]


def test_resuming_by_name_knows_the_checkpoint_too(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(server)
    del server.ended[run.id]
    asked = {
        "project": "bakery",
        "name": "first",
        "params": {},
        "last_step": 4,
        "checkpoint": server._run(run.id).checkpoint,
    }
    monkeypatch.setattr(beginning, "_asked", lambda settings, run: dict(asked))
    resumed = begin(resume=run.id)
    assert (resumed.id, resumed.step) == (run.id, 5)
    assert resumed.checkpoint is not None
    assert resumed.checkpoint.step == 3


def test_folders_and_files_come_back_as_a_path(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "a").write_text("a")
    (tmp_path / "state" / "b").write_text("b")
    run = begin()
    run.log_checkpoint(tmp_path / "state")
    run.log_checkpoint(tmp_path / "state" / "a", name="deep/one", step=5)
    run.finish()
    send(server, run)
    first, second = checkpoints.of(larder.run(run.id))
    assert sorted(path.name for path in first.load().iterdir()) == ["a", "b"]
    assert (second.step, second.load().read_text()) == (5, "a")
