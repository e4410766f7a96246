"""Runs on other machines, each scenario as a user goes through it; a machine is an agent with a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import larder
from larder import config
from larder.agent import environments
from larder.agent.executors.container import ContainerExecutor, Engine
from larder.checks.executors import Bench
from larder.checks.executors import run as execute
from tests.client.agent import images
from tests.client.agent.wheels import make_wheel
from tests.journeys.conftest import Up, eventually, fetch

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

GIGABYTE = 10**9


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One server for all scenarios; each has a project, queues and machines of its own."""
    made = Up(home=tmp_path_factory.mktemp("anywhere") / "server").start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _signed_in(server: Up) -> None:
    config.save(config.Config(server.url, server.token, config.home()))


Machine = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def machine(server: Up, tmp_path: Path) -> Iterator[Machine]:
    """Starts agents: `machine("lab", "--queue", "gpu")`; they end after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *options: str, **environment: str) -> subprocess.Popen[str]:
        home = tmp_path / "machines" / name
        home.mkdir(parents=True)
        env = {**os.environ, "LARDER_HOME": str(home), "LARDER_URL": server.url, "LARDER_TOKEN": server.token}
        agent = subprocess.Popen(
            [sys.executable, "-m", "larder.cli", "agent", "start", "--name", name, "--grace", "1", *options],
            cwd=home, env={**env, **environment}, text=True, stderr=open(home / "agent.log", "w"),
        )  # fmt: skip
        started.append(agent)
        return agent

    yield start
    for agent in started:
        agent.send_signal(signal.SIGTERM)
    for agent in started:
        agent.wait(timeout=30)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A git repository to work in, with something that was never committed."""
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "readme.txt").write_text("ours\n")
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "a step"]):
        subprocess.run(
            ["git", "-c", "user.name=evi", "-c", "user.email=e@example.org", *command], cwd=folder, check=True
        )
    (folder / "readme.txt").write_text("ours, changed\n")
    (folder / "notes.txt").write_text("untracked\n")
    return folder


def command(*arguments: str, folder: Path | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    environment = options.pop("environment", {})
    return subprocess.run(
        [sys.executable, "-m", "larder.cli", *arguments],
        cwd=folder, env={**os.environ, **environment}, text=True, capture_output=True, timeout=200, **options,
    )  # fmt: skip


def said(*arguments: str) -> object:
    """The JSON that a command prints."""
    done = command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def submitted(folder: Path, *arguments: str, status: int = 0) -> "larder.RecordedRun":
    """`larder run …` with a queue; stdout begins with the run's id."""
    done = command("run", *arguments, folder=folder)
    assert done.returncode == status, done.stderr
    return larder.run(done.stdout.splitlines()[0])


def script(folder: Path, code: str, name: str = "train.py") -> str:
    (folder / name).write_text(code)
    return name


def at_work(run: "larder.RecordedRun") -> bool:
    return run.refresh().status == "running"


TRAIN = """\
import argparse, pathlib
import larder
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--steps", type=int, default=10)
args = parser.parse_args()
run = larder.init()
for step in range(args.steps):
    run.log({"loss": args.lr / (step + 1)}, step=step)
print("read", pathlib.Path("readme.txt").read_text().strip(), pathlib.Path("notes.txt").exists(), pathlib.Path.cwd())
"""


# -- E1, E2: clone and enqueue, execute on another machine -----------------------------------------------------------


def test_e1_an_experiment_is_cloned_with_one_change_and_executes_the_same_code(desk, machine):
    original = submitted(desk, "-p", "e1", "--queue", "e1", "--", sys.executable, script(desk, TRAIN), "--lr", "0.1")
    script(desk, "raise SystemExit('the user has edited on')")
    machine("lab", "--queue", "e1")
    assert original.wait(60).status == "completed", original.reason
    assert original.params == {"lr": 0.1, "steps": 10} and original.metrics["loss"].count == 10
    read = original.logs()
    assert "ours, changed True" in read and str(desk) not in read
    clone = larder.run(
        command("runs", "clone", original.short, "-P", "lr=0.5", "--enqueue", "e1", "--wait").stdout.strip()
    )
    assert clone.status == "completed" and clone.metrics["loss"].max == 0.5
    found = larder.compare(original, clone)
    assert found.params == {"lr": [0.1, 0.5]} and not found.facts
    assert clone.commit == original.commit and clone.facts["code"]["tree"] == original.facts["code"]["tree"]


def test_e1_a_clone_executes_another_commit_of_the_repository(desk, machine, tmp_path):
    def git(*arguments: str, folder: Path = desk) -> str:
        said = ["git", "-c", "user.name=evi", "-c", "user.email=e@example.org", *arguments]
        return subprocess.run(said, cwd=folder, check=True, text=True, capture_output=True).stdout.strip()

    git("clone", "-q", "--bare", str(desk), str(tmp_path / "central.git"))
    git("remote", "add", "origin", str(tmp_path / "central.git"))
    script(desk, TRAIN)
    git("add", ".")
    git("commit", "-q", "-m", "first")
    git("push", "-q", "origin", "main")
    original = submitted(desk, "-p", "e1", "--queue", "e1-commit", "--", sys.executable, "train.py", "--lr", "0.1")
    script(desk, TRAIN.replace("args.lr / (step + 1)", "args.lr * 100"))
    git("commit", "-q", "-am", "second")
    git("push", "-q", "origin", "main")
    refused = command("runs", "clone", original.short, "--commit", "no-such-branch", folder=desk)
    assert refused.returncode == 2 and "git knows no commit no-such-branch" in refused.stderr
    machine("lab", "--queue", "e1-commit")
    assert original.wait(60).status == "completed", original.reason
    done = command("runs", "clone", original.short, "--commit", "main", "--enqueue", "e1-commit", "--wait", folder=desk)
    assert done.returncode == 0, done.stderr
    clone = larder.run(done.stdout.strip())
    assert original.metrics["loss"].last == pytest.approx(0.01) and clone.metrics["loss"].last == pytest.approx(10.0)
    assert clone.commit == git("rev-parse", "HEAD") != original.commit


def test_e2_jobs_from_the_sdk_and_from_http_execute_on_a_gpu_of_another_machine(
    desk, machine, server, smi, monkeypatch
):
    machine("gpu-box", "--queue", "e2", "--gpus", "0", PATH=smi)
    monkeypatch.chdir(desk)
    name = script(desk, "import os; print('sees', os.environ['CUDA_VISIBLE_DEVICES'])")
    run = larder.submit([sys.executable, name], queue="e2", needs="gpus=1", project="e2", tags=["from-sdk"])
    assert run.wait(60).status == "completed", run.reason
    assert run.facts["execution"]["agent"] == "gpu-box" and "sees 0" in run.logs() and run.tags == ["from-sdk"]
    body = b"{}"
    _, _, copy = fetch(f"{server.url}/v1/runs/{run.id}/clone", token=server.token, method="POST", body=body)
    clone = json.loads(copy)["id"]
    address = f"{server.url}/v1/runs/{clone}/enqueue"
    assert fetch(address, token=server.token, method="POST", body=b'{"queue": "e2"}')[0] == 200
    again = larder.run(clone).wait(60)
    assert again.status == "completed" and again.facts["execution"]["gpus"] == [0]
    assert [agent["name"] for agent in said("agents", "ls") if "e2" in agent["queues"]] == ["gpu-box"]


def test_a_folder_without_git_goes_along_and_its_console_is_followed(machine, tmp_path):
    folder = tmp_path / "plain"
    (folder / "steps").mkdir(parents=True)
    (folder / "recipe.yaml").write_text("flour: 1\n")
    (folder / ".env").write_text("PASSWORD=1\n")
    script(
        folder / "steps",
        "import os, sys\nprint(os.listdir('.'), open('recipe.yaml').read())\nprint('bad', file=sys.stderr)\n",
    )
    machine("lab", "--queue", "plain")
    asked = ["-p", "plain", "--queue", "plain", "--follow", "--", sys.executable, "steps/train.py", "--api-key", "x1"]
    done = command("run", *asked, folder=folder)
    assert done.returncode == 0, done.stderr
    run_id, shown, *_ = done.stdout.splitlines()
    assert "recipe.yaml" in shown and ".env" not in shown and "bad" in done.stderr.splitlines()
    run = larder.run(run_id)
    assert run.status == "completed" and run.params == {"api_key": "***"} and run.facts["code"]["kind"] == "folder"


def test_what_cannot_be_submitted_is_refused_in_a_sentence(desk):
    for asked, words in (
        (["--queue", "no", "--", "no-such-program"], "no such command"),
        (["--queue", "no", "--needs", "gpu=1", "--", "true"], "no need 'gpu'"),
        (["--needs", "gpus=1", "--", "true"], "--needs needs --queue"),
        (["--queue", "no", "--image", "a", "--needs", "image=b", "--", "true"], "contradict"),
        (["--queue", "no", "--nproc-per-node", "2", "--", "true"], "several processes"),
    ):
        refused = command("run", *asked, folder=desk)
        assert refused.returncode == 2 and words in refused.stderr and not refused.stdout, refused.stderr
    assert not larder.runs(project="no")


# -- E3: a dependency is added --------------------------------------------------------------------------------------


@pytest.mark.skipif(not environments.installer(), reason="uv is not installed")
def test_e3_an_added_dependency_is_enough_and_its_environment_is_built_once(desk, machine, tmp_path):
    make_wheel(tmp_path / "wheels", "oven", "1.2")
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    name = script(desk, "import oven\nprint('oven', oven.VERSION)\n")
    machine("lab", "--queue", "e3", UV_FIND_LINKS=str(tmp_path / "wheels"), UV_NO_INDEX="1", UV_OFFLINE="1",
            UV_CACHE_DIR=str(tmp_path / "uv-cache"))  # fmt: skip
    run = submitted(desk, "-p", "e3", "--queue", "e3", "--wait", "--", str(bare / "bin/python"), name, status=1)
    assert run.status == "failed" and "No module named 'oven'" in run.reason
    firsts = command("runs", "clone", run.id, "--with", "oven>=1", "--enqueue", "e3", "--wait")
    first = larder.run(firsts.stdout.strip())
    assert first.status == "completed", first.reason
    assert "oven==1.2" in first.facts["environment"]["lock"] and "oven 1.2" in first.logs()
    second = first.clone().enqueue("e3").wait(60)
    assert second.status == "completed" and second.facts["environment"]["reused"]
    assert second.facts["environment"]["seconds"] <= 5


# -- E4: a few steps here first -------------------------------------------------------------------------------------


def test_e4_five_steps_run_here_first_and_the_remote_run_is_compared_with_them(desk, machine):
    machine("lab", "--queue", "e4")
    name = script(desk, TRAIN)
    done = command(
        "run", "-p", "e4", "--queue", "e4", "--dry-steps", "5", "--", sys.executable, name, "--steps", "40", folder=desk
    )
    assert done.returncode == 0, done.stderr
    head, *table = done.stdout.splitlines()
    assert table[0].split() == ["metric", "step", "local", "remote", "matches"]
    assert [line.split() for line in table[1:]] == [
        ["loss", str(step), f"{0.1 / (step + 1):.6g}", f"{0.1 / (step + 1):.6g}", "yes"] for step in range(5)
    ]
    remote = larder.run(head).wait(60)
    assert remote.status == "completed" and remote.metrics["loss"].count == 40
    (local,) = larder.runs(project="e4", where="tags has dry")
    assert local.metrics["loss"].count == 5 and local.id != remote.id and local.refresh().status == "completed"


def test_e4_a_remote_run_that_differs_is_said_to_and_goes_on(desk, machine):
    machine("lab", "--queue", "e4-off")
    name = script(desk, TRAIN.replace("args.lr / (step + 1)", "args.lr + step * 0.01 * ('LARDER_AGENT' in os.environ)").replace("import argparse", "import argparse, os"))  # fmt: skip
    asked = ["run", "-p", "e4-off", "--queue", "e4-off", "--dry-steps", "5", "--json", "--", sys.executable, name]
    done = command(*asked, folder=desk)
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert [pair["matches"] for pair in answer["compared"]] == [True, False, False, False, False]
    assert larder.run(answer["run"]["id"]).wait(60).status == "completed"
    done = command(*asked[:5], "--tolerance", "1", *asked[5:], folder=desk)
    assert done.returncode == 0, done.stderr


def test_e4_what_fails_here_is_not_put_into_a_queue(desk):
    name = script(desk, "raise SystemExit(3)")
    done = command(
        "run", "-p", "e4-no", "--queue", "e4-no", "--dry-steps", "5", "--", sys.executable, name, folder=desk
    )
    assert done.returncode == 3 and done.stdout == ""
    assert [run.tags for run in larder.runs(project="e4-no")] == [["dry"]]


# -- E5: nobody kills a colleague's job -------------------------------------------------------------------------------


@pytest.fixture
def smi(tmp_path: Path) -> str:
    """A PATH with a stand-in for nvidia-smi, which shows one GPU of 80 GB."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(
        f"""#!{sys.executable}
import sys
shown = {{"index": "0", "name": "Stand-in", "memory.total": "81920", "memory.used": "0", "utilization.gpu": "0",
         "power.draw": "50", "temperature.gpu": "40"}}
for argument in sys.argv:
    if argument.startswith("--query-gpu="):
        print(", ".join(shown[field] for field in argument.partition("=")[2].split(",")))
"""
    )
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


UNTIL = """\
import pathlib, sys, time
print("at work", flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.05)
"""


def test_e5_a_second_job_for_the_one_gpu_waits_until_the_first_has_ended(desk, machine, smi, tmp_path):
    name = script(desk, UNTIL)
    asked = ["-p", "e5", "--queue", "e5", "--needs", "gpus=1", "--", sys.executable, name]
    first, second = (submitted(desk, *asked, str(tmp_path / f"end{number}")) for number in (1, 2))
    machine("gpu-box", "--queue", "e5", "--slots", "2", PATH=smi)
    eventually(lambda: at_work(first), seconds=60)
    time.sleep(2)
    assert second.refresh().status == "queued"
    why = command("runs", "why", second.id)
    assert why.returncode == 0 and "gpu" in (why.stdout + why.stderr).lower()
    (tmp_path / "end1").touch()
    eventually(lambda: at_work(second), seconds=60)
    assert first.wait(60).status == "completed"
    (tmp_path / "end2").touch()
    assert second.wait(60).status == "completed" and second.started >= first.ended


def test_e5_jobs_that_declare_their_gpu_memory_share_a_gpu(desk, machine, smi, tmp_path):
    name = script(desk, UNTIL)
    asked = ["-p", "e5-share", "--queue", "e5-share", "--needs", "gpus=1,gpu_memory=30GB", "--", sys.executable, name]
    chosen = [submitted(desk, *asked, str(tmp_path / "end")) for _ in range(3)]
    machine("gpu-box", "--queue", "e5-share", "--slots", "4", PATH=smi)
    eventually(lambda: at_work(chosen[0]) and at_work(chosen[1]), seconds=60)
    time.sleep(2)
    assert chosen[2].refresh().status == "queued"  # 90 of 80 GB would be too much
    (tmp_path / "end").touch()
    assert [run.wait(60).status for run in chosen] == ["completed"] * 3
    assert [run.facts["execution"]["gpus"] for run in chosen] == [[0]] * 3


def test_e5_one_over_its_memory_dies_alone_and_is_said_to_with_its_peak(desk, machine, tmp_path):
    quiet = submitted(desk, "-p", "e5-memory", "--queue", "e5-memory", "--needs", "memory=300MB", "--",
                      sys.executable, script(desk, UNTIL), str(tmp_path / "end"))  # fmt: skip
    greedy = script(
        desk,
        "import time\nheld = []\nwhile True:\n    held.append(b'x' * 20_000_000)\n    time.sleep(0.02)\n",
        "greedy.py",
    )
    over = submitted(
        desk, "-p", "e5-memory", "--queue", "e5-memory", "--needs", "memory=300MB", "--", sys.executable, greedy
    )
    machine("lab", "--queue", "e5-memory", "--slots", "2")
    assert over.wait(120).status == "failed"
    assert over.record.cause == "out_of_memory" and "memory" in over.reason
    assert over.facts["execution"]["peak_memory"] > 200_000_000
    assert quiet.refresh().status == "running"
    (tmp_path / "end").touch()
    assert quiet.wait(60).status == "completed"


# -- E6: a container ------------------------------------------------------------------------------------------------


def engine_that_works(folder: Path) -> Engine:
    """The engine of this machine; skips the test with the reason where it can start no container."""
    executor = ContainerExecutor.find(image=images.NAME)
    if executor is None:
        pytest.skip("neither podman nor docker works here")
    images.build(executor.engine, folder)
    (folder / "trial").mkdir()
    bench = Bench(folder / "trial", python=images.PYTHON, image=images.NAME, readable=())
    try:
        done = execute(executor, bench.order("sh", "-c", "echo works"))
        if done.out != "works\n":
            pytest.skip(f"{executor.engine.program} can start no container here: {done.err.strip()[-300:]}")
    except OSError as error:
        pytest.skip(f"{executor.engine.program} can start no container here: {error}")
    finally:
        executor.close()
    return executor.engine


def test_e6_a_script_runs_unchanged_in_an_image_whose_digest_is_recorded(desk, machine, tmp_path):
    engine = engine_that_works(tmp_path)
    context = tmp_path / "image"
    context.mkdir()
    (context / "python3").write_text(f'#!/bin/sh\nexec {images.PYTHON} "$@"\n')
    (context / "python3").chmod(0o755)
    (context / "Containerfile").write_text(f"FROM {images.NAME}\nCOPY python3 /bin/python3\n")
    tag = "localhost/larder-test-my:tag"
    build = [engine.program, "build", "--tag", tag, "--file", str(context / "Containerfile"), str(context)]
    subprocess.run(build, check=True, capture_output=True)
    name = script(desk, "import os, pathlib\nprint('inside', pathlib.Path('notes.txt').exists(), os.getuid())\n")
    machine("box", "--queue", "e6")
    made = submitted(desk, "-p", "e6", "--queue", "e6", "--image", tag, "--wait", "--", "python3", name)
    assert made.status == "completed", made.reason
    execution = made.facts["execution"]
    assert execution["executor"] == "container" and execution["image"] == tag and "sha256:" in execution["image_digest"]
    assert "inside True" in made.logs()
    assert command("run", "--image", tag, "--", "true").returncode == 2  # only an agent starts containers


# -- E9: a failed run in a debugger, here -----------------------------------------------------------------------------


def test_e9_a_failed_run_is_debugged_here_with_its_code_and_parameters(desk, machine, tmp_path):
    code = TRAIN + "recipe = {'flour': args.lr}\nprint(recipe['butter'])\n"
    machine("lab", "--queue", "e9")
    run = submitted(
        desk, "-p", "e9", "--queue", "e9", "--wait", "--", sys.executable, script(desk, code), "--lr", "0.25", status=1
    )
    assert run.status == "failed" and "KeyError" in run.reason
    script(desk, "the user has edited on")
    done = command("debug", run.short, "--post-mortem", folder=tmp_path, input="p 'flour is', recipe['flour']\nq\n")
    assert "('flour is', 0.25)" in done.stdout, done.stdout + done.stderr
    assert run.refresh().status == "failed" and len(larder.runs(project="e9")) == 1


# -- Q1, Q2, Q3, Q5: queues ---------------------------------------------------------------------------------------------


def order_of(*chosen: "larder.RecordedRun") -> list[str]:
    return [run.name for run in sorted(chosen, key=lambda run: run.refresh().started or 0)]


def waiting(
    folder: Path, queue: str, names: list[str], *options: str, **more: object
) -> "dict[str, larder.RecordedRun]":
    """Drafts of one script in a queue, in order."""
    (folder / "nothing.py").write_text("print('done')\n")
    found = {}
    os.chdir(folder)
    for name in names:
        found[name] = larder.submit([sys.executable, "nothing.py"], queue, project=queue, name=name, **more)
    return found


def test_q1_a_job_is_moved_from_place_seven_to_the_first_and_the_next_agent_takes_it(desk, machine, monkeypatch):
    monkeypatch.chdir(desk)
    found = waiting(desk, "q1", [f"job{number}" for number in range(1, 9)])
    urgent = found["job7"]
    moved = command("queues", "move", urgent.short, "--queue", "q1", "--top")
    assert moved.returncode == 0 and "place 1." in moved.stderr
    assert said("queues", "show", "q1")[0]["subject"] == urgent.id
    machine("lab", "--queue", "q1")
    for run in found.values():
        assert run.wait(90).status == "completed"
    assert order_of(*found.values())[:3] == ["job7", "job1", "job2"]


def test_q2_what_a_person_waits_for_goes_before_fifty_trials(desk, machine, monkeypatch):
    monkeypatch.chdir(desk)
    trials = waiting(desk, "q2", [f"trial{number}" for number in range(50)], priority="automatic")
    mine = submitted(desk, "-p", "q2", "--name", "mine", "--queue", "q2", "--", sys.executable, "nothing.py")
    shown = said("queues", "show", "q2")
    assert shown[0]["subject"] == mine.id and shown[0]["priority"] == "human"
    assert {job["priority"] for job in shown[1:]} == {"automatic"}
    machine("lab", "--queue", "q2")
    assert mine.wait(60).status == "completed"
    assert all((run.refresh().started or time.time_ns()) > mine.started for run in trials.values())
    assert command("queues", "pause", "q2").returncode == 0  # what is left waits for nobody


def test_q2_what_a_run_puts_into_a_queue_is_automatic(desk, machine):
    machine("lab", "--queue", "q2-parent")
    name = script(desk, "import larder, sys\nrun = larder.submit([sys.executable, '-c', 'pass'], 'q2-child', project='q2-run')\nprint(run.id)\n")  # fmt: skip
    parent = submitted(desk, "-p", "q2-run", "--queue", "q2-parent", "--wait", "--", sys.executable, name)
    assert parent.status == "completed", parent.logs()
    (job,) = said("queues", "show", "q2-child")
    assert job["priority"] == "automatic" and job["subject"] in parent.logs()


def test_q3_a_queue_for_tuning_never_blocks_another(desk, machine, tmp_path):
    name = script(desk, UNTIL)
    tuning = [
        submitted(desk, "-p", "q3", "--queue", "q3-hpo", "--", sys.executable, name, str(tmp_path / "end"))
        for _ in range(3)
    ]
    machine("tuner", "--queue", "q3-hpo")
    machine("worker", "--queue", "q3-work")
    eventually(lambda: at_work(tuning[0]), seconds=60)
    mine = submitted(
        desk, "-p", "q3", "--queue", "q3-work", "--wait", "--", sys.executable, script(desk, "", "mine.py")
    )
    assert mine.status == "completed" and [run.refresh().status for run in tuning] == ["running", "queued", "queued"]
    (tmp_path / "end").touch()
    assert [run.wait(60).status for run in tuning] == ["completed"] * 3
    states = {agent["name"]: agent["queues"] for agent in said("agents", "ls")}
    assert states["tuner"] == ["q3-hpo"] and states["worker"] == ["q3-work"]


def test_q5_a_team_that_floods_the_queue_leaves_another_its_share(desk, machine, monkeypatch):
    monkeypatch.chdir(desk)
    tokens = {}
    for user, team in (("ann", "baking"), ("bob", "pricing")):
        done = command("tokens", "issue", user, "--role", "contributor")
        assert done.returncode == 0, done.stderr
        tokens[user] = done.stdout.strip()
        assert command("users", "team", user, team).returncode == 0
    assert command("queues", "set", "q5", "--share", "baking=1", "--share", "pricing=1").returncode == 0
    (desk / "nap.py").write_text("import time; time.sleep(1)\n")
    url = config.load().url

    def as_user(user: str, name: str) -> "larder.RecordedRun":
        transport = config.connect(config.Config(url, tokens[user], config.home()))
        return larder.submit([sys.executable, "nap.py"], "q5", project="q5", name=name, transport=transport)

    flood = [as_user("ann", f"ann{number}") for number in range(12)]
    machine("lab", "--queue", "q5", "--slots", "2")
    eventually(lambda: sum(run.refresh().status.final for run in flood) >= 1, seconds=60)
    one = as_user("bob", "bob0")
    one.wait(60)
    before = [run for run in flood if run.refresh().started and run.started < one.started and run.started > one.created]
    assert one.status == "completed" and len(before) <= 2  # within the length of one job on each of the slots
    assert any(not run.refresh().status.final for run in flood)
    for run in flood:
        run.refresh().status.final or run.stop()


# -- T7: watching ------------------------------------------------------------------------------------------------------


def test_t7_the_console_and_the_curves_of_a_remote_run_are_here_within_two_seconds(desk, machine):
    code = """
import time, larder
run = larder.init()
for step in range(6):
    now = time.time()
    run.log({"train/loss": now, "test/loss": now})
    print("line", now, flush=True)
    time.sleep(1)
"""
    machine("lab", "--queue", "t7")
    run = submitted(desk, "-p", "t7", "--queue", "t7", "--", sys.executable, script(desk, code))
    eventually(lambda: at_work(run), seconds=60)
    delays = []
    shown = subprocess.Popen(
        [sys.executable, "-m", "larder.cli", "logs", "-f", run.short], stdout=subprocess.PIPE, text=True, cwd=desk
    )
    for line in shown.stdout:
        if line.startswith("line "):
            delays.append(time.time() - float(line.split()[1]))
            eventually(lambda: "train/loss" in run.refresh().metrics)  # it is another journal than that of the console
            newest = run.metrics["train/loss"].last
            assert time.time() - newest <= 1 + 2 * 5  # the machines of tests are busy
    assert shown.wait(60) == 0 and len(delays) == 6
    assert sorted(delays)[2] <= 2  # what was printed before `logs` was there is older
    assert run.wait(60).status == "completed" and run.metrics["test/loss"].count == 6


# -- A3: continue from a checkpoint --------------------------------------------------------------------------------------

CHECKPOINTS = """\
import sys, larder
run = larder.init(continue_from=sys.argv[1]) if len(sys.argv) > 1 else larder.init()
weight = run.checkpoint.load()["weight"] if run.checkpoint else 0
print("begins at", run.step, "with", weight)
for step in range(run.step, run.step + 6):
    weight += 1
    run.log({"val/mae": abs(weight - 3)}, step=step)
    run.log_checkpoint({"weight": weight}, step=step)
"""


def test_a3_a_run_continues_from_the_best_checkpoint_of_another(desk, machine):
    machine("lab", "--queue", "a3")
    asked = ["-p", "a3", "--queue", "a3", "--wait", "--", sys.executable, script(desk, CHECKPOINTS)]
    first = submitted(desk, *asked)
    assert first.status == "completed" and first.metrics["val/mae"].min_step == 2
    second = submitted(desk, *asked, f"{first.id}@best:val/mae")
    assert second.status == "completed", second.logs()
    assert "begins at 3 with 3" in second.logs() and second.parent == first.id
    assert list(second.metrics("val/mae").steps) == list(range(3, 9))


# -- several processes of one run ----------------------------------------------------------------------------------------

RANKS = Path(__file__).with_name("ranks.py")


def torch_python() -> str:
    """An interpreter with torch and the client: ours, or the one that TORCH_PYTHON names."""
    named = os.environ.get("TORCH_PYTHON", sys.executable)
    asked = subprocess.run([named, "-c", "import torch.distributed, larder"], capture_output=True)
    return "" if asked.returncode else named


@pytest.mark.parametrize("where", ["here", "remote"])
def test_a_lost_rank_goes_on_from_the_last_checkpoint_in_one_run_without_a_gap(desk, machine, where, tmp_path):
    python = torch_python()
    if not python:
        pytest.skip("torch is not importable; TORCH_PYTHON names an interpreter that has it")
    name = script(desk, RANKS.read_text(), "ranks.py")
    asked = ["-p", f"ranks-{where}", "--nproc-per-node", "2", "--max-restarts", "1"]
    asked += ["--queue", "ranks", "--wait"] if where == "remote" else []
    if where == "remote":
        machine("lab", "--queue", "ranks")
    done = command("run", *asked, "--", python, name, "--die", str(tmp_path / "died"), folder=desk)
    assert done.returncode == 0, done.stderr[-3000:]
    (found,) = larder.runs(project=f"ranks-{where}")
    run = found.refresh()
    assert run.status == "completed" and run.params["lr"] == 0.05 and "nproc_per_node" not in run.params
    assert {name for name in run.metrics if not name.startswith("system/")} == {"train/loss", "rank.1/train/loss"}
    for metric in ("train/loss", "rank.1/train/loss"):
        assert list(run.metrics(metric).steps) == list(range(12))
    assert "rank 1 of 2 begins at step 4" in run.logs()


def test_several_processes_need_torch_and_a_script(desk, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    name = script(desk, "")
    for more in ([], ["--queue", "none"]):
        refused = command("run", "--nproc-per-node", "2", *more, "--", str(bare / "bin/python"), name, folder=desk)
        assert refused.returncode == 2 and "torch is not installed" in refused.stderr and refused.stdout == ""
    assert command("run", "--max-restarts", "2", "--", "true").returncode == 2
