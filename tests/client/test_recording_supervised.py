"""Scripts as an agent executes them: the agent sends what they write and says how they ended."""

import json
import os
import subprocess
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from larder.companion import Watch
from larder.contract import ids, runs
from larder.journal import format, reader, shipper
from larder.journal.writer import Writer
from larder.recording import facts
from larder.transport import Transport
from tests.client.scripts import Bench, bench


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as found:
        yield found


class Order:
    """What an agent prepares for one attempt of a run."""

    def __init__(self, desk: Bench) -> None:
        self.desk = desk
        self.run = ids.new_id()
        self.folder = desk.home / "runs" / f"{self.run}.1"
        self.folder.mkdir(parents=True)
        info = {"run": self.run, "project": "bakery", "name": "bread", "attempt": 1, "agent": True, "mode": "online"}
        (self.folder / "run.json").write_text(json.dumps(info))
        self.env = {
            "LARDER_RUN": self.run,
            "LARDER_ATTEMPT": "1",
            "LARDER_MAIN": f"agent:{self.run}",
            "LARDER_AGENT": "1",
            "LARDER_PARAMS": '{"lr": 0.5}',
            "LARDER_MODE": "online",
            "LARDER_CONSOLE": "off",
            "LARDER_CAPTURE_OFF": "code",
        }

    def execute(self, code: str, **env: str) -> "subprocess.CompletedProcess[str]":
        return self.desk.execute(code, **{**self.env, **env})

    def records(self, kind: int, role: str = "") -> list[list[Any]]:
        found: list[list[Any]] = []
        for journal in reader.journals(self.folder):
            if role in ("", journal.role):
                found += [record[2:] for _, record in journal.records() if record[0] == kind]
            journal.close()
        return found

    def facts(self) -> dict[str, Any]:
        return {name: document for name, document in self.records(format.FACT)}  # noqa: C416

    def points(self) -> list[tuple[int, dict[str, float]]]:
        return sorted(((step, values) for step, values in self.records(format.POINTS)), key=lambda each: each[0])


@pytest.fixture
def order(desk: Bench) -> Order:
    return Order(desk)


def test_a_supervised_script_has_no_companion_waits_for_nobody_and_leaves_the_end_to_the_agent(order: Order) -> None:
    done = order.execute(
        """
        import os, larder, msgspec.json
        run = larder.init(params={"lr": 0.1, "size": 3}, tags=["x"])
        assert run.role == "child"
        for step in range(3):
            run.log({"loss": 1 / (step + 1)})
        print(run.params["lr"])
        """,
        LARDER_URL="http://127.0.0.1:1",
    )
    assert (done.returncode, done.stdout) == (0, "0.5\n"), done.stderr
    assert "larder" not in done.stderr
    assert not (order.folder / "companion.log").exists()
    assert [journal.role for journal in reader.journals(order.folder)] == ["child"]
    assert not order.records(format.END)
    assert order.points() == [(0, {"loss": 1.0}), (1, {"loss": 0.5}), (2, {"loss": 1 / 3})]
    assert order.facts()["exit"] == {"status": "completed", "exit_status": None, "reason": ""}
    assert order.records(format.TAGS) == [[["x"], []]]
    assert not order.desk.server.batches


def test_an_uncaught_error_is_told_to_the_agent(order: Order) -> None:
    done = order.execute("import larder\nlarder.init()\nraise ValueError('too hot')")
    assert done.returncode == 1
    assert order.facts()["exception"]["message"] == "too hot"
    assert order.facts()["exit"] == {"status": "failed", "exit_status": 1, "reason": "ValueError: too hot"}
    assert not order.records(format.END)


def test_the_status_that_a_script_gives_itself_is_told(order: Order) -> None:
    order.execute("import larder\nlarder.init().finish('failed', reason='diverged')")
    assert order.facts()["exit"]["reason"] == "diverged"


def test_what_was_imported_is_recorded_for_a_warm_start(order: Order) -> None:
    (order.desk.home / "mine.py").write_text("import blake3")
    done = order.execute(
        """
        import sys; sys.path.insert(0, ".")
        import json, larder, mine, urllib3.util.retry
        larder.init()
        import msgspec
        """
    )
    assert done.returncode == 0, done.stderr
    found = order.facts()["imports"]
    assert found["modules"] == sorted(found["modules"])
    assert {"blake3", "msgspec", "urllib3"} <= set(found["modules"])
    assert not {"json", "larder", "mine", "sys"} & set(found["modules"])
    assert "urllib3.util.retry" in found["submodules"]


def test_imports_are_bounded_and_those_near_the_top_stay() -> None:
    class Late(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise AssertionError("it was asked, and would have loaded itself")

    big, late = types.ModuleType("big"), Late("late")
    big.__file__ = "/x/site-packages/big/__init__.py"
    vars(late)["__path__"] = ["/x/dist-packages/late"]
    deep = {f"big.a.b{index}": big for index in range(1000)}
    found = facts.imports({"big": big, **deep, "big.a": big, "json": json, "own": None, "late": late})
    assert found["modules"] == ["big", "late"]
    assert len(found["submodules"]) == 400
    assert found["submodules"][-1] == "big.a"  # in order of import


def test_children_join_and_only_the_script_tells_of_its_end(order: Order) -> None:
    done = order.execute(
        """
        import os, subprocess, sys, larder
        run = larder.init()
        run.log({"loss": 1.0}, step=0)
        if os.fork() == 0:
            larder.current().log({"forked": 1.0}, step=1)
            sys.exit(3)
        os.wait()
        subprocess.run([sys.executable, "-c", "import larder; larder.init().log({'spawned': 1.0}, step=2)"], check=True)
        """
    )
    assert done.returncode == 0, done.stderr
    assert order.points() == [(0, {"loss": 1.0}), (1, {"forked": 1.0}), (2, {"spawned": 1.0})]
    assert [journal.role for journal in reader.journals(order.folder)] == ["child"] * 3
    exits = [document for name, document in order.records(format.FACT) if name == "exit"]
    assert exits == [{"status": "completed", "exit_status": None, "reason": ""}]
    assert not order.records(format.END)


def test_ranks_under_an_agent_are_one_run_without_doubles(order: Order) -> None:
    code = """
    import larder, os
    run = larder.init(params={"size": 3})
    for step in range(3):
        run.log({"loss": float(step)})
    run.log_checkpoint(b"state")
    """
    for rank in (0, 1):
        done = order.execute(code, WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank))
        assert done.returncode == 0, done.stderr
    assert sorted(journal.role for journal in reader.journals(order.folder)) == ["child", "rank"]
    values = [values for _, values in order.points()]
    assert values == [{name: float(step)} for step in range(3) for name in ("loss", "rank.1/loss")]
    assert [document["name"] for (document,) in order.records(format.ARTIFACT)] == ["checkpoint"]
    assert not order.records(format.PARAMS, "rank")
    assert not order.records(format.FACT, "rank")


def test_an_agent_ships_all_journals_with_its_own_word_last(order: Order) -> None:
    order.execute("import larder\nrun = larder.init()\nrun.log({'loss': 1.0})")
    opening = {"project": "bakery", "name": "bread", "time": 1, "role": "agent"}
    writer = Writer(order.folder, opening)
    writer.record(format.CONSOLE, "out", "hello", 0)
    ending = {"status": "failed", "time": 2, "exit_status": 137, "reason": "out of memory", "cause": "out_of_memory"}
    writer.record(format.END, ending)
    writer.close()
    server = order.desk.server
    shipping = shipper.Shipper(order.folder, Transport("http://x", send=server.send))
    assert shipping.ended
    shipping.ship()
    shipping.close()
    roles = {batch.opening.role: batch for batch in server.batches[order.run] if batch.opening}
    assert set(roles) == {"agent", "child"}
    assert all(batch.attempt == 1 for batch in server.batches[order.run])
    assert server.batches[order.run][-1].ending is not None
    assert server.ended[order.run].cause is runs.Cause.OUT_OF_MEMORY


def test_a_folder_that_an_agent_owns_is_not_sent_by_others(order: Order) -> None:
    order.execute("import larder\nlarder.init().log({'loss': 1.0})")
    calls = Transport("http://x", send=order.desk.server.send)
    with shipper.locked(order.folder) as held:
        assert held
        report = shipper.sync(order.desk.home, calls=calls, patience=0.1)
    assert report.waiting == {order.folder.name: "another process is sending it"}
    assert not order.desk.server.batches


def test_continued_travels(order: Order) -> None:
    state = {"run": order.run, "name": "checkpoint", "version": 1, "step": 7}
    order.execute("import larder\nlarder.init(resume=True).log({'loss': 1.0})", LARDER_CHECKPOINT=json.dumps(state))
    shipper.sync(order.desk.home, calls=Transport("http://x", send=order.desk.server.send))
    openings = [batch.opening for batch in order.desk.server.batches[order.run] if batch.opening]
    assert [(opening.role, opening.continued) for opening in openings] == [("child", 7)]
    assert order.desk.steps("loss") == [8]


def test_a_hooked_script_that_parses_before_it_resumes_still_continues(order: Order) -> None:
    import larder

    hook = Path(larder.__file__).parent / "hook"
    state = {"run": order.run, "name": "checkpoint", "version": 1, "step": 7}
    done = order.execute(
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--size", type=int, default=4)
        parser.parse_args([])
        import larder
        run = larder.init(resume=True)
        run.log({"loss": 1.0})
        """,
        LARDER_CHECKPOINT=json.dumps(state),
        LARDER_HOOK="1",
        PYTHONPATH=os.pathsep.join([str(hook), os.environ.get("PYTHONPATH", "")]),
    )
    assert done.returncode == 0, done.stderr
    assert [journal.opening["continued"] for journal in reader.journals(order.folder)] == [7]
    params: dict[str, Any] = {}
    for (document,) in order.records(format.PARAMS):
        params |= document
    assert params == {"lr": 0.5, "size": 4}


def test_a_watch_looks_at_a_process_into_its_own_journal(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARDER_SAMPLE_SECONDS", "0.05")
    info = {**shipper.read_info(order.folder), "pid": os.getpid()}
    watch = Watch(order.folder, info, only={"machine"})
    watch.start()
    time.sleep(1.5)  # the first sample comes after a second
    watch.close()
    watch.close()
    assert [journal.role for journal in reader.journals(order.folder)] == ["companion"]
    assert set(order.facts()) == {"machine", "sources"}
    names = [name for name, document in order.records(format.FACT) if name == "sources" for name in document]
    assert sorted(names) == ["gpu", "machine"]
    assert order.points()
    assert all("system/process.memory_bytes" in values for _, values in order.points())


# -- dry steps


def test_a_dry_run_ends_cleanly_after_its_steps(desk: Bench) -> None:
    done = desk.execute(
        """
        import larder
        with larder.init(capture={"code": False, "packages": False, "machine": False}) as run:
            for step in range(100):
                try:
                    run.log({"loss": 1.0}, step=step)
                    run.log({"more": 2.0}, step=step)
                except Exception:
                    raise SystemError("it is no error")
            print("too far")
        """,
        LARDER_DRY_STEPS="5",
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    run = desk.run()
    assert desk.steps("loss") == desk.steps("more") == [0, 1, 2, 3, 4]
    assert desk.server.ended[run].status is runs.RunStatus.COMPLETED
    assert "dry" in desk.server.listed(run, "add_tags")


def test_a_dry_run_without_a_block_completes_too(desk: Bench) -> None:
    code = "import larder\nrun = larder.init(capture=False)\nwhile True: run.log({'a': {'b': 1.0}})"
    done = desk.execute(code, LARDER_DRY_STEPS="2")
    assert done.returncode == 0, done.stderr
    assert desk.steps("a/b") == [0, 1]
    assert desk.server.ended[desk.run()].status is runs.RunStatus.COMPLETED


def test_a_number_of_dry_steps_that_is_none_is_a_warning(desk: Bench) -> None:
    code = "import larder\nrun = larder.init(capture=False)\nfor _ in range(3): run.log({'a': 1.0})"
    done = desk.execute(code, LARDER_DRY_STEPS="few")
    assert done.returncode == 0
    assert "LARDER_DRY_STEPS is 'few'" in done.stderr
    assert desk.steps("a") == [0, 1, 2]


# -- moving


MOVING = """
import larder
run = larder.init(capture={"machine": False})
for step in range(10):
    run.log({"loss": float(step)})
run.log_checkpoint(b"state")
print("before", flush=True)
run.move_to("gpu", needs="gpus=1")
print("after")
run.log({"loss": 10.0})
"""


def test_a_moved_run_is_sent_whole_and_ends_here_without_an_end(desk: Bench) -> None:
    done = desk.execute(MOVING)
    assert (done.returncode, done.stdout) == (0, "before\n"), done.stderr
    run = desk.run()
    assert "goes on in the queue gpu" in done.stderr
    moved = desk.server.moved[run]
    assert (moved.queue, moved.move) == ("gpu", True)
    assert moved.needs is not None
    assert moved.needs.gpus == 1
    assert desk.steps("loss") == list(range(10))
    assert [artifact.kind for artifact in desk.server.listed(run, "artifacts") if artifact.kind == "checkpoint"]
    assert "packages" in desk.server.gathered(run, "facts")
    assert "before" in [line.text for line in desk.server.listed(run, "console")]
    until = time.monotonic() + 20
    while desk.left and time.monotonic() < until:
        time.sleep(0.05)
    assert not desk.left
    assert run not in desk.server.ended


def test_a_run_that_cannot_be_moved_goes_on_here(desk: Bench) -> None:
    desk.server.movable = False
    done = desk.execute(MOVING)
    assert (done.returncode, done.stdout) == (0, "before\nafter\n"), done.stderr
    assert "The code of this run was not recorded" in done.stderr
    assert desk.steps("loss") == list(range(11))
    assert desk.server.ended[desk.run()].status is runs.RunStatus.COMPLETED


def test_without_a_server_nothing_moves(desk: Bench) -> None:
    done = desk.execute(MOVING, LARDER_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (0, "before\nafter\n")
    assert "goes on here" in done.stderr
    assert "127.0.0.1:1" in done.stderr


def test_offline_nothing_moves(desk: Bench) -> None:
    done = desk.execute(MOVING, LARDER_MODE="offline")
    assert done.stdout == "before\nafter\n"
    assert "offline" in done.stderr


def test_needs_that_make_no_sense_are_a_sentence(desk: Bench) -> None:
    done = desk.execute(MOVING.replace("gpus=1", "gpus=many"))
    assert done.stdout == "before\nafter\n"
    assert "warning (Run.move_to)" in done.stderr
    assert "many" in done.stderr


def test_on_an_agent_moving_does_nothing(order: Order) -> None:
    done = order.execute(MOVING)
    assert (done.returncode, done.stdout) == (0, "before\nafter\n"), done.stderr
    assert "move" not in done.stderr


# -- being asked to stop


STOPPED = """
import os, signal, sys, time, larder
run = larder.init(capture={"code": False, "packages": False, "machine": False})
run.on_stop(lambda: 1 / 0)
run.on_stop(lambda: run.log_checkpoint(b"last", step=7))
run.on_stop(lambda: print("asked", flush=True))
try:
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    time.sleep(30)
finally:
    print("bye")
"""


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGINT", -2)])
def test_a_script_that_is_asked_to_stop_can_keep_a_last_checkpoint(desk: Bench, number: str, status: int) -> None:
    process = desk.start(STOPPED, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, "asked\nbye\n"), err
    assert "warning (stop): ZeroDivisionError" in err
    run = desk.run()
    assert [artifact.step for artifact in desk.server.listed(run, "artifacts")] == [7]
    assert desk.server.ended[run].status is runs.RunStatus.STOPPED


def test_on_an_agent_the_script_tells_that_it_was_stopped(order: Order) -> None:
    process = order.desk.start(STOPPED, "SIGTERM", **order.env)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "asked\nbye\n"), err
    assert order.facts()["exit"] == {"status": "stopped", "exit_status": 143, "reason": "asked to stop"}
