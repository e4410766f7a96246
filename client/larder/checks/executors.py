"""Whether an executor keeps the promises of `larder.agent.executors`.

`check_executor(make)` executes some forty commands; it takes about a minute, and needs Linux and `python3` where the
executor executes. It raises `Failed` with a sentence for the first promise that is not kept.
"""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from larder.agent.executors import Execution, Executor, Exit, Limits, Order, Usage
from larder.checks.failed import Failed, expect

PATIENCE = 60.0
"""Seconds that anything may take."""

_MEMORY = 256 << 20


@dataclass(frozen=True, kw_only=True)
class Done:
    """An execution that has ended."""

    exit: Exit
    out: str
    err: str
    usage: Usage


def check_executor(
    make: Callable[[], Executor] | str,
    *,
    python: str = sys.executable,
    image: str = "",
    readable: Sequence[Path] = (),
    say: Callable[[str], None] = lambda name: None,
    only: Sequence[str] = (),
) -> None:
    """Run all checks against executors that `make` makes; `make` may be the name of a function, as `package:function`.

    The last check, that nothing outlives a killed agent, needs that name. `python` is an interpreter for the commands
    where they are executed, `readable` what it needs; `image` goes into each order. `say` hears the name of each check.
    """
    made: Callable[[], Executor] = resolve(make) if isinstance(make, str) else make
    with tempfile.TemporaryDirectory(prefix="larder-check-") as folder:
        bench = Bench(Path(folder).resolve(), python=python, image=image, readable=tuple(readable))
        executor = made()
        try:
            for name, check in _CHECKS.items():
                if not only or name in only:
                    say(name)
                    check(bench, executor)
        finally:
            executor.close()
        if isinstance(make, str) and (not only or "agent_killed" in only):
            say("agent_killed")
            _agent_killed(bench, make)


def resolve(name: str) -> Callable[[], Executor]:
    """The function that a name such as `package.module:function` stands for."""
    module, _, attribute = name.partition(":")
    found: Callable[[], Executor] = getattr(importlib.import_module(module), attribute)
    return found


class Bench:
    """Makes orders and sees them through."""

    def __init__(self, folder: Path, *, python: str, image: str, readable: Sequence[Path]) -> None:
        self.folder = folder
        self.python = python
        self.image = image
        self.readable = tuple(readable)
        self._count = 0

    def order(self, *command: str, limits: Limits | None = None, env: dict[str, str] | None = None) -> Order:
        """An order of a command."""
        self._count += 1
        work = self.folder / f"work-{self._count}"
        journals = self.folder / f"journals-{self._count}"
        work.mkdir()
        journals.mkdir()
        return Order(
            run=str(uuid.uuid4()),
            command=list(command),
            folder=work,
            work=work,
            journals=journals,
            env={"PATH": os.environ.get("PATH", os.defpath), "LARDER_CHECK": str(work), **(env or {})},
            readable=self.readable,
            image=self.image,
            limits=limits or Limits(),
        )

    def script(self, text: str, *, limits: Limits | None = None, env: dict[str, str] | None = None) -> Order:
        """An order of a Python script in a file, since an executor may treat that in a way of its own."""
        order = self.order(self.python, "script.py", limits=limits, env=env)
        (order.folder / "script.py").write_text(textwrap.dedent(text), encoding="utf-8")
        return order


class Running:
    """A started order whose output is read."""

    def __init__(self, executor: Executor, order: Order) -> None:
        self.order = order
        self.execution: Execution = executor.start(order)
        self._read: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
        self._threads = [
            threading.Thread(target=self._drain, args=(descriptor, self._read[name]), daemon=True)
            for name, descriptor in (("out", self.execution.stdout), ("err", self.execution.stderr))
        ]
        for thread in self._threads:
            thread.start()

    def _drain(self, descriptor: int, into: bytearray) -> None:
        while True:
            data = os.read(descriptor, 65536)
            if not data:
                os.close(descriptor)
                return
            into += data

    def text(self, name: str = "out") -> str:
        """What was read so far."""
        return bytes(self._read[name]).decode("utf-8", "replace")

    def says(self, text: str) -> None:
        """Wait until it has written that."""
        _eventually(lambda: text in self.text(), f"the output {text!r} arrives while the command runs", self.text)

    def done(self) -> Done:
        """See it through."""
        exit = self.execution.wait(PATIENCE)
        if exit is None:
            self.execution.stop(force=True)
            raise Failed(f"wait answers when the command has ended; {self.order.command} did not in {PATIENCE:g} s")
        for thread in self._threads:
            thread.join(PATIENCE)
            expect(not thread.is_alive(), "stdout and stderr end with the execution", self.order.command)
        return Done(exit=exit, out=self.text("out"), err=self.text("err"), usage=self.execution.usage())


def run(executor: Executor, order: Order) -> Done:
    """Start an order and see it through."""
    return Running(executor, order).done()


# -- the checks ------------------------------------------------------------------------------------------------------


def _exit_status(bench: Bench, executor: Executor) -> None:
    for status in (0, 1, 7, 100):
        done = run(executor, bench.script(f"raise SystemExit({status})"))
        expect(done.exit.code == status, f"a command that ends with {status} has the exit code {status}", done)
    done = run(executor, bench.script("raise ValueError('from inside')"))
    expect(done.exit.code == 1 and "ValueError: from inside" in done.err, "an exception is an exit code of 1", done)
    done = run(executor, bench.order("sh", "-c", "exit 5"))
    expect(done.exit.code == 5, "a shell that ends with 5 has the exit code 5", done)


def _signals(bench: Bench, executor: Executor) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
        done = run(
            executor, bench.script(f"import os; os.kill(os.getpid(), {int(number)}); import time; time.sleep(60)")
        )
        expect(done.exit.code == -number, f"a command that dies of {number.name} has the exit code {-number}", done)
        expect(not done.exit.out_of_memory, f"a command that dies of {number.name} was not killed for memory", done)


def _output(bench: Bench, executor: Executor) -> None:
    done = run(executor, bench.script("import sys; print('to out'); print('to err ☃', file=sys.stderr)"))
    expect(done.out == "to out\n" and "to err ☃\n" in done.err, "output and errors arrive apart and whole", done)
    done = run(executor, bench.script("import sys\nfor n in range(200_000): print('line', n)\nprint('x' * 300_000)"))
    lines = done.out.splitlines()
    expect(len(lines) == 200_001 and lines[-1] == "x" * 300_000, "much output arrives whole", len(done.out))
    done = run(executor, bench.script("import os\nos.close(1); os.close(2)\nimport time; time.sleep(0.3)\nos._exit(3)"))
    expect(done.exit.code == 3, "a command that closes its output has its exit code", done)
    done = run(executor, bench.script("import sys; print(repr(sys.stdin.read()))"))
    expect(done.out == "''\n", "standard input is empty", done)


def _surroundings(bench: Bench, executor: Executor) -> None:
    os.environ["LARDER_MINE"] = "of the agent"
    order = bench.script("import os; print(os.getcwd(), os.environ.get('LARDER_MINE'), repr(os.environ['LARDER_TEXT']))",
                         env={"LARDER_TEXT": "ä b\n'c'\"d\" $e"})  # fmt: skip
    try:
        done = run(executor, order)
    finally:
        del os.environ["LARDER_MINE"]
    wanted = f"{order.folder} None " + repr("ä b\n'c'\"d\" $e") + "\n"
    expect(done.out == wanted, "the folder and the variables are those of the order", (done.out, done.err))
    order = bench.script("open('written', 'w').write('here')")
    run(executor, order)
    expect((order.folder / "written").is_file(), "what the command writes into its folder is there afterwards")
    owner = (order.folder / "written").stat().st_uid
    expect(owner == os.getuid(), "what the command writes belongs to the user of the agent", owner)
    order = bench.order(
        bench.python, "-c", f"open({str(bench.folder)!r} + '/journals-{bench._count + 1}/x', 'w').write('j')"
    )
    done = run(executor, order)
    expect((order.journals / "x").is_file(), "the folder of the journals may be written", done)


def _gpus(bench: Bench, executor: Executor) -> None:
    done = run(executor, bench.script("import os; print(repr(os.environ.get('CUDA_VISIBLE_DEVICES')))"))
    expect(done.out == "''\n", "a run that was given no GPU sees none", done)


def _start_error(bench: Bench, executor: Executor) -> None:
    try:
        done = run(executor, bench.order(str(bench.folder / "no-such-command")))
    except OSError as error:
        expect(str(error), "the OSError of a command that cannot begin says why")
    else:
        # Whether a container has the command is known only inside of it.
        told = done.exit.code > 0 and ("no-such-command" in done.err or "No such file" in done.err)
        expect(told, "a command that is not there is an OSError, or ends badly and says so", done)
    done = run(executor, bench.script("print('after')"))
    expect(done.out == "after\n", "after one that could not begin, others can", done)


def _whole_tree(bench: Bench, executor: Executor) -> None:
    order = bench.script(_TREE)
    running = Running(executor, order)
    running.says("ready")
    expect(len(_marked(order)) >= 4, "the processes of the execution are seen from outside", _marked(order))
    running.execution.stop(force=True)
    done = running.done()
    expect(done.exit.code == -signal.SIGKILL, "an execution that is stopped by force has the code -9", done)
    expect(not done.exit.out_of_memory, "an execution that is stopped by force was not killed for memory", done)
    _nothing_left(order, "stop(force=True) ends the whole tree, also those that left its group and lost their parents")
    order = bench.script(_TREE.replace("time.sleep(600)  # main", "raise SystemExit(4)"))
    done = run(executor, order)
    expect(done.exit.code == 4, "the exit code is that of the command, not of what it leaves behind", done)
    _nothing_left(order, "what a command leaves behind has ended when wait answers")


def _polite_stop(bench: Bench, executor: Executor) -> None:
    running = Running(
        executor,
        bench.script(
            """
            import signal, sys, time
            def hear(*_):
                print("heard", flush=True)
                sys.exit(6)
            signal.signal(signal.SIGTERM, hear)
            print("ready", flush=True)
            time.sleep(600)
            """
        ),
    )
    running.says("ready")
    running.execution.stop()
    done = running.done()
    expect(
        done.out.count("heard") == 1 and done.exit.code == 6, "stop() is one SIGTERM that the command may answer", done
    )
    running = Running(executor, bench.script("import time; print('ready', flush=True); time.sleep(600)"))
    running.says("ready")
    running.execution.stop()
    done = running.done()
    expect(done.exit.code == -signal.SIGTERM, "a command that does not answer SIGTERM dies of it", done)


def _deaf(bench: Bench, executor: Executor) -> None:
    order = bench.script(
        """
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
        else:
            print("ready", flush=True)
        time.sleep(600)
        """
    )
    running = Running(executor, order)
    running.says("ready")
    running.execution.stop()
    expect(running.execution.wait(1.0) is None, "stop() without force lets a command live that ignores SIGTERM")
    running.execution.stop(force=True)
    done = running.done()
    expect(done.exit.code == -signal.SIGKILL, "after it, stop(force=True) ends the command", done)
    _nothing_left(order, "stop(force=True) after stop() ends the whole tree")


def _stop_around(bench: Bench, executor: Executor) -> None:
    running = Running(executor, bench.script("import time; time.sleep(600)"))
    running.execution.stop(force=True)
    done = running.done()
    expect(done.exit.code == -signal.SIGKILL, "stop right after start ends the command", done)
    running = Running(executor, bench.script("raise SystemExit(3)"))
    done = running.done()
    running.execution.stop()
    running.execution.stop(force=True)
    again = running.execution.wait(0)
    expect(again == done.exit, "stop after the end changes nothing, and wait answers the same again", again)
    expect(running.execution.usage() == done.usage, "usage answers the same after the end")


def _waiting(bench: Bench, executor: Executor) -> None:
    running = Running(executor, bench.script("import time; print('ready', flush=True); time.sleep(600)"))
    running.says("ready")
    began = time.monotonic()
    expect(running.execution.wait(0.2) is None, "wait answers None when its timeout comes first")
    expect(time.monotonic() - began < PATIENCE / 2, "wait comes back at its timeout")
    answers: list[Exit | None] = []
    threads = [
        threading.Thread(target=lambda: answers.append(running.execution.wait(PATIENCE)), daemon=True) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    running.execution.stop(force=True)
    for thread in threads:
        thread.join(PATIENCE)
    expect(len(answers) == 3 and len(set(map(str, answers))) == 1, "several threads may wait", answers)
    running.done()


def _side_by_side(bench: Bench, executor: Executor) -> None:
    runnings = [
        Running(executor, bench.script(f"import time; time.sleep(0.3); print({n}); raise SystemExit({n})"))
        for n in range(6)
    ]
    for number, running in enumerate(runnings):
        done = running.done()
        expect((done.exit.code, done.out) == (number, f"{number}\n"), "executions side by side stay apart", done)


def _memory_limit(bench: Bench, executor: Executor) -> None:
    hungry = "import time\nheld = []\nwhile True:\n    held.append(b'x' * (16 << 20))\n    time.sleep(0.02)\n"
    order = bench.script(hungry, limits=Limits(memory=_MEMORY))
    done = run(executor, order)
    expect(
        done.exit.code != 0 and done.exit.out_of_memory, "a command above its memory limit is ended for memory", done
    )
    near = _MEMORY // 2 <= done.usage.peak_memory <= 4 * _MEMORY
    expect(near, f"its peak, near the limit of {_MEMORY}, is measured", done.usage.peak_memory)
    _nothing_left(order, "nothing is left of a command that was ended for memory")
    child = f"import subprocess, sys\nsys.exit(subprocess.run([sys.executable, '-c', {hungry!r}]).returncode != 0)"
    done = run(executor, bench.script(child, limits=Limits(memory=_MEMORY)))
    expect(done.exit.code != 0 and done.exit.out_of_memory, "the limit counts children, too", done)
    modest = "held = b'x' * (48 << 20)\nimport time; time.sleep(0.5)\nprint(len(held))"
    done = run(executor, bench.script(modest, limits=Limits(memory=_MEMORY)))
    expect(done.exit.code == 0 and not done.exit.out_of_memory, "a command below its limit is left alone", done)
    expect(done.usage.peak_memory >= 48 << 20, "the peak of a command without trouble is measured", done.usage)


def _process_limit(bench: Bench, executor: Executor) -> None:
    order = bench.script(
        """
        import os, time
        for _ in range(10):  # 1,024 processes where nothing holds them: enough to see it, and no end of the machine
            try:
                os.fork()
            except OSError:
                break
        time.sleep(30)
        """,
        limits=Limits(processes=40),
    )
    running = Running(executor, order)
    most = 0
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        most = max(most, len(_marked(order)))
        time.sleep(0.05)
    running.execution.stop(force=True)
    running.done()
    expect(most <= 400, "a limit of 40 processes holds a fork bomb", most)
    _nothing_left(order, "nothing is left of a fork bomb")
    done = run(executor, bench.script("print('still here')"))
    expect(done.out == "still here\n", "a fork bomb leaves the executor at work", done)


def _usage(bench: Bench, executor: Executor) -> None:
    busy = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    done = run(executor, bench.script(busy))
    expect(0.3 < done.usage.cpu_seconds < 10, "the processor time is measured", done.usage)


_CHECKS: dict[str, Callable[[Bench, Executor], None]] = {
    "exit_status": _exit_status,
    "signals": _signals,
    "output": _output,
    "surroundings": _surroundings,
    "gpus": _gpus,
    "start_error": _start_error,
    "whole_tree": _whole_tree,
    "polite_stop": _polite_stop,
    "deaf": _deaf,
    "stop_around": _stop_around,
    "waiting": _waiting,
    "side_by_side": _side_by_side,
    "memory_limit": _memory_limit,
    "process_limit": _process_limit,
    "usage": _usage,
}

NAMES = (*_CHECKS, "agent_killed")
"""The names of the checks, in order."""


def _agent_killed(bench: Bench, make: str) -> None:
    order = bench.script(_TREE)
    agent = subprocess.Popen(
        [sys.executable, "-m", "larder.checks.agent", make, order.run, str(order.work), str(order.journals), bench.python,
         bench.image, *map(str, bench.readable)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, map(str, sys.path)))},
    )  # fmt: skip
    try:
        assert agent.stdout is not None
        said = agent.stdout.readline()
        expect(b"ready" in said, "the execution begins in a process of its own", said)
        expect(len(_marked(order)) >= 4, "the processes of the execution are seen from outside", _marked(order))
    finally:
        agent.kill()
        agent.wait()
    _nothing_left(order, "nothing of an execution outlives an agent that was killed")


_TREE = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(sleep)
subprocess.Popen(sleep, start_new_session=True)
if os.fork() == 0:  # a daemon, as they have always been made
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        for number in (0, 1, 2):
            os.close(number)
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(0.2)
print("ready", flush=True)
time.sleep(600)  # main
"""


# -- looking from outside --------------------------------------------------------------------------------------------


def _marked(order: Order) -> list[int]:
    """Processes that were started with the mark of an order: its folder stands in their environment."""
    # A warm parent was started with the variables of an order, but is none of its processes; its folder tells it.
    return [pid for pid, mark in _environments() if str(order.work).encode() in mark and b"/larder-warm-" not in mark]


def _environments() -> Iterator[tuple[int, bytes]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0]
                if status not in "ZX":
                    yield (
                        int(entry),
                        os.readlink(f"/proc/{entry}/cwd").encode() + Path(f"/proc/{entry}/environ").read_bytes(),
                    )


def _nothing_left(order: Order, promise: str) -> None:
    _eventually(lambda: not _marked(order), promise, lambda: _marked(order))


def _eventually(question: Callable[[], object], promise: str, found: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not question():
        if time.monotonic() > until:
            raise Failed(f"{promise}; found {found()!r}")
        time.sleep(0.02)
