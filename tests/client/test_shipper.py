"""The shipper against a server that loses answers, refuses and forgets: everything arrives once, nothing blocks it."""

import array
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from larder.contract import errors, ids, runs
from larder.journal import format, reader, shipper, spool
from larder.journal.writer import Writer
from larder.transport import Transport
from tests.client.fakes import FakeServer

RUN = ids.new_id()


class Desk:
    """A run's folder with a writer, and a fake server."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "runs" / RUN
        self.folder.mkdir(parents=True)
        self.server = FakeServer()
        self.transport = Transport("http://fake", send=self.server.send, retries=0)
        self.writer = self.write()

    def write(self, role: str = "main") -> Writer:
        return Writer(self.folder, {"project": "bakery", "name": "base", "time": 1, "role": role})

    def points(self, count: int, first: int = 0, name: str = "loss", writer: Writer | None = None) -> None:
        pack = format.points((name,))
        for step in range(first, first + count):
            (writer or self.writer).append(pack(1000 + step, step, (step / 2,)))

    def fresh(self) -> shipper.Shipper:
        return shipper.Shipper(self.folder, self.transport)

    def arrived(self, name: str = "loss") -> list[int]:
        return [step for step, _ in self.server.points(RUN, name)]

    def sync(self) -> shipper.SyncReport:
        return shipper.sync(self.home, calls=self.transport, patience=0.0)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_points_arrive_in_order_with_times_and_values(desk: Desk) -> None:
    desk.writer.append(format.points(("a", "b"))(7, 3, (math.nan, math.inf)))
    desk.writer.append(format.points(("a",))(8, -2, (-0.0,)))
    desk.fresh().ship()
    (batch,) = desk.server.batches[RUN]
    assert batch.start == 0
    assert batch.opening is not None
    assert batch.opening.project == "bakery"
    series = {each.name: each for each in batch.series}
    assert array.array("q", series["a"].steps).tolist() == [3, -2]
    assert array.array("q", series["a"].times).tolist() == [7, 8]
    values = array.array("d", series["a"].values).tolist()
    assert math.isnan(values[0])
    assert math.copysign(1, values[1]) == -1
    assert array.array("d", series["b"].values).tolist() == [math.inf]


def test_a_second_shipper_goes_on_where_the_first_was_acknowledged(desk: Desk) -> None:
    desk.points(10)
    desk.fresh().ship()
    desk.points(10, 10)
    desk.fresh().ship()
    assert desk.arrived() == list(range(20))
    assert len(desk.server.batches[RUN]) == 2


def test_a_lost_answer_does_not_store_twice(desk: Desk) -> None:
    desk.points(10)
    desk.server.lose_answer = 1
    with pytest.raises(errors.Unavailable):
        desk.fresh().ship()
    desk.points(10, 10)
    desk.fresh().ship()
    assert desk.arrived() == list(range(20))


def test_a_lost_acknowledgement_file_does_not_store_twice(desk: Desk) -> None:
    desk.points(10)
    desk.fresh().ship()
    for ack in desk.folder.glob("*.ack"):
        ack.unlink()
    desk.points(10, 10)
    desk.fresh().ship()
    assert desk.arrived() == list(range(20))


def test_a_server_that_forgot_gets_everything_again(desk: Desk) -> None:
    desk.points(10)
    desk.fresh().ship()
    desk.server.offsets.clear()
    desk.server.batches.clear()
    desk.points(10, 10)
    desk.fresh().ship()
    assert desk.arrived() == list(range(20))


def test_a_busy_server_is_an_error_for_the_caller_and_nothing_is_lost(desk: Desk) -> None:
    desk.points(5)
    desk.server.fail_next = 1
    with pytest.raises(errors.Unavailable):
        desk.fresh().ship()
    desk.fresh().ship()
    assert desk.arrived() == list(range(5))


def test_big_journals_travel_in_parts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper, "MAX_POINTS", 100)
    desk.points(1050)
    desk.fresh().ship()
    assert desk.arrived() == list(range(1050))
    assert len(desk.server.batches[RUN]) == 11


def test_a_record_longer_than_a_read_arrives(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper, "_READ", 4096)
    desk.writer.record(format.FACT, "long", "x" * 50_000)
    desk.points(5)
    desk.fresh().ship()
    assert desk.server.gathered(RUN, "facts")["long"] == "x" * 50_000
    assert desk.arrived() == list(range(5))


def test_the_last_word_counts(desk: Desk) -> None:
    desk.writer.record(format.PARAMS, {"lr": 1, "depth": 2})
    desk.writer.record(format.PARAMS, {"lr": 0.5})
    desk.writer.record(format.TAGS, ["a", "b"], [])
    desk.writer.record(format.TAGS, ["c"], ["a"])
    desk.writer.record(format.SET, "name", "first")
    desk.writer.record(format.SET, "name", "second")
    desk.writer.record(format.CONSOLE, "out", "hello", 0)
    desk.fresh().ship()
    (batch,) = desk.server.batches[RUN]
    assert batch.params == {"lr": 0.5, "depth": 2}
    assert (batch.add_tags, batch.remove_tags, batch.name) == (["b", "c"], ["a"], "second")
    assert batch.console == [runs.ConsoleLine(time=batch.console[0].time, text="hello")]


def test_sources_of_all_processes_become_one_document(desk: Desk) -> None:
    other = desk.write("child")
    desk.writer.record(format.FACT, "sources", {"git": "active", "console": "active"})
    desk.fresh().ship()
    other.record(format.FACT, "sources", {"console": "off", "sklearn": "active"})
    desk.fresh().ship()
    assert desk.server.gathered(RUN, "facts")["sources"] == {
        "git": "active",
        "console": "active",
        "sklearn": "active",
    }


def artifact(desk: Desk, name: str, content: bytes) -> dict[str, Any]:
    digest, size = spool.store(desk.folder, content)
    files = [{"path": "a.txt", "hash": digest, "size": size}]
    return {"name": name, "kind": "file", "format": "file", "files": files, "time": 1, "step": None, "metadata": {}}


def test_the_bytes_of_artifacts_arrive_before_their_names_and_leave_the_spool(desk: Desk) -> None:
    desk.writer.record(format.ARTIFACT, artifact(desk, "one", b"same"))
    desk.writer.record(format.ARTIFACT, artifact(desk, "two", b"same"))
    desk.writer.record(format.ARTIFACT, artifact(desk, "none", b""))
    desk.fresh().ship()
    assert [each.name for each in desk.server.listed(RUN, "artifacts")] == ["one", "two", "none"]
    assert sorted(desk.server.objects.values()) == [b"", b"same"]
    assert not list((desk.folder / "files").iterdir())


def test_an_artifact_whose_bytes_are_gone_is_left_out_and_counted(desk: Desk) -> None:
    desk.writer.record(format.ARTIFACT, artifact(desk, "gone", b"bytes"))
    for file in (desk.folder / "files").iterdir():
        file.unlink()
    desk.points(3)
    ship = desk.fresh()
    ship.ship()
    assert ship.lost == 1
    assert desk.arrived() == [0, 1, 2]


def test_one_bad_record_is_left_out_and_the_rest_arrives(desk: Desk) -> None:
    desk.points(40)
    desk.points(1, 40, name="bad")
    desk.points(40, 41)
    desk.server.bad_metric = "bad"
    ship = desk.fresh()
    ship.ship()
    assert desk.arrived() == [*range(40), *range(41, 81)]
    assert ship.lost == 1


def test_the_main_process_has_the_last_word(desk: Desk) -> None:
    child = desk.write("child")
    desk.points(3)
    desk.writer.record(format.END, {"status": "completed", "time": 9})
    ship = desk.fresh()
    ship.ship(hold_ending=True)
    assert RUN not in desk.server.ended
    desk.points(3, 3, writer=child)
    ship.ship()
    assert desk.server.ended[RUN].status == "completed"
    assert desk.arrived() == list(range(6))


def test_what_comes_after_the_end_is_counted_as_lost(desk: Desk) -> None:
    child = desk.write("child")
    desk.writer.record(format.END, {"status": "completed", "time": 9})
    ship = desk.fresh()
    ship.ship()
    desk.points(3, writer=child)
    ship.ship()
    assert ship.lost == 3
    assert ship.pending == 0


def test_a_zombie_is_refused(desk: Desk) -> None:
    desk.points(3)
    desk.server.attempts[RUN] = 2
    with pytest.raises(shipper.Refused):
        desk.fresh().ship()
    assert desk.arrived() == []


def test_a_torn_record_of_a_living_writer_is_waited_for(desk: Desk) -> None:
    desk.points(2)
    with desk.writer.path.open("ab") as file:
        file.write(format.frame(b"\x92\x09\x01")[:5])
    ship = desk.fresh()
    ship.ship()
    assert ship.pending == 5


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_sync_cuts_a_torn_end_and_ends_a_killed_run(desk: Desk, cut: int) -> None:
    desk.points(3)
    desk.writer.close()
    os.truncate(desk.writer.path, desk.writer.path.stat().st_size - cut)
    report = desk.sync()
    assert report.sent == [RUN]
    assert report.lost_records == 1
    assert desk.arrived() == [0, 1]
    assert desk.server.ended[RUN].status == "failed"
    assert "killed" in desk.server.ended[RUN].reason
    assert not desk.folder.exists()


def test_sync_leaves_out_a_damaged_middle(desk: Desk) -> None:
    desk.points(3)
    middle = desk.writer.size
    desk.points(3, 3)
    desk.writer.close()
    with desk.writer.path.open("r+b") as file:
        file.seek(middle + 10)
        file.write(b"\xff\xff")
    report = desk.sync()
    assert report.lost_records == 1
    assert desk.arrived() == [0, 1, 2, 4, 5]


def test_sync_leaves_living_runs_alone(desk: Desk) -> None:
    desk.points(3)
    assert desk.sync().alive == [RUN]
    assert desk.arrived() == []


def test_sync_keeps_the_status_of_a_run_that_ended_offline(desk: Desk) -> None:
    desk.points(3)
    desk.writer.record(format.END, {"status": "stopped", "time": 9, "reason": "enough"})
    desk.writer.close()
    assert desk.sync().sent == [RUN]
    assert desk.server.ended[RUN].status == "stopped"
    assert desk.sync().sent == []


def test_sync_keeps_what_cannot_be_sent_and_says_why(desk: Desk) -> None:
    desk.points(3)
    desk.writer.close()
    desk.server.refuse_token = True
    assert "token" in desk.sync().waiting[RUN]
    desk.server.refuse_token = False
    desk.server.fail_next = 1
    assert "busy" in desk.sync().waiting[RUN]
    assert desk.sync().sent == [RUN]
    assert desk.arrived() == [0, 1, 2]


def test_a_run_that_was_begun_again_is_ended_by_its_newest_process_only(desk: Desk) -> None:
    desk.points(3)
    desk.writer.close()
    ship = desk.fresh()
    assert shipper.end_killed(ship)
    assert not shipper.end_killed(desk.fresh())
    again = desk.write()
    assert not desk.fresh().ended
    assert not shipper.end_killed(desk.fresh())
    again.close()
    assert shipper.end_killed(desk.fresh())


def test_one_shipper_works_on_a_folder(desk: Desk) -> None:
    with shipper.locked(desk.folder) as first, shipper.locked(desk.folder) as second:
        assert first
        assert not second


def test_a_folder_in_which_a_process_has_just_begun_stays(desk: Desk) -> None:
    assert not shipper.remove(desk.folder)
    assert desk.folder.exists()
    desk.fresh().ship()
    desk.writer.close()
    assert shipper.remove(desk.folder)
    assert not desk.folder.exists()


@pytest.fixture
def many(tmp_path: Path) -> Iterator[bytes]:
    desk = Desk(tmp_path)
    desk.points(20_000)
    yield desk.writer.path.read_bytes()


def test_packing_is_fast_enough(many: bytes) -> None:
    from time import process_time

    began = process_time()
    packed = shipper.pack(many, 0, writer="w")
    took = process_time() - began
    assert packed.records == 20_001
    assert 20_000 / took > 100_000  # the bar is 150,000 a second; a busy machine may be slower in a test


def test_the_journal_of_another_format_is_left_alone(desk: Desk) -> None:
    (desk.folder / "stranger.journal").write_bytes(b"LARDERJ9" + b"x" * 50)
    desk.points(2)
    ship = desk.fresh()
    ship.ship()
    assert desk.arrived() == [0, 1]
    assert reader.Journal(desk.folder / "stranger.journal").size == 58


def test_the_main_process_makes_the_run_even_when_it_has_ended_already(desk: Desk) -> None:
    desk.points(1)
    desk.writer.record(format.END, {"status": "completed", "time": 9})
    desk.writer.close()
    desk.points(1, name="system/cpu", writer=desk.write("companion"))
    desk.fresh().ship()
    roles = [batch.opening.role for batch in desk.server.batches[RUN] if batch.opening]
    assert roles == ["main", "companion"] and desk.arrived("system/cpu") == [0] and RUN in desk.server.ended


def test_a_full_disk_leaves_the_run_waiting(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.points(1)
    desk.writer.close()

    def full(*_: Any) -> Writer:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shipper, "Writer", full)
        assert "No space" in desk.sync().waiting[RUN]
    assert desk.sync().sent == [RUN] and desk.arrived() == [0]
