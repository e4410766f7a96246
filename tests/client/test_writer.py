"""The writer: one append a record, nothing torn left behind, no error for the work that is recorded."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from larder.journal import format, reader, room, spool
from larder.journal import writer as journal_writer
from larder.journal.writer import Writer

OPENING = {"project": "bakery", "name": "base", "time": 1, "role": "main"}


def points(path: Path) -> list[int]:
    return [record[2] for _, record in reader.Journal(path).records() if record[0] == format.POINTS]


def test_a_journal_opens_with_who_writes_it(tmp_path: Path) -> None:
    writer = Writer(tmp_path, OPENING)
    journal = reader.Journal(writer.path)
    assert journal.opening["project"] == "bakery"
    assert journal.role == "main"
    assert journal.ending() is None
    assert not list(tmp_path.glob("*.draft"))


def test_a_journal_is_alive_until_its_writer_lets_go(tmp_path: Path) -> None:
    writer = Writer(tmp_path, OPENING)
    journal = reader.Journal(writer.path)
    assert journal.alive
    writer.close()
    assert not journal.alive
    assert not journal.alive


def test_threads_and_signals_do_not_tear_records(tmp_path: Path) -> None:
    writer = Writer(tmp_path, OPENING)
    pack = format.points(("a",))

    def write(first: int) -> None:
        for step in range(first, first + 2000):
            writer.append(pack(1, step, (0.5,)))

    before = signal.signal(signal.SIGALRM, lambda *_: writer.append(pack(1, -1, (0.0,))) and None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        threads = [threading.Thread(target=write, args=(first,)) for first in (0, 2000, 4000)]
        for thread in threads:
            thread.start()
        write(6000)
        for thread in threads:
            thread.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert sorted(step for step in points(writer.path) if step >= 0) == list(range(8000))
    assert writer.lost == 0


FULL = """
import resource, sys
from pathlib import Path
from larder.journal import format
from larder.journal.writer import Writer
writer = Writer(Path(sys.argv[1]), {"project": "p", "name": "n", "time": 1, "role": "main"})
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
pack = format.points(("a",))
import larder.journal.writer
larder.journal.writer.MOST_WAITING = int(sys.argv[2])
kept = sum(writer.append(pack(1, step, (1.0,))) for step in range(200))
waiting = writer.lost
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
kept += writer.append(pack(1, 1000, (1.0,)))
print(kept, waiting, writer.lost, writer.path)
"""


def full(folder: Path, waiting: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", FULL, str(folder), str(waiting)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_what_finds_the_disk_full_waits_and_follows_in_order(tmp_path: Path) -> None:
    done = full(tmp_path, 16 << 20)
    kept, waiting, lost, path = done.stdout.split()
    assert points(Path(path)) == [*range(200), 1000]
    assert int(kept) + int(waiting) == 201
    assert int(waiting) > 0
    assert int(lost) == 0
    assert done.stderr.count("larder: warning") == 1


def test_what_waits_is_written_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tmp_path, OPENING)
    pack = format.points(("a",))
    real, room = os.write, [False]

    def write(file: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        return real(file, data[:7])  # and even then only bit by bit

    monkeypatch.setattr(journal_writer, "_write", write)
    for step in range(5):
        assert not writer.append(pack(1, step, (1.0,)))
    assert writer.lost == 5
    room[0] = True
    writer.close()
    assert (points(writer.path), writer.lost) == (list(range(5)), 0)


def test_the_end_waits_a_while_for_room_and_gives_up_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tmp_path, OPENING)
    pack = format.points(("a",))
    real, room = os.write, threading.Event()

    def write(file: int, data: bytes) -> int:
        if not room.is_set():
            raise OSError(28, "No space left on device")
        return real(file, data)

    monkeypatch.setattr(journal_writer, "_write", write)
    assert not writer.append(pack(1, 0, (1.0,)))
    assert not writer.settle(0.0) and writer.lost == 1
    threading.Timer(0.2, room.set).start()
    assert writer.settle(30.0) and room.is_set()
    writer.close()
    assert (points(writer.path), writer.lost) == ([0], 0)


def test_an_artifact_waits_a_while_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = spool._store, []

    def store(folder: Path, source: "Path | bytes") -> tuple[str, int]:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(28, "No space left on device")
        return real(folder, source)

    monkeypatch.setattr(spool, "_store", store)
    assert spool.store(tmp_path, b"hello")[1] == 5 and len(tries) == 3
    monkeypatch.setattr(room, "PATIENCE", 0.0)
    tries.clear()
    with pytest.raises(OSError, match="No space left"):
        spool.store(tmp_path, b"hello")


def test_more_than_memory_is_given_is_lost_and_counted_and_leaves_no_torn_one(tmp_path: Path) -> None:
    done = full(tmp_path, 0)
    kept, _, lost, path = done.stdout.split()
    steps = points(Path(path))
    assert int(kept) == len(steps)
    assert int(kept) + int(lost) == 201
    assert int(lost) > 0
    assert steps == [*range(len(steps) - 1), 1000]
    assert done.stderr.count("larder: warning") == 1


def test_a_record_that_no_journal_takes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format, "MAX_PAYLOAD", 100)
    writer = Writer(tmp_path, {**OPENING, "name": "x"})
    with pytest.raises(format.TooLong):
        writer.record(format.FACT, "long", "x" * 200)
    assert writer.record(format.FACT, "short", "x")


def test_the_journal_is_for_its_owner_only(tmp_path: Path) -> None:
    assert os.stat(Writer(tmp_path, OPENING).path).st_mode & 0o077 == 0
