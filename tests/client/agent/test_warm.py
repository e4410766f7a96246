"""A script that is forked from a warm parent does what it does in a fresh interpreter."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from larder import checks, supervise
from larder.agent import warm as warming
from larder.agent.executors import Limits, Order, limits
from larder.agent.warm import WarmExecutor
from larder.checks import executors

CLIENT = Path(supervise.__file__).parent.parent


class Eager(WarmExecutor):
    """Waits for the parent of an order before it starts it, and for the process that waits ahead of it."""

    def start(self, order):
        self.prepare(order)
        return super().start(order)

    def prepare(self, order):
        kind = self.kind(order)
        if kind is None:
            return None
        if self._find(kind) is None:
            self._want(kind)
            self.ready(order, 60)
        parent = self._find(kind)
        if parent is None:
            return None
        if not self._ahead:
            parent.dismiss()
            return None
        return self.standby(parent, order)

    def standby(self, parent, order):
        """The one that waits for such an order, with the number of its process as `pid`."""
        controllers = limits.controllers(self._found(), order.limits)
        if parent.waits and parent._standby.controllers != controllers:
            parent.dismiss()
        parent.keep_ahead(self._found(), controllers)
        standby = parent._standby
        if standby is not None and standby.ready(60):
            standby.pid = json.loads(standby._ends.control.recv(1000, socket.MSG_PEEK))["ready"]
        return standby


def eager() -> Eager:
    """For `check_executor`, which makes one in another process, too."""
    return Eager()


@pytest.fixture
def executor():
    said = []
    made = Eager(say=said.append)
    made.said = said
    yield made
    made.close()


@pytest.fixture
def order(tmp_path: Path):
    """An order of a script in a fresh folder that has the same path each time."""
    work = tmp_path / "work"

    def order(script="", *, files=(), command=None, cold=False, imports=(), env=(), hook=False, extra=()):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        for name, text in {"script.py": script, **dict(files)}.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(textwrap.dedent(text))
        variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **dict(env)}
        if hook:
            variables |= {"PYTHONPATH": f"{supervise.HOOK}{os.pathsep}{CLIENT}", "LARDER_HOOK": "1"}
        return Order(
            run="0198c0de-0000-7000-8000-000000000001",
            command=[sys.executable, *(command or ["script.py", "--lr", "0.1"])],
            folder=work,
            work=work,
            journals=tmp_path / "journals",
            env=variables,
            imports=tuple(imports),
            cold=cold,
            **dict(extra),
        )

    order.work = work
    return order


def seen(executor, order):
    """What a run leaves behind: exit, output, files."""
    done = executors.run(executor, order)
    files = {
        str(path.relative_to(order.work)): path.read_bytes()
        for path in sorted(order.work.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    return done.exit.facts.get("start", "cold"), (done.exit.code, done.out, done.err, files)


SCRIPTS = {
    "what a script sees of its start": """
        import os, signal, sys, threading, multiprocessing, logging, types
        print(sys.argv, sys.orig_argv, sys.path, sys.executable, sys.prefix, sys.flags, sys.warnoptions)
        print({name: str(value) for name, value in globals().items() if isinstance(value, (str, type(None), dict))})
        print(type(__loader__), __loader__.path, __loader__.name, sorted(globals()), __file__)
        print(os.getcwd(), sorted(os.environ.items()), multiprocessing.process.ORIGINAL_DIR)
        for number in sorted(signal.valid_signals()):
            print(number, signal.getsignal(number))
        print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), len(threading.enumerate()), threading.current_thread().daemon)
        print(os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), sys.getrecursionlimit(), sys.gettrace())
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            print(stream.name, stream.mode, stream.encoding, stream.errors, stream.newlines, stream.line_buffering)
            print(stream.write_through, stream.isatty(), stream.closed, stream.fileno(), stream is not None)
        print(sys.stdout.buffer, sys.stdout.seekable(), repr(sys.stdin.read()), sys.stdin is sys.__stdin__)
        print(sorted(int(name) for name in os.listdir('/proc/self/fd'))[:4], sys.getprofile(), __debug__, __builtins__)
        print([type(each).__name__ for each in sys.meta_path], 'sitecustomize' in sys.modules)
        print([name for name in sys.modules if 'larder' in name], getattr(sys._getframe().f_back, 'f_code', None) and sys._getframe().f_back.f_lineno)
        depth = 0
        def dive():
            global depth
            depth += 1
            dive()
        try:
            dive()
        except RecursionError:
            print(depth > 900)
    """,
    "what a process has of the system": """
        import os, re, resource, signal, sys, time
        print(oct(os.umask(0o22)), os.nice(0), sorted(os.sched_getaffinity(0)), os.getgroups(), os.getuid())
        print({name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")})
        print(time.tzname, time.timezone, time.localtime(0), time.strftime("%Z %z", time.localtime(2 * 10**9)))
        print({number: os.readlink(f"/proc/self/fd/{number}").partition(":")[0] for number in map(int, os.listdir("/proc/self/fd"))
               if os.path.exists(f"/proc/self/fd/{number}")})
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print({name: status[name] for name in ("SigQ", "SigPnd", "SigBlk", "SigIgn", "SigCgt", "CapEff", "Threads", "Seccomp")
               if name != "SigQ"})
        print(open("/proc/self/oom_score_adj").read(), os.getpriority(os.PRIO_PROCESS, 0), os.getpid() == int(status["Pid"]))
        print(re.sub("larder-[^ ]*", "ours", open("/proc/self/cgroup").read()), os.tcgetpgrp(0) if os.isatty(0) else None)
        print(len(os.urandom(8)), sys.flags.hash_randomization, os.path.basename(os.getcwd()), os.times().children_user)
    """,
    "an exception that nobody catches": """
        import atexit, traceback
        atexit.register(print, 'at exit')
        traceback.print_stack()
        def f(x):
            try:
                return 1 / x
            except ZeroDivisionError as error:
                raise ValueError('no') from error
        f(0)
    """,
    "an exception in a thread, then in a hook": """
        import sys, threading
        thread = threading.Thread(target=lambda: 1 / 0, name='worker')
        thread.start(); thread.join()
        sys.excepthook = lambda *what: print('hooked', what[0], what[2].tb_frame.f_code.co_name, what[2].tb_next)
        [][0]
    """,
    "a syntax error": "print('never')\ndef (:\n",
    "an encoding": "# -*- coding: latin-1 -*-\nprint(ascii('x'))\n",
    "a wrong encoding": "# -*- coding: nonsense -*-\nprint('never')\n",
    "an exit status": "import sys\nprint('partly', end='')\nsys.exit(41)\n",
    "an exit with a text": "raise SystemExit('it was all in vain')\n",
    "an exit at once": "import os\nprint('kept back')\nos._exit(5)\n",
    "an interrupt": "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n",
    "an end by a signal": "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)\n",
    "an abort": "import os\nprint('before', flush=True)\nos.abort()\n",
    "a closed pipe": """
        import os, signal
        read, write = os.pipe()
        os.close(read)
        try:
            os.write(write, b'x')
        except BrokenPipeError as error:
            print(error)
    """,
    "threads that outlast the main one": """
        import threading, time, atexit
        atexit.register(print, 'last')
        def work():
            time.sleep(0.2)
            print('thread done')
        threading.Thread(target=work).start()
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        print('main done')
    """,
    "what objects do at the end": """
        import atexit, sys, weakref
        class Last:
            def __del__(self):
                print('deleted', sys is not None)
        last = Last()
        weakref.finalize(last, print, 'finalized')
        atexit.register(print, 'first registered, last called')
        file = open('open', 'w')
        file.write('never closed')
    """,
    "processes of multiprocessing": """
        import multiprocessing, os, sys
        class Point:
            def __init__(self, x): self.x = x
        def square(point):
            return Point(point.x ** 2), __name__ in ('__main__', '__mp_main__'), os.getcwd() == sys.argv[0] or sys.argv
        if __name__ == '__main__':
            for method in ('fork', 'spawn', 'forkserver'):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    print(method, [(point.x, *rest) for point, *rest in pool.map(square, map(Point, range(3)))])
    """,
    "pickles of what the script defines": """
        import pickle
        class Model:
            pass
        data = pickle.dumps(Model)
        print(data, pickle.loads(data) is Model, Model.__module__, Model.__qualname__)
        open('model', 'wb').write(data)
    """,
    "children": """
        import os, subprocess, sys
        done = subprocess.run([sys.executable, '-c', 'import sys, os; print(sys.argv, sys.path, os.getcwd(), sorted(os.environ))'],
                              capture_output=True, text=True)
        print(done, flush=True)
        print(os.system('echo from a shell; exit 3'), sorted(os.environ))
    """,
    "random numbers that were set": """
        import random, hashlib
        random.seed(7)
        print(random.random(), hash('a') if __import__('os').environ.get('PYTHONHASHSEED') else '')
    """,
    "warnings": """
        import warnings
        warnings.warn('mine')
        warnings.warn('from above', stacklevel=4)
        import logging
        logging.warning('logged')
        logging.getLogger('x').error('with a stack', stack_info=True)
    """,
    "the folders beside it": """
        import beside, package.inner
        print(beside.__file__, package.inner.__name__, beside.value)
    """,
    "much output": "for n in range(20_000): print('line', n)\nimport sys; sys.stderr.write('x' * 200_000)\n",
}
BESIDE = {"beside.py": "value = 3\n", "package/__init__.py": "", "package/inner.py": "import beside\n"}


@pytest.mark.parametrize("what", SCRIPTS)
def test_a_script_is_the_same_warm_and_cold(what, executor, order):
    cold, expected = seen(executor, order(SCRIPTS[what], files=BESIDE, cold=True))
    warm, found = seen(executor, order(SCRIPTS[what], files=BESIDE))
    assert (cold, warm) == ("cold", "warm"), executor.said
    assert found == expected
    assert executor.used_ahead == 1
    # Another of the same parent: what one has done is not there for the next. This one is forked when it is ordered.
    executor._ahead = 0
    assert seen(executor, order(SCRIPTS[what], files=BESIDE)) == ("warm", expected)
    assert executor.used_ahead == 1


@pytest.mark.parametrize("what", ["what a script sees of its start", "an exception that nobody catches", "warnings"])
@pytest.mark.parametrize(
    "how",
    [
        {"hook": True},
        {"env": {"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "5", "PYTHONIOENCODING": "latin-1:replace"}},
        {"env": {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error::UserWarning", "PYTHONDONTWRITEBYTECODE": "1"}},
        {"command": ["package/deep.py", "a b"]},
        {"command": ["-m", "package.deep", "--x", "1"]},
        {"command": ["-m", "package"]},
        {"command": ["-m", "package.absent"]},
    ],
    ids=str,
)
def test_it_is_the_same_however_it_is_started(what, how, executor, order):
    files = {**BESIDE, "package/deep.py": SCRIPTS[what], "package/__main__.py": SCRIPTS[what]}
    _, expected = seen(executor, order(SCRIPTS[what], files=files, cold=True, **how))
    warm, found = seen(executor, order(SCRIPTS[what], files=files, **how))
    expected, found = [(*each[:1], *map(_tidy, each[1:3]), each[3]) for each in (expected, found)]
    assert warm == "warm" and executor.used_ahead == 1, executor.said
    assert found == expected


def _tidy(text):
    """Without the list of our modules: those that a recorded script comes to need are there already."""
    return "\n".join(line for line in text.splitlines() if "'larder.capture'" not in line)


LIBRARY = """
    import random, sys, os
    try:
        import numpy
        theirs = numpy.random.default_rng()
        fixed = numpy.random.default_rng(4)
        old = numpy.random.RandomState()
    except ImportError:
        pass
    mine = random.Random()
    constant = random.Random(3)
    seen_at_import = os.path.exists('settings.toml')
    folder = os.path.abspath('.')
"""


@pytest.fixture
def library(tmp_path):
    """A folder of installed packages; a function that puts one there and answers the environment with it."""
    place = tmp_path / "site-packages"
    place.mkdir()

    def library(name, text):
        (place / f"{name}.py").write_text(textwrap.dedent(text))
        return {"PYTHONPATH": str(place)}

    return library


def test_what_was_drawn_at_the_import_is_drawn_anew_and_what_was_set_stays(executor, order, library):
    env = library("lib", LIBRARY)
    script = """
        import json, lib, random, numpy
        print(json.dumps({
            "anew": [random.random(), lib.mine.random(), numpy.random.random(), lib.theirs.random(), lib.old.random()],
            "same": [lib.constant.random(), lib.fixed.random(), lib.folder],
        }))
    """
    told = []
    for cold, ahead in ((True, 0), (False, 1), (False, 1), (False, 0)):
        executor._ahead = ahead
        start, (code, out, err, _) = seen(executor, order(script, env=env, imports=("numpy", "lib"), cold=cold))
        assert (start, code, err) == ("cold" if cold else "warm", 0, ""), executor.said
        told.append(json.loads(out))
    assert executor.used_ahead == 2
    assert all(each["same"] == told[0]["same"] for each in told)
    assert all(len(set(values)) == 4 for values in zip(*(each["anew"] for each in told), strict=True))


def test_a_file_that_an_import_looks_for_in_the_working_folder_makes_it_cold(executor, order, library):
    env = library("lib", LIBRARY)
    script = "import lib; print(lib.seen_at_import)"
    assert seen(executor, order(script, env=env, imports=("lib",)))[0] == "warm"
    start, (_, out, _, _) = seen(executor, order(script, env=env, imports=("lib",), files={"settings.toml": ""}))
    assert (start, out) == ("cold", "True\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True, name='pump').start()",
         "threads: pump"),
        ("import socket\nheld = socket.socketpair()", "open"),
        ("import os\nheld = [os.getcwd()]", "working folder"),
        ("print('hello from lib')", "prints"),
        ("import random\nrandom.seed(3)", "random"),
        ("import sys, os\nos._exit(3)", "does not serve"),
    ],
)  # fmt: skip
def test_what_cannot_be_forked_starts_cold_or_is_left_out_and_is_said(text, why, executor, order, library):
    env = library("lib", text)
    script = "import sys; early = 'lib' in sys.modules\nprint(early)"
    start, (code, out, err, _) = seen(executor, order(script, env=env, imports=("lib",)))
    assert (code, out, err) == (0, "False\n", "")
    assert any(why in line for line in executor.said), executor.said
    assert (start == "warm") == (why in ("prints", "random"))


def test_an_import_that_fails_is_left_out_and_said(executor, order, library):
    env = library("lib", "raise RuntimeError('no GPU here')")
    script = "import sys\ntry:\n    import lib\nexcept RuntimeError as error:\n    print(error)"
    start, (_, out, _, _) = seen(executor, order(script, env=env, imports=("lib", "absent", "json.tool")))
    assert (start, out) == ("warm", "no GPU here\n")
    assert any("no GPU here" in line and "absent" in line for line in executor.said)


def test_a_library_that_was_changed_is_imported_anew(executor, order, library):
    env = library("lib", "value = 1")
    script = "import sys; early = 'lib' in sys.modules\nimport lib; print(lib.value, early)"
    assert seen(executor, order(script, env=env, imports=("lib",)))[1][1] == "1 True\n"
    library("lib", "value = 2  # longer")
    assert seen(executor, order(script, env=env, imports=("lib",)))[1][1] == "2 True\n"


def test_a_module_beside_the_script_takes_the_place_of_an_installed_one(executor, order, library):
    env = library("lib", "value = 1")
    script = "import lib; print(lib.value)"
    assert seen(executor, order(script, env=env, imports=("lib",)))[0] == "warm"
    start, (_, out, _, _) = seen(executor, order(script, env=env, imports=("lib",), files={"lib.py": "value = 3"}))
    assert (start, out) == ("cold", "3\n")
    start, (_, out, _, _) = seen(executor, order(script, env=env, imports=("lib",), files={"json/__init__.py": ""}))
    assert start == "cold"


@pytest.mark.parametrize(
    "command",
    [["-c", "print(1)"], ["-u", "script.py"], ["./script.py"], ["absent.py"], ["script"], ["-"], ["-m"]],
    ids=str,
)
def test_other_commands_start_cold(command, executor, order):
    start, _ = seen(executor, order("print(1)", files={"script": "print(2)"}, command=command))
    assert start == "cold"


def test_the_first_starts_cold_and_the_next_warm_and_variables_make_a_kind(order):
    executor = WarmExecutor(most=2)
    try:
        assert seen(executor, order("print(1)"))[0] == "cold"
        assert executor.ready(order("print(1)"), 60)
        assert seen(executor, order("print(1)", env={"LARDER_RUN": "b", "LARDER_TOKEN": "c"}))[0] == "warm"
        for number in range(3):
            one = order("print(1)", env={"OMP_NUM_THREADS": str(number)})
            assert seen(executor, one)[0] == "cold"
            assert executor.ready(one, 60)
        assert not executor.ready(order("print(1)"))  # only two are kept
        assert len(executor._parents) == 2
    finally:
        executor.close()
    assert not executor._parents


def test_a_parent_that_nobody_asks_is_ended_and_one_that_died_replaced(order):
    executor = Eager(idle=0.5)
    try:
        assert seen(executor, order("print(1)"))[0] == "warm"
        parent = next(iter(executor._parents.values()))
        parent._process.kill()
        assert seen(executor, order("print(1)"))[1][:2] == (0, "1\n")  # perhaps before its death is known
        assert seen(executor, order("print(1)"))[0] == "warm"
        until = time.monotonic() + 30
        while executor._parents and time.monotonic() < until:
            time.sleep(0.05)
        assert not executor._parents
    finally:
        executor.close()


def test_it_keeps_the_promises_of_an_executor():
    checks.check_executor("tests.client.agent.test_warm:eager")


# -- processes that wait for their order -------------------------------------------------------------------------------


def gone(*pids):
    """Whether these processes end."""
    return eventually(lambda: not any(map(alive, pids)))


def eventually(question):
    """Whether it is true within a minute."""
    until = time.monotonic() + 60
    while not question():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def keeper_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def reserved(executor):
    """The control groups of those that wait."""
    return [place for folder in executor._found().folders.values() for place in folder.glob("larder-ahead-*")]


def test_who_waits_is_in_its_control_groups_before_it_has_an_order_and_has_the_limits_of_the_order(executor, order):
    if "pids" not in executor._found().folders:
        pytest.skip("no control group may be made here")
    script = """
        import pathlib
        print(pathlib.Path("/proc/self/cgroup").read_text().count("larder-ahead-"), flush=True)
        import os, time
        while True:
            try:
                os.fork()
            except OSError:
                time.sleep(60)
    """
    one = order(script, extra={"limits": Limits(processes=40)})
    standby = executor.prepare(one)
    groups = Path(f"/proc/{standby.pid}/cgroup").read_text()
    assert groups.count(standby.name) >= 1
    place = executor._found().folders["pids"] / f"larder-{standby.name}"
    assert (place / "pids.max").read_text().strip() == "max"
    running = executors.Running(executor, one)
    running.says("1")
    assert running.execution.pid == standby.pid
    assert (place / "pids.max").read_text().strip() == "40"
    assert len((place / "cgroup.procs").read_text().split()) <= 40
    running.execution.stop(force=True)
    assert running.done().exit.facts["limited_by"]["processes"].startswith("cgroup")
    assert eventually(lambda: not place.exists())


def test_an_order_with_other_limits_is_not_given_to_who_waits_in_other_groups(executor, order):
    if not {"pids", "cpu"} <= set(executor._found().folders):
        pytest.skip("no control group may be made here")
    standby = executor.prepare(order("print(1)", extra={"limits": Limits(processes=40)}))
    two = order("print(open('/proc/self/cgroup').read())", extra={"limits": Limits(processes=40, cpus=1)})
    done = executors.run(Plain(executor), two)
    assert done.exit.facts["start"] == "warm" and "ahead" not in done.out
    assert done.exit.facts["limited_by"].keys() == {"processes", "cpus"}
    assert executor.used_ahead == 0 and gone(standby.pid)


class Plain:
    """Starts as the executor does, without waiting before."""

    def __init__(self, executor):
        self.executor = executor

    def start(self, order):
        return WarmExecutor.start(self.executor, order)


@pytest.mark.parametrize("who", ["process", "keeper"])
def test_when_who_waits_was_killed_the_order_is_executed_all_the_same_and_once(who, executor, order):
    one = order("open('times', 'a').write('x')")
    standby = executor.prepare(one)
    victim = standby.pid if who == "process" else keeper_of(standby.pid)
    os.kill(victim, signal.SIGKILL)
    done = executors.run(Plain(executor), one)  # perhaps before its death is known
    assert done.exit.code == 0 and done.exit.facts["start"] == "warm"
    assert (one.work / "times").read_text() == "x"
    assert executor.used_ahead == 0
    assert gone(standby.pid)


def test_a_command_that_cannot_begin_is_told_by_who_waited(executor, order):
    one = order("print(1)", command=["-m", "json.tool"])
    executor.prepare(one)
    shutil.rmtree(one.work)
    with pytest.raises(FileNotFoundError, match="work"):
        WarmExecutor.start(executor, one)


def test_who_waits_ends_with_its_parent_and_its_executor(order):
    executor = Eager()
    try:
        first = executor.prepare(order("print(1)", extra={"limits": Limits(processes=40)}))
        kept = keeper_of(first.pid)
        executor._drop(*next(iter(executor._parents.items())))
        assert gone(first.pid, kept)
        second = executor.prepare(order("print(1)", extra={"limits": Limits(processes=40)}))
        kept = keeper_of(second.pid)
        names = [first.name, second.name]
    finally:
        executor.close()
    assert gone(second.pid, kept)
    assert not [place for place in reserved(executor) if place.name.removeprefix("larder-") in names]


def test_a_keeper_keeps_one_after_another_and_each_is_measured_and_stopped_alone(executor, order):
    busy = "import time\nheld = b'x' * (64 << 20)\nwhile time.process_time() < 0.5: pass\nopen('times', 'a').write('x')"
    one = order(busy)
    first = executor.prepare(one)
    running = executors.Running(executor, one)
    kept = keeper_of(first.pid)
    parent = executor._parents[executor.kind(one).key]
    assert eventually(lambda: parent.waits)  # with a keeper of its own, since the first is at work
    done = running.done()
    assert done.usage.cpu_seconds >= 0.5 and done.usage.peak_memory >= 64 << 20
    two = order("import time\nprint('ready', flush=True)\ntime.sleep(600)")
    parent.dismiss_standby()
    second = executor.prepare(two)
    assert keeper_of(second.pid) == kept and second.pid != first.pid
    late = executors.Running(executor, two)
    late.says("ready")
    running.execution.stop(force=True)  # too late for the one, and nothing to the other
    assert late.execution.wait(0.2) is None
    late.execution.stop()
    done = late.done()
    assert done.exit.code == -signal.SIGTERM and executor.used_ahead == 2
    assert done.usage.cpu_seconds < 0.4 and done.usage.peak_memory < 64 << 20


def test_a_word_that_came_too_late_for_a_keeper_does_not_reach_its_next_order(executor, order):
    one = order("print(1)")
    kept = keeper_of(executor.prepare(one).pid)
    running = executors.Running(executor, one)
    control = running.execution._control
    parent = executor._parents[executor.kind(one).key]
    assert eventually(lambda: parent.waits)
    assert eventually(lambda: b"code" in control.recv(10_000, socket.MSG_PEEK))  # ended, and the agent has not read it
    running.execution.stop()
    running.execution.stop(force=True)
    assert running.done().exit.code == 0
    parent.dismiss_standby()
    assert keeper_of(executor.prepare(one).pid) == kept
    assert executors.run(executor, one).out == "1\n"
    assert executor.used_ahead == 2


def test_it_loses_no_descriptors(order):
    def held():
        return len(os.listdir("/proc/self/fd"))

    before = held()
    executor = Eager()
    try:
        kept = []
        for _ in range(6):
            assert seen(executor, order("print(1)"))[0] == "warm"
            executor.prepare(order("print(1)"))
            kept.append(held())
        assert executor.used_ahead == 6
        assert max(kept[2:]) <= kept[1] + 2  # two keepers may wait, not more with each
    finally:
        executor.close()
    assert held() == before


def test_no_more_wait_than_shall_and_none_when_memory_is_short(order, monkeypatch):
    executor = WarmExecutor(ahead=1)
    monkeypatch.setattr(warming, "_MEMORY_PAUSE", 0.05)
    told = threading.Event()

    def available():
        told.set()
        return free

    def waiting(count):
        """Whether so many come to wait; what happens behind the starts is over when memory was looked at twice more."""
        return eventually(lambda: sum(parent.waits for parent in executor._parents.values()) == count)

    monkeypatch.setattr(warming, "_available_memory", available)
    free = float("inf")
    try:
        for number in range(2):
            one = order("print(1)", env={"OMP_NUM_THREADS": str(number)})
            assert seen(executor, one)[0] == "cold"
            assert executor.ready(one, 60)
            assert seen(executor, one)[0] == "warm"
            assert waiting(1)
        for _ in range(2):
            told.clear()
            assert told.wait(60)
        assert len(executor._parents) == 2 and waiting(1)
        free = 0.0
        assert waiting(0)
        assert seen(executor, one)[0] == "warm"
        for _ in range(2):
            told.clear()
            executor._owe(next(iter(executor._parents.values())), ())
            assert told.wait(60)
        assert waiting(0)
    finally:
        executor.close()


AGENT = """
import json, sys
from pathlib import Path
from larder.agent.executors import Limits, Order
from tests.client.agent.test_warm import Eager, keeper_of
work = Path(sys.argv[1])
executor = Eager()
order = Order(run="0" * 36, command=[sys.executable, "script.py"], folder=work, work=work, journals=work, env={},
              limits=Limits(processes=40))
standby = executor.prepare(order)
print(json.dumps([standby.pid, keeper_of(standby.pid), standby.name]), flush=True)
sys.stdin.read()
"""


def test_who_waits_does_not_outlive_a_killed_agent(tmp_path):
    (tmp_path / "script.py").write_text("open('executed', 'w')")
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, map(str, sys.path)))},
    )
    with agent:
        try:
            *pids, name = json.loads(agent.stdout.readline())
            assert all(map(alive, pids))
        finally:
            agent.kill()
    assert gone(*pids)
    assert not [place for place in reserved(WarmExecutor()) if place.name == f"larder-{name}"]
    assert not (tmp_path / "executed").exists()
