"""The console is recorded in whole lines, and the streams behave as they did."""

import io
import logging
import os
import sys
import threading
import time

import pytest

from larder.capture import console
from larder.capture.console import Lines

from .recorder import FakeRun


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines_of(*texts: str) -> list[str]:
    written: list[str] = []
    lines = Lines(written.append)
    for text in texts:
        lines.feed(text)
    lines.close()
    return written


def test_lines_are_put_together_from_pieces() -> None:
    assert lines_of("a", "b\nc", "\n", "\nd") == ["ab", "c", "", "d"]


def test_of_a_progress_bar_the_final_state_stays() -> None:
    assert lines_of(*(f"\r{done:3d}%" for done in range(101)), "\n", "done\r\n", "x\ry\r", "z") == ["100%", "done", "z"]


def test_a_bar_is_looked_at_once_a_second_and_then_less_often() -> None:
    written: list[str] = []
    clock = Clock()
    lines = Lines(written.append, clock=clock)
    for tenth in range(700):
        clock.now = tenth / 10
        lines.feed(f"\r{tenth}")
        lines.tick()
    lines.feed("\n")
    assert written == ["10", "30", "70", "150", "310", "630", "699"]


def test_a_line_that_nothing_ends_is_written_after_a_second() -> None:
    written: list[str] = []
    clock = Clock()
    lines = Lines(written.append, clock=clock)
    lines.feed("Password: ")
    lines.tick()
    assert written == []
    clock.now = 1.0
    lines.tick()
    lines.tick()
    lines.feed("ok\n")
    assert written == ["Password: ", "ok"]


def test_a_line_without_end_does_not_grow_without_end() -> None:
    written = lines_of(*("x" * 50_000 for _ in range(4)))
    assert all(len(line) < console.LONGEST + 100 for line in written)


def test_writing_that_prints_does_not_go_round_in_circles() -> None:
    written: list[str] = []

    def write(text: str) -> None:
        written.append(text)
        lines.feed(f"about {text}\n")

    lines = Lines(write)
    lines.feed("a\n")
    assert written == ["a", "about a"]


def own_streams(monkeypatch: pytest.MonkeyPatch) -> tuple[io.TextIOWrapper, io.TextIOWrapper]:
    # Called by the tests themselves: pytest puts its own streams in place after the fixtures.
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    return out, err


def printed(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def test_output_is_recorded_and_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = own_streams(monkeypatch)
    run = FakeRun()
    logger = logging.StreamHandler()  # holds the stream from before
    assert console.begin(run) == "active"
    print("loss", 0.3)
    sys.stdout.writelines(["a\n", "b\n"])
    logger.emit(logging.makeLogRecord({"msg": "from logging"}))
    assert sys.stdout.write("four") == 4
    assert sys.stdout is streams[0] and sys.stdout.encoding == "utf-8" and not sys.stdout.isatty()
    console.end()
    print("after the end")
    assert run.lines == [("out", "loss 0.3"), ("out", "a"), ("out", "b"), ("err", "from logging"), ("out", "four")]
    assert printed(streams[0]) == "loss 0.3\na\nb\nfourafter the end\n"
    assert "write" not in vars(streams[0])


def test_what_a_failing_write_raises_reaches_the_user_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = own_streams(monkeypatch)
    run = FakeRun()
    console.begin(run)
    with pytest.raises(TypeError):
        sys.stdout.write(b"bytes")  # type: ignore[arg-type]
    streams[0].buffer.close()
    with pytest.raises(ValueError, match="closed"):
        print("lost")
    console.end()
    assert run.lines == []


def test_lines_of_many_threads_arrive_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    own_streams(monkeypatch)
    run = FakeRun()
    console.begin(run)

    def work(number: int) -> None:
        for each in range(50):
            sys.stdout.write(f"{number} {each}\n")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    console.end()
    assert sorted(line for _, line in run.lines) == sorted(
        f"{number} {each}" for number in range(4) for each in range(50)
    )


def test_a_parent_that_records_the_console_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARDER_CONSOLE", "off")
    assert console.begin(FakeRun()) == "off"


def test_a_partial_line_is_recorded_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    own_streams(monkeypatch)
    run = FakeRun()
    console.begin(run)
    print("Loading", end="")
    until = time.monotonic() + 5
    while not run.lines and time.monotonic() < until:
        time.sleep(0.05)
    console.end()
    assert run.lines == [("out", "Loading")]


def test_a_forked_child_records_although_a_lock_was_held(monkeypatch: pytest.MonkeyPatch) -> None:
    own_streams(monkeypatch)
    run = FakeRun()
    console.begin(run)
    assert console._console is not None
    with console._console._lines["out"]._lock:
        holder = threading.Event()
        pid = [0]

        def fork() -> None:
            pid[0] = os.fork()
            if not pid[0]:
                sys.stdout.write("from the child\n")
                os._exit(0 if ("out", "from the child") in run.lines else 1)
            holder.set()

        thread = threading.Thread(target=fork)
        thread.start()
        holder.wait(5)
        thread.join()
    _, status = os.waitpid(pid[0], 0)
    console.end()
    assert os.waitstatus_to_exitcode(status) == 0
