"""Children of a recorded process: forked, spawned, or ranks of a job, they report into one run, and nothing twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from larder.contract.runs import RunStatus
from tests.client.scripts import SILENT, Bench, bench, eventually


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def test_forked_children_write_journals_of_their_own(desk: Bench) -> None:
    code = f"""
        import os, sys, larder
        run = larder.init(project="bakery", capture={SILENT})
        for step in range(100):
            run.log({{"loss": 1.0}}, step=step)
        children = []
        for number in range(3):
            child = os.fork()
            if not child:
                for step in range(50):
                    run.log({{f"child": number}}, step=step)
                run.finish()  # ends nothing: the run is the parent's
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        for step in range(100, 200):
            run.log({{"loss": 1.0}}, step=step)
    """
    done = desk.execute(code)
    assert done.returncode == 0, done.stderr
    run = desk.run()
    assert desk.steps("loss") == list(range(200))
    assert sorted(desk.steps("child")) == sorted(list(range(50)) * 3)
    assert {batch.opening.role for batch in desk.server.batches[run] if batch.opening} == {"main", "child", "companion"}
    assert desk.server.ended[run].status == RunStatus.COMPLETED
    eventually(lambda: not desk.left)


def test_a_child_that_says_nothing_leaves_no_journal(desk: Bench) -> None:
    code = f"""
        import multiprocessing, larder
        run = larder.init(project="bakery", capture={SILENT})
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(sum(pool.map(abs, range(10))))
    """
    done = desk.execute(code)
    assert done.stdout == "45\n"
    roles = [batch.opening.role for batch in desk.server.batches[desk.run()] if batch.opening]
    assert sorted(roles) == ["companion", "main"]


def test_a_pool_that_logs_from_many_threads_and_forks_does_not_hang(desk: Bench) -> None:
    code = f"""
        import multiprocessing, threading, larder
        run = larder.init(project="bakery", capture={SILENT})
        stop = threading.Event()
        def chatter():
            while not stop.is_set():
                run.log({{"noise": 1.0}})
        threads = [threading.Thread(target=chatter) for _ in range(2)]
        for thread in threads: thread.start()
        def work(number):
            run.log({{"work": number}})
            return number
        context = multiprocessing.get_context("fork")
        for _ in range(5):
            processes = [context.Process(target=work, args=(number,)) for number in range(4)]
            for process in processes: process.start()
            for process in processes: process.join(20)
            assert all(process.exitcode == 0 for process in processes)
        stop.set()
        for thread in threads: thread.join()
    """
    done = desk.execute(code)
    assert done.returncode == 0, done.stderr
    assert len(desk.steps("work")) == 20


def test_spawned_children_that_call_init_join(desk: Bench, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import multiprocessing, larder

def work(number):
    run = larder.init(project="bakery", capture={SILENT})
    for step in range(20):
        run.log({{f"worker{{number}}": 1.0}}, step=step)
    run.finish()
    return run.id

if __name__ == "__main__":
    run = larder.init(project="bakery", capture={SILENT})
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        ids = set(pool.map(work, range(2), chunksize=1))
    assert ids == {{run.id}}, ids
    run.log({{"loss": 1.0}})
"""
    )
    done = desk.execute(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    if "can't pickle" in done.stderr.lower() or "attribute" in done.stderr.lower():
        done = desk.execute(f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, {str(script)!r}]))")
    assert done.returncode == 0, done.stderr
    assert desk.steps("worker0") == desk.steps("worker1") == list(range(20))
    assert desk.server.ended[desk.run()].status == RunStatus.COMPLETED


RANK = f"""
    import os, time, larder
    run = larder.init(project="bakery", capture={SILENT})
    for step in range(20):
        run.log({{"loss": float(os.environ["RANK"])}}, step=step)
    time.sleep(0.2)
"""


def test_ranks_of_one_job_report_into_one_run(desk: Bench) -> None:
    shared = {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29512"}
    processes = [desk.start(RANK, **shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in (2, 0, 1)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    eventually(lambda: not desk.left)
    run = desk.run()
    assert desk.server.points(run, "loss") == [(step, 0.0) for step in range(20)]
    assert desk.steps("rank.1/loss") == desk.steps("rank.2/loss") == list(range(20))
    assert desk.server.ended[run].status == RunStatus.COMPLETED


def test_workers_begin_and_end_runs_of_their_own(desk: Bench) -> None:
    code = f"""
        import multiprocessing, larder
        def work(number):
            run = larder.init(project="bakery", name=f"own {{number}}", capture={SILENT})
            run.log({{"loss": number}})
            if number:
                raise ValueError("boom")
        for number in range(2):
            process = multiprocessing.get_context("fork").Process(target=work, args=(number,))
            process.start()
            process.join()
    """
    assert desk.execute(code).returncode == 0
    ends = sorted((str(end.status), end.reason) for end in desk.server.ended.values())
    assert ends == [("completed", ""), ("failed", "ValueError: boom")]


def test_a_forked_child_may_begin_anew_and_a_run_may_travel(desk: Bench) -> None:
    code = f"""
        import copy, multiprocessing, larder
        run = larder.init(project="bakery", capture={SILENT})
        assert copy.deepcopy(run) is run
        def work(given, number):
            given.log({{f"worker{{number}}": 1.0}})
            larder.init(capture={SILENT}).log({{f"worker{{number}}": 1.0}})
            return given.id
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.starmap(work, [(run, 0), (run, 1)]) == [run.id, run.id]
            pool.close()
            pool.join()
    """
    done = desk.execute(code)
    assert done.returncode == 0, done.stderr
    assert len(desk.steps("worker0")) == 2 and desk.server.ended[desk.run()].status == RunStatus.COMPLETED


def test_no_zombie_is_left_behind(desk: Bench) -> None:
    code = f"""
        import psutil, time, larder
        larder.init(project="bakery", capture={SILENT})
        until = time.monotonic() + 10
        while psutil.Process().children() and time.monotonic() < until:
            time.sleep(0.05)
        print(psutil.Process().children())
    """
    assert desk.execute(code).stdout == "[]\n"
