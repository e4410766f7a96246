"""A wheel of `larder` alone, in an empty environment, records a run and reads it back with no server in reach.

A wheel of `larder-server` holds the pages, and shows them where there is no Node.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tools import setup

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"

SCRIPT = """
import argparse

import larder

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=0.1)
arguments = parser.parse_args()

run = larder.init(project="bakery", name="wheel", params={"depth": 4})
for step in range(100):
    run.log({"val/mae": 2.4 + 1 / (step + 1)}, step=step)
run.log_text("summary", "ended well")
run.set_tags("candidate")
run.finish()
print(run.id)
"""

READ = """
import json
import sys

from larder.journal import format, reader

found = {"points": [], "kinds": [], "params": {}, "opening": {}, "ending": None, "roles": []}
from pathlib import Path
for journal in reader.journals(Path(sys.argv[1])):
    found["roles"].append(journal.role)
    for _, record in journal.records():
        found["kinds"].append(record[0])
        if record[0] == format.POINTS:
            found["points"].append([record[2], record[3]["val/mae"]])
        elif record[0] == format.PARAMS:
            found["params"].update(record[2])
        elif record[0] == format.OPEN and journal.role == "main":
            found["opening"] = {"project": record[2].get("project"), "name": record[2].get("name")}
    found["ending"] = found["ending"] or journal.ending()
print(json.dumps(found, default=str))
"""


NO_NODE = "/nowhere"


def run(*command, cwd, environment):
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def pack(distribution, kind, folder):
    """A distribution packed from a folder of sources; the newest file in `folder`."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder]
    run(*command, cwd=distribution, environment=os.environ)
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return pack(ROOT / "client", "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def server_wheel(tmp_path_factory):
    """The server's wheel, from its sdist as an index would hold it: without `web/` beside it, and without Node."""
    folder = tmp_path_factory.mktemp("server")
    with tarfile.open(pack(ROOT / "server", "sdist", folder)) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "wheel"]
    run(*command, cwd=next((folder / "unpacked").iterdir()), environment={**os.environ, "PATH": NO_NODE})
    return next((folder / "wheel").iterdir())


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of an environment that holds the wheel and what it asks for."""
    return install(tmp_path_factory.mktemp("empty") / "venv", wheel)


def install(folder, *wheels):
    """The interpreter of a fresh environment with these wheels and what they ask for."""
    settings = setup.pip_settings(Path(sys.executable))
    environment = setup.uv_environment(settings)
    run(UV, "venv", "--quiet", "--python", sys.executable, folder, cwd=folder.parent, environment=environment)
    interpreter = folder / "bin" / "python"
    command = [
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        interpreter,
        "-c",
        ROOT / "constraints.txt",
        *setup.uv_arguments(settings),
        *wheels,
    ]
    # what `make setup` has fetched is in uv's cache, and then no network is needed
    cached = subprocess.run([*map(str, command), "--offline"], cwd=folder.parent, env=environment, capture_output=True)
    if cached.returncode != 0:
        run(*command, cwd=folder.parent, environment=environment)
    return interpreter


@pytest.fixture
def environment(tmp_path):
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LARDER_", "PYTHON", "VIRTUAL_ENV"))
    }
    return {**kept, "LARDER_HOME": str(tmp_path / "home"), "LARDER_MODE": "offline"}


@pytest.mark.slow
def test_the_wheel_holds_every_module_of_the_client(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    kept = {path.relative_to(ROOT / "client").as_posix() for path in (ROOT / "client" / "larder").rglob("*.py")}
    assert packed == kept


@pytest.mark.slow
@pytest.mark.journey
def test_a_run_is_recorded_and_read_back(python, environment, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    run_id = run(python, script.name, "--rate", "0.3", cwd=tmp_path, environment=environment).strip().splitlines()[-1]
    folder = tmp_path / "home" / "runs" / run_id
    found = json.loads(run(python, "-c", READ, folder, cwd=tmp_path, environment=environment))
    assert found["opening"] == {"project": "bakery", "name": "wheel"}
    assert found["points"] == [[step, 2.4 + 1 / (step + 1)] for step in range(100)]
    assert found["params"]["depth"] == 4 and found["params"]["rate"] == 0.3
    assert found["ending"]["status"] == "completed"


@pytest.mark.slow
def test_the_command_line_answers(python, environment, tmp_path):
    assert "larder COMMAND" in run(python, "-m", "larder.cli", "--help", cwd=tmp_path, environment=environment)
    assert (python.parent / "larder").exists()


@pytest.mark.slow
def test_the_sdk_says_that_the_server_is_away(python, environment, tmp_path):
    environment = {**environment, "LARDER_URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [python, "-m", "larder.cli", "runs", "ls"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 5
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_servers_wheel_holds_the_pages_and_every_module(server_wheel):
    packed = set(zipfile.ZipFile(server_wheel).namelist())
    manifest = json.loads(zipfile.ZipFile(server_wheel).read("larder_server/pages/manifest.json"))
    for part in manifest.values():
        assert f"larder_server/pages/{part['file']}" in packed
    modules = {path.relative_to(ROOT / "server").as_posix() for path in (ROOT / "server/larder_server").rglob("*.py")}
    assert {name for name in packed if name.endswith(".py")} == modules


@pytest.mark.slow
@pytest.mark.journey
def test_the_servers_wheel_shows_the_pages_without_node(wheel, server_wheel, environment, tmp_path):
    python = install(tmp_path / "venv", wheel, server_wheel)
    command = [python, "-m", "larder_server.cli", "--home", tmp_path / "server", "--json", "--port", "0"]
    server = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, env={**environment, "PATH": NO_NODE}, cwd=tmp_path
    )
    try:
        url = json.loads(server.stdout.readline())["url"]
        page = urllib.request.urlopen(url, timeout=30).read().decode()
        script = re.search(r'src="(/assets/[^"]+\.js)"', page)[1]
        assert urllib.request.urlopen(url + script, timeout=30).headers["content-type"].startswith("text/javascript")
    finally:
        server.terminate()
        server.wait(30)
