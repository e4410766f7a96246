"""The executors against the shipped suite of checks, and what it does not ask."""

import os
import sys
import textwrap
from pathlib import Path

import pytest

from larder.agent.executors import Limits, Order
from larder.agent.executors import container as containers
from larder.agent.executors import limits as groups
from larder.agent.executors.container import Engine
from larder.agent.executors.process import ProcessExecutor
from larder.checks import Failed, check_executor
from larder.checks.executors import NAMES, Bench, run
from tests.client.agent import images

PROCESS = "larder.agent.executors.process:ProcessExecutor"


@pytest.mark.parametrize("name", NAMES)
def test_the_process_executor_keeps_its_promises(name):
    check_executor(PROCESS, only=[name])


def without_groups() -> ProcessExecutor:
    """As on a machine where no control group may be made."""
    executor = ProcessExecutor()
    executor._places = groups.Places()
    return executor


@pytest.mark.parametrize("name", ["whole_tree", "memory_limit", "deaf", "agent_killed"])
def test_it_keeps_them_without_control_groups(name):
    check_executor("tests.client.agent.test_executors:without_groups", only=[name])


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Engine:
    found = [engine for engine in map(containers.find_engine, containers.ENGINES) if engine is not None]
    if not found:
        pytest.skip("neither podman nor docker works here")
    images.build(found[0], tmp_path_factory.mktemp("image"))
    executor = images.make()
    bench = Bench(tmp_path_factory.mktemp("trial"), python=images.PYTHON, image=images.NAME, readable=())
    try:
        done = run(executor, bench.order("sh", "-c", "echo works"))
        if done.out != "works\n":
            pytest.skip(f"{found[0].program} cannot start a container here: {done.err.strip()[-300:]}")
    except OSError as error:
        pytest.skip(f"{found[0].program} cannot start a container here: {error}")
    finally:
        executor.close()
    return found[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_the_container_executor_keeps_its_promises(engine, name):
    check_executor("tests.client.agent.images:make", python=images.PYTHON, image=images.NAME, only=[name])


@pytest.mark.slow
def test_a_container_sees_only_what_it_needs_and_leaves_nothing(engine, tmp_path):
    bench = Bench(tmp_path, python=images.PYTHON, image=images.NAME, readable=[tmp_path / "readable"])
    (tmp_path / "readable").mkdir()
    (tmp_path / "secret").write_text("of somebody else")
    executor = images.make()
    text = f"""
    import os
    print(os.path.exists({str(tmp_path / "secret")!r}), os.getuid() == {os.getuid()})
    try:
        open({str(tmp_path / "readable" / "x")!r}, "w")
    except OSError as error:
        print("read only")
    print(int(open("/proc/self/status").read().partition("CapEff:")[2].split()[0], 16))
    print(open("/proc/self/status").read().partition("NoNewPrivs:")[2].split()[0])
    """
    try:
        order = bench.script(text, env={"LARDER_TOKEN": "word-of-nobody"})
        done = run(executor, order)
        assert done.out == "False True\nread only\n0\n1\n", done
        assert done.exit.facts["image"] == images.NAME and "sha256:" in done.exit.facts["image_digest"]
        assert not engine("ps", "-aq", "--filter", "label=larder.agent")
    finally:
        executor.close()


# -- pure ------------------------------------------------------------------------------------------------------------


def order(tmp_path: Path, **fields: object) -> Order:
    values = {
        "run": "0" * 36, "command": ["python3", "train.py"], "folder": tmp_path, "work": tmp_path,
        "journals": tmp_path / "journals", "env": {"LARDER_TOKEN": "secret", "PATH": "/host/bin", "TZ": "UTC", "MINE": "x"},
    }  # fmt: skip
    return Order(**(values | fields))


def test_a_container_is_closed_and_its_secrets_stand_in_no_list_of_processes(tmp_path):
    engine = Engine(program="/usr/bin/podman", version="5", rootless=True, limits=True, init=True)
    given = order(tmp_path, limits=Limits(memory=10**9, cpus=1.5, processes=64, gpus=(2, 3)), image="python:3.11")
    env = containers.environment(given)
    line = " ".join(containers.arguments(engine, given, image="python:3.11", name="x", env=env))
    for part in (
        "--cap-drop all", "--security-opt no-new-privileges", "--network host", "--userns keep-id", "--init",
        "--memory=1000000000 --memory-swap=1000000000", "--cpus=1.5", "--pids-limit=64",
        "--device nvidia.com/gpu=2 --device nvidia.com/gpu=3", f"--user {os.getuid()}:{os.getgid()}",
        f"type=bind,source={tmp_path},target={tmp_path} ", "--env LARDER_TOKEN", "--env MINE",
    ):  # fmt: skip
        assert part in line, part
    assert "secret" not in line and "privileged" not in line.replace("no-new-privileges", "")
    assert "PATH" not in env and env["CUDA_VISIBLE_DEVICES"] == "0,1"
    docker = Engine(program="/usr/bin/docker", version="27", rootless=False, limits=True, init=True)
    assert '--gpus "device=2,3"' in " ".join(containers.arguments(docker, given, image="x", name="x", env=env))


def test_an_order_that_a_container_cannot_see_is_refused_with_a_sentence(tmp_path):
    executor = containers.ContainerExecutor(Engine(program="podman", version="", rootless=True, limits=True, init=True))
    with pytest.raises(OSError, match="names no image"):
        executor.start(order(tmp_path))
    with pytest.raises(OSError, match="was not recorded"):
        executor.start(order(tmp_path, image="x", folder=Path("/elsewhere")))


def test_where_groups_are_made_is_read_from_the_mounts(tmp_path):
    (tmp_path / "mountinfo").write_text(
        "31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "32 25 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    )
    mounts = groups._mounts((tmp_path / "mountinfo").read_text())
    assert mounts["memory"] == (Path("/sys/fs/cgroup/memory"), "/docker/abc") and mounts["cpu"][1] == "/"
    own = groups._own("4:memory:/docker/abc/x\n3:cpu,cpuacct:/\n0::/user\n")
    assert own == {"memory": "/docker/abc/x", "cpu": "/", "cpuacct": "/", "": "/user"}
    assert groups._below(mounts["memory"], own["memory"]) == Path("/sys/fs/cgroup/memory/x")
    assert groups._below(mounts[""], own[""]) == Path("/sys/fs/cgroup/unified/user")


def delegated(folder: Path, *, processes: str) -> groups.Places:
    for name, text in {
        "cgroup.controllers": "cpu memory pids io", "cgroup.subtree_control": "", "cgroup.procs": processes,
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    return groups._delegated(folder)


def test_a_group_of_version_2_is_used_only_where_nobody_else_lives_in_it(tmp_path):
    other, own = tmp_path / "other", tmp_path / "own"
    other.mkdir(), own.mkdir()
    assert delegated(other, processes=f"{os.getpid()}\n1\n").folders == {}
    assert not (other / "agent").exists()
    delegated(own, processes=f"{os.getpid()}\n")
    assert (own / "agent" / "cgroup.procs").read_text() == str(os.getpid())


def test_limits_of_version_2_are_written_as_its_kernel_reads_them(tmp_path):
    places = groups.Places(version=2, folders=dict.fromkeys(("memory", "pids", "cpu"), tmp_path))
    made = groups.make(places, "x", Limits(memory=10**9, processes=64, cpus=1.5))
    folder = tmp_path / "larder-x"
    assert (folder / "memory.max").read_text() == "1000000000" and (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "pids.max").read_text() == "64" and (folder / "cpu.max").read_text() == "150000 100000"
    assert made.join == [f"{folder}/cgroup.procs"] and made.events == [(f"{folder}/memory.events", "oom_kill")]
    assert made.means == {"memory": "cgroup v2", "processes": "cgroup v2", "cpus": "cgroup v2"}


def test_the_means_of_the_limits_are_said(tmp_path):
    executor = without_groups()
    try:
        bench = Bench(tmp_path, python=sys.executable, image="", readable=())
        done = run(executor, bench.order("true", limits=Limits(memory=10**9, processes=100, cpus=1)))
        told = done.exit.facts["limited_by"]
        assert "watched" in told["memory"] and told["cpus"] == "not limited" and told["processes"]
    finally:
        executor.close()


# -- the suite itself ------------------------------------------------------------------------------------------------


class Careless(ProcessExecutor):
    """Ends only the command, not its children: what the suite has to find."""

    def _request(self, order, group):
        request, means = super()._request(order, group)
        request["command"] = ["sh", "-c", 'setsid sh -c "sleep 30" & exec "$@"', "sh", *request["command"]]
        request["env"]["LARDER_CHECK"] = str(order.work)
        return request, means

    def _start(self, order, *, after=()):
        execution = super()._start(order, after=after)
        wait = execution.wait
        execution.wait = lambda timeout=None: _renumbered(wait(timeout))
        return execution


def _renumbered(exit):
    return exit and type(exit)(code=abs(exit.code), facts=exit.facts)


def test_the_suite_finds_what_is_wrong():
    with pytest.raises(Failed, match=r"dies of SIGKILL has the exit code -9"):
        check_executor(Careless, only=["signals"])
    with pytest.raises(Failed, match="memory"):
        check_executor(Careless, only=["memory_limit"])


def test_a_fork_server_that_was_killed_is_started_again(tmp_path):
    executor = ProcessExecutor()
    bench = Bench(tmp_path, python=sys.executable, image="", readable=())
    try:
        assert run(executor, bench.order("echo", "one")).out == "one\n"
        executor._server._process.kill()
        executor._server._process.wait()
        assert run(executor, bench.order("echo", "two")).out == "two\n"
    finally:
        executor.close()


def test_the_code_that_keeps_executions_runs_in_old_interpreters():
    source = Path(sys.modules["larder.agent.executors.keeper"].__file__).read_text()
    import ast

    ast.parse(source, feature_version=(3, 8))
    imported = {
        line.split()[1].partition(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))
    }
    assert imported <= set(sys.stdlib_module_names), textwrap.dedent(str(imported))
