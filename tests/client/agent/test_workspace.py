"""A leased run made ready: real repositories, the code fetched from a server in memory, no agent around it."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from larder import supervise
from larder.agent import workspace
from larder.agent.environments import Environments
from larder.agent.trees import Trees
from larder.capture import code
from larder.contract import queues, runs
from tests.client.agent.wheels import make_wheel, offline
from tests.client.capture.recorder import FakeRecord
from tests.client.fake_server import FakeServer

SCRIPT = """
import json, os, sys
print(json.dumps({"argv": sys.argv, "cwd": os.getcwd(), "executable": sys.executable, "path": sys.path}))
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Evi", "-c", "user.email=evi@example.org")
    return subprocess.run(
        ("git", *identity, *arguments), cwd=folder, capture_output=True, check=True, text=True
    ).stdout.strip()


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def settings(tmp_path: Path) -> workspace.Settings:
    home = tmp_path / "agent"
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "dough", "1.0")
    return workspace.Settings(
        home=home,
        environments=Environments(home / "environments", settings=offline(wheels)),
        trees=Trees(home / "trees"),
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A project with its script in a folder below, changed since its last, unpushed, commit."""
    root = tmp_path / "mine"
    (root / "src").mkdir(parents=True)
    git(root, "init", "--quiet")
    (root / "src" / "train.py").write_text("raise SystemExit('committed')\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    (root / "src" / "train.py").write_text(SCRIPT)
    (root / "new.txt").write_text("untracked\n")
    return root


def recorded(server: FakeServer, root: Path, tmp_path: Path, **fields: Any) -> runs.Run:
    """A run of `src/train.py` as the companion and `init` would have recorded it, on a machine that is gone."""
    record = FakeRecord(tmp_path / "record")
    code.Code(root).observe(record)
    command = {
        "argv": ["src/train.py", "--lr", "0.1", "--data", f"{root}/new.txt", "--out", "/elsewhere"],
        "executable": sys.executable,
        "cwd": str(root),
        "script": str(root / "src" / "train.py"),
        "env": {"OMP_NUM_THREADS": "3", "LANG": "xx"},
    }
    facts = {"command": command, "code": record.facts["code"]} | fields.pop("facts", {})
    run = server.add(facts=facts, **fields)
    for name, folder in record.artifacts.items():
        server.add_artifact(run, name, "code", {path.name: path.read_bytes() for path in folder.iterdir()})
    return run


def prepare(run: runs.Run, server: FakeServer, settings: workspace.Settings, **options: Any) -> Any:
    values: dict[str, Any] = {"attempt": 1, "token": "of-the-run"}
    return workspace.prepare(run, transport=server.transport, settings=settings, **(values | options))


def executed(order: Any) -> dict[str, Any]:
    env = {name: value for name, value in order.env.items() if name != "LARDER_HOOK"}
    done = subprocess.run(order.command, cwd=order.folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_recorded_code_runs_with_its_paths_moved_and_its_parameters_changed(server, settings, repository, tmp_path):
    run = recorded(server, repository, tmp_path, facts={"overrides": {"lr": 0.5}})
    shutil.rmtree(repository)
    order = prepare(run, server, settings)
    work = settings.home / "work" / run.id / "1"
    assert (order.work, order.folder, order.journals) == (work, work, settings.home / "runs" / f"{run.id}.1")
    told = executed(order)
    assert told["argv"] == ["src/train.py", "--lr", "0.5", "--data", f"{work}/new.txt", "--out", "/elsewhere"]
    assert told["cwd"] == str(work) and told["executable"] == sys.executable
    assert git(work, "rev-parse", "HEAD") == run.facts["code"]["commit"]


def test_the_environment_is_that_of_the_run_and_has_no_secret_of_the_agent(
    server, settings, repository, tmp_path, monkeypatch
):
    for name, value in {
        "LARDER_TOKEN": "hunter2", "LARDER_PROJECT": "agents", "UV_INDEX": "https://evi:hunter2@index/",
        "PIP_INDEX_URL": "https://evi:hunter2@index/", "MINE": "kept", "LARDER_CAPTURE_OFF": "machine",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    checkpoint = runs.Checkpoint(run="r", name="checkpoint", version=2, step=7)
    run = recorded(server, repository, tmp_path, checkpoint=checkpoint, facts={"overrides": {"lr": 0.5, "b": True}})
    env = prepare(run, server, settings, attempt=3).env
    assert "hunter2" not in json.dumps(dict(env))
    ours = {
        "LARDER_RUN": run.id, "LARDER_ATTEMPT": "3", "LARDER_MODE": "online", "LARDER_HOME": str(settings.home),
        "LARDER_URL": server.url, "LARDER_TOKEN": "of-the-run", "LARDER_MAIN": f"agent:{run.id}",
        "LARDER_CONSOLE": "off", "LARDER_HOOK": "1", "LARDER_AGENT": "1", "LARDER_CAPTURE_OFF": "machine",
    }  # fmt: skip
    assert {name: value for name, value in env.items() if name.startswith("LARDER_")} == ours | {
        "LARDER_PARAMS": '{"lr": 0.5, "b": true}',
        "LARDER_CHECKPOINT": '{"run":"r","name":"checkpoint","version":2,"step":7}',
    }
    assert (env["MINE"], env["OMP_NUM_THREADS"], env["PYTHONUNBUFFERED"]) == ("kept", "3", "1")
    assert env.get("LANG") != "xx" and "LARDER_PROJECT" not in env
    assert env["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    hook, client = env["PYTHONPATH"].split(os.pathsep)[:2]
    assert hook == str(supervise.HOOK) and os.listdir(client) == ["larder"]


def test_a_built_environment_has_the_recorded_packages_the_sdk_and_nothing_of_the_agent(
    server, settings, repository, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "agents"))
    (repository / "src" / "train.py").write_text(
        "import dough, larder, json, msgspec, larder.runs\n"
        "try:\n    import numpy\n    print('numpy came along')\n"
        "except ImportError:\n    print(json.dumps([dough.VERSION, larder.__version__]))\n"
    )
    packages = {"python": sys.version.split()[0], "dough": "1.0", "larder": "0.1.0"}
    facts = {
        "packages": packages,
        "environment": {"from": "recorded"},
        "imports": {"modules": ["dough"], "submodules": []},
    }
    run = recorded(server, repository, tmp_path, facts=facts)
    said: list[str] = []
    noted: dict[str, Any] = {}
    order = prepare(run, server, settings, say=said.append, fact=noted.__setitem__)
    assert executed(order) == ["1.0", "0.1.0"]
    assert any("building" in line for line in said)
    assert noted["environment"]["lock"] == "dough==1.0\n" and noted["environment"]["from"] == "recorded"
    assert str(tmp_path / "agents") not in order.env["PYTHONPATH"]
    assert order.env["VIRTUAL_ENV"] == str(Path(order.command[0]).parent.parent) and order.imports == ("dough",)
    assert any(Path(order.command[0]).is_relative_to(place) for place in order.readable)
    assert executed(prepare(run, server, settings, attempt=2))


def test_a_clone_with_one_more_package_keeps_the_lock_of_its_source_only_for_the_same_requirements(
    server, settings, repository, tmp_path
):
    asked = {"requirements": ["dough"], "lock": "dough==1.0\n", "resolved": ["dough"], "from": ""}
    run = recorded(server, repository, tmp_path, facts={"environment": asked})
    assert workspace.spec(run).lock == "dough==1.0\n"
    more = recorded(server, repository, tmp_path, facts={"environment": asked | {"requirements": ["dough", "oven"]}})
    assert workspace.spec(more).lock == ""


def test_a_package_installed_from_the_code_itself_is_the_restored_one(server, settings, repository, tmp_path):
    (repository / "libs" / "mine" / "src" / "mine").mkdir(parents=True)
    (repository / "libs" / "mine" / "src" / "mine" / "__init__.py").write_text("WHERE = __file__\n")
    (repository / "src" / "train.py").write_text("import json, mine\nprint(json.dumps(mine.WHERE))\n")
    packages = {"mine": f"0.1 @ file://{repository}/libs/mine"}
    run = recorded(server, repository, tmp_path, facts={"packages": packages})
    order = prepare(run, server, settings)
    assert Path(str(executed(order))).is_relative_to(order.work)


def test_a_console_script_is_that_of_the_environment(server, settings, repository, tmp_path):
    command = {"argv": ["dough-say"], "executable": "/gone/bin/dough-say", "cwd": str(repository), "wrapped": True}
    facts = {"command": command, "packages": {"dough": "1.0"}}
    order = prepare(recorded(server, repository, tmp_path, facts=facts), server, settings)
    assert subprocess.run(order.command, env=dict(order.env), capture_output=True, text=True).stdout.startswith("dough")
    command |= {"argv": ["python3.9", "src/train.py"], "executable": "/gone/bin/python3.9"}
    order = prepare(recorded(server, repository, tmp_path, facts=facts), server, settings, attempt=2)
    assert "/environments/" in order.command[0] and executed(order)


def test_an_image_has_its_own_interpreter(server, settings, repository, tmp_path):
    needs = queues.Needs(image="registry/train:1", cpus=2, memory=1 << 30, seconds=60, gpus=1)
    run = recorded(server, repository, tmp_path, needs=needs, facts={"packages": {"no-such-thing": "1"}})
    order = prepare(run, server, settings, gpus=[3])
    assert (order.image, order.command[0]) == ("registry/train:1", "python3")
    assert (order.limits.cpus, order.limits.memory, order.limits.seconds) == (2, 1 << 30, 60)
    assert order.limits.gpus == (3,)
    assert "VIRTUAL_ENV" not in order.env


def test_a_run_without_code_runs_in_its_folder(server, settings, tmp_path):
    command = {"argv": ["train.py"], "executable": sys.executable, "cwd": str(tmp_path)}
    order = prepare(server.add(facts={"command": command}), server, settings)
    assert order.folder == tmp_path and order.work.is_dir()


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, "no command"),
        ({"command": {"argv": ["-c"]}}, "notebook"),
        ({"command": {"argv": ["train.py"], "cwd": "/no/such/folder"}}, "no folder /no/such/folder"),
        ({"command": {"argv": ["a.py"], "cwd": "/"}, "environment": {"from": "/no/python"}}, "/no/python"),
    ],
)
def test_what_cannot_be_prepared_says_why(server, settings, facts, why):
    with pytest.raises(workspace.Unprepared, match=why):
        prepare(server.add(facts=facts), server, settings)


def test_what_an_order_uses_stays_until_it_is_released(server, settings, repository, tmp_path):
    settings.environments._cache.limit = settings.trees._cache.limit = 0
    settings.environments._compile = lambda entry: None  # it holds the environment for a while, too
    facts = {"packages": {"dough": "1.0"}, "environment": {"from": "recorded"}}
    order = prepare(recorded(server, repository, tmp_path, facts=facts), server, settings)
    for cache in (settings.environments._cache, settings.trees._cache):
        cache.sweep()
    assert Path(order.command[0]).exists()
    assert git(order.work, "status", "--porcelain")
    workspace.release(order, settings)
    for cache in (settings.environments._cache, settings.trees._cache):
        cache.sweep()
    assert not Path(order.command[0]).exists() and order.work.exists()


def test_a_second_start_asks_neither_git_nor_uv_nor_the_server(server, settings, repository, tmp_path, monkeypatch):
    settings.environments._compile = lambda entry: None  # it starts a process beside the first run
    packages = {"python": sys.version.split()[0], "dough": "1.0"}
    facts = {"packages": packages, "environment": {"from": "recorded"}}
    run = recorded(server, repository, tmp_path, facts=facts)
    shutil.rmtree(repository)
    prepare(run, server, settings)
    server.asked.clear()
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    took = []
    for attempt in range(2, 12):
        began = time.process_time()
        order = prepare(run, server, settings, attempt=attempt)
        took.append(time.process_time() - began)
        workspace.release(order, settings)
    print(sorted(took))
    assert server.asked == [] and sorted(took)[5] < 0.15


def test_a_damaged_artifact_is_noticed_before_anything_starts(server, settings, repository, tmp_path):
    run = recorded(server, repository, tmp_path)
    shutil.rmtree(repository)
    for digest in server.objects:
        server.objects[digest] = b"something else"
    with pytest.raises(Exception, match="damaged"):
        prepare(run, server, settings)
    assert not (settings.home / "work" / run.id / "1").exists()


def test_what_the_last_execution_imported_goes_along(server, settings, repository, tmp_path):
    fact = {"modules": ["numpy", "sklearn"], "submodules": ["numpy.linalg", "sklearn.tree"]}
    run = recorded(server, repository, tmp_path, facts={"imports": fact})
    assert prepare(run, server, settings).imports == ("numpy", "sklearn", "numpy.linalg", "sklearn.tree")
    assert prepare(recorded(server, repository, tmp_path, facts={}), server, settings).imports == ()
