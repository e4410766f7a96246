"""Environments: taken as they are where they are here, built once by a real uv from wheels made by hand where not."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from larder.agent.cache import Interrupted
from larder.agent.environments import Environments, Python, Settings, Spec, Unbuildable, installer
from tests.client.agent.wheels import make_wheel, offline

PYTHON = sys.version.split()[0]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    make_wheel(folder, "dough", "1.0")
    make_wheel(folder, "dough", "2.0")
    make_wheel(folder, "oven", "1.0", requires=["dough"])
    make_wheel(folder, "oven", "2.0", requires=["dough>=2"])
    return folder


@pytest.fixture
def environments(tmp_path: Path, wheels: Path) -> Environments:
    return Environments(tmp_path / "environments", settings=offline(wheels))


def spec(*requirements: str, **fields: Any) -> Spec:
    values: dict[str, Any] = {"interpreter": "/no/such/python", "python": PYTHON, "packages": {"dough": "1.0"}}
    return Spec(requirements=requirements, **(values | fields))


def says(python: Python, code: str) -> str:
    clean = {"PATH": os.environ["PATH"]}
    done = subprocess.run([python.executable, "-c", code], env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def without_uv(environments: Environments) -> Environments:
    return Environments(
        environments.root, settings=Settings(uv="/no/such/uv", variables=environments.settings.variables)
    )


def test_recorded_packages_are_built_once_and_used_again_without_uv(environments):
    said: list[str] = []
    first = environments.get(spec(), say=said.append)
    assert says(first, "import dough; print(dough.VERSION)") == "1.0"
    assert first.fact["lock"] == "dough==1.0\n" and not first.fact["reused"] and first.fact["python"] == PYTHON
    assert any("building an environment" in line for line in said)
    said.clear()
    again = without_uv(environments).get(spec(), say=said.append)
    assert again.fact["reused"] and again.executable == first.executable and said == []
    assert again.fact["seconds"] < 1


def test_an_environment_survives_its_move_with_its_scripts_and_compiled_modules(environments):
    python = environments.get(spec())
    script = Path(python.executable).parent / "dough-say"
    assert subprocess.run([script], capture_output=True, text=True).stdout == "dough 1.0 says\n"
    assert ".making" not in script.read_text() + (Path(python.prefix) / "pyvenv.cfg").read_text()
    assert says(python, "import dough; print(dough.say.__code__.co_filename)").startswith(python.prefix)


def test_modules_are_compiled_beside_the_first_run(environments):
    python = environments.get(spec())
    eventually(lambda: list(Path(python.prefix).rglob("dough/__pycache__/*.pyc")))


def test_what_the_client_stands_on_is_there_and_comes_last(environments, wheels):
    make_wheel(wheels, "click", "0.1")
    python = environments.get(spec(packages={"click": "0.1"}))
    code = "import click, msgspec, blake3, psutil, urllib3; print(click.VERSION, blake3.blake3(b'').hexdigest()[:4])"
    assert says(python, code) == "0.1 af13"
    assert says(python, "import importlib.metadata as m; print(*(d.name for d in m.distributions()))") == "click"


def test_an_added_requirement_is_resolved_beside_the_recorded_versions(environments):
    python = environments.get(spec("oven"))
    assert says(python, "import dough, oven; print(dough.VERSION, oven.VERSION)") == "1.0 1.0"
    assert python.fact["lock"] == "dough==1.0\noven==1.0\n" and python.fact["requirements"] == ["oven"]
    assert "changed" not in python.fact
    began = time.monotonic()
    again = without_uv(environments).get(spec("oven"))
    assert again.fact["reused"] and again.fact["lock"] == python.fact["lock"] and time.monotonic() - began < 5


def test_a_requirement_replaces_the_recorded_version_of_its_package(environments):
    assert environments.get(spec("Dough>=2")).fact["lock"] == "dough==2.0\n"


def test_versions_that_do_not_go_with_a_requirement_are_changed_and_it_is_said(environments):
    said: list[str] = []
    python = environments.get(spec("oven>=2"), say=said.append)
    assert says(python, "import dough, oven; print(dough.VERSION, oven.VERSION)") == "2.0 2.0"
    assert python.fact["changed"] == {"dough": "1.0 → 2.0"}
    assert any("changed: dough 1.0 → 2.0" in line for line in said)
    assert without_uv(environments).get(spec("oven>=2")).fact["changed"] == {"dough": "1.0 → 2.0"}


def test_a_lock_that_was_resolved_elsewhere_is_taken_as_it_is(environments):
    lock = "dough==2.0\noven==1.0\n"
    python = environments.get(spec("oven", lock=lock))
    assert python.fact["lock"] == lock
    assert says(python, "import dough; print(dough.VERSION)") == "2.0"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (spec("yeast"), "yeast cannot be resolved.*yeast"),
        (spec(packages={"yeast": "3.0"}), "its recorded packages cannot be installed.*yeast"),
        (spec(wish="conda"), "'conda'"),
        (spec(wish="/no/such/python"), "/no/such/python, which is not on this machine"),
        (spec("oven", wish="inherit"), "requirements were added"),
        (spec(packages={"mine": "1.0 @ file:///home/evi/mine"}), "mine 1.0 was installed from /home/evi/mine"),
        (spec(python="3.2.1"), "recorded with Python 3.2.1"),
    ],
)
def test_what_cannot_be_built_says_why(environments, asked, why):
    with pytest.raises(Unbuildable, match=f"(?s){why}") as refusal:
        environments.get(asked)
    assert "\n" not in str(refusal.value)


def test_without_uv_the_mend_is_said(environments):
    missing = Environments(environments.root, settings=Settings(uv=""))
    with pytest.raises(Unbuildable, match=r"larder\[agent\]"):
        missing.get(spec())


def test_credentials_of_an_index_are_in_no_text_and_no_fact(tmp_path, wheels):
    # Nobody listens there: uv names the address that it could not reach.
    index = "http://evi:hunter2@127.0.0.1:9/simple"
    settings = offline(wheels, UV_INDEX=index, UV_INDEX_HOUSE_PASSWORD="hunter3", UV_HTTP_TIMEOUT="1")
    variables = {name: value for name, value in settings.variables.items() if name not in ("UV_OFFLINE", "UV_NO_INDEX")}
    open_ones = Environments(tmp_path / "environments", settings=Settings(uv=settings.uv, variables=variables))
    with pytest.raises(Unbuildable, match=r"127\.0\.0\.1") as refusal:
        open_ones.get(spec("yeast"))
    assert "hunter" not in str(refusal.value)
    said: list[str] = []
    python = Environments(tmp_path / "environments", settings=settings).get(spec("oven"), say=said.append)
    kept = "".join(path.read_text() for path in (tmp_path / "environments").glob("*/*.txt"))
    kept += "".join(path.read_text() for path in (tmp_path / "environments").rglob("*.json"))
    assert "hunter" not in repr(python.fact) + "".join(said) + kept


# -- what is here already ------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path: Path, wheels: Path) -> str:
    """An interpreter that somebody has installed dough 1.0 into."""
    venv = tmp_path / "recorded"
    install(wheels, "venv", str(venv), "--python", sys.executable)
    install(wheels, "pip", "install", "--python", str(venv / "bin" / "python"), "dough==1.0")
    return str(venv / "bin" / "python")


def install(wheels: Path, *arguments: str) -> None:
    subprocess.run([installer(), "-q", *arguments], env=dict(offline(wheels).variables), check=True)


def test_the_recorded_interpreter_is_taken_while_it_has_what_it_had(environments, recorded, wheels, monkeypatch):
    packages = {"dough": "1.0", "larder-server": "9 @ file:///elsewhere"}
    asked = spec(interpreter=recorded, packages=packages)
    assert environments.get(asked).executable == recorded
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it was asked already"))
    assert environments.get(asked).executable == recorded
    assert Environments(environments.root, settings=environments.settings).get(asked).executable == recorded
    monkeypatch.undo()
    install(wheels, "pip", "install", "--python", recorded, "dough==2.0")
    built = environments.get(asked)
    assert built.executable != recorded and says(built, "import dough; print(dough.VERSION)") == "1.0"


def test_packages_that_were_recorded_of_larders_own_interpreter_say_nothing_of_the_commands(environments, recorded):
    asked = spec(interpreter=recorded, packages={"dough": "2.0", "larder": "0.1.0"})
    assert environments.get(asked).executable == recorded


def test_what_is_asked_for_comes_before_what_is_here(environments, recorded):
    here = spec(interpreter=recorded)
    assert environments.get(here).fact["hash"] == ""
    assert environments.get(spec("oven", interpreter=recorded)).fact["hash"]
    assert environments.get(spec(interpreter=recorded, wish="recorded")).fact["hash"]
    assert environments.get(spec(interpreter=recorded, wish="inherit")).executable == sys.executable
    assert environments.get(spec(wish=recorded)).executable == recorded


def test_a_run_without_recorded_packages_has_its_interpreter_or_ours(environments, recorded):
    assert environments.get(Spec(interpreter=recorded)).executable == recorded
    assert environments.get(Spec(interpreter="/no/such/python")).executable == sys.executable


def test_packages_of_the_runs_own_code_are_found_there(environments, tmp_path):
    root = tmp_path / "code"
    packages = {"mine": f"0.1 @ file://{root}/libs/mine", "dough": "1.0"}
    python = environments.get(spec(packages=packages, root=root))
    assert python.local == [Path("libs/mine/src"), Path("libs/mine")]
    assert python.fact["lock"] == "dough==1.0\n"


def test_what_conda_has_built_comes_from_the_index(environments):
    python = environments.get(spec(packages={"dough": "1.0 @ file:///croot/dough_1690000000000/work"}))
    assert python.fact["lock"] == "dough==1.0\n"


# -- several at once, and the end of a builder ---------------------------------------------------------------------


@pytest.fixture
def slow(tmp_path: Path) -> str:
    """A uv that notes each installation, and lets those wait for as long as the file `wait` is there."""
    script = tmp_path / "slow-uv"
    script.write_text(
        textwrap.dedent(f"""\
        #!/bin/sh
        case "$*" in
        *"pip sync"*)
            echo $$ >> {tmp_path}/syncs
            while [ -e {tmp_path}/wait ]; do sleep 0.05; done ;;
        esac
        exec {installer()} "$@"
        """)
    )
    script.chmod(0o755)
    return str(script)


BUILD = """
import json, sys
from larder.agent.environments import Environments, Settings, Spec
root, uv, variables, python = json.loads(sys.argv[1])
found = Environments(__import__("pathlib").Path(root), settings=Settings(uv=uv, variables=variables)).get(
    Spec(interpreter="/no/such/python", python=python, packages={"dough": "1.0"}))
print(found.executable, found.fact["reused"])
"""


def builder(environments: Environments, uv: str) -> "subprocess.Popen[str]":
    import json

    words = json.dumps([str(environments.root), uv, dict(environments.settings.variables), PYTHON])
    return subprocess.Popen([sys.executable, "-c", BUILD, words], stdout=subprocess.PIPE, text=True)


def eventually(question: Any) -> None:
    deadline = time.monotonic() + 30
    while not question():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def syncs(tmp_path: Path) -> list[int]:
    place = tmp_path / "syncs"
    return [int(line) for line in place.read_text().split()] if place.exists() else []


def test_two_processes_that_want_the_same_build_it_once(environments, slow, tmp_path):
    (tmp_path / "wait").touch()
    builders = [builder(environments, slow) for _ in range(2)]
    eventually(lambda: syncs(tmp_path))
    time.sleep(0.3)
    (tmp_path / "wait").unlink()
    answers = sorted(each.communicate(timeout=60)[0].split() for each in builders)
    assert answers[0][0] == answers[1][0] and [reused for _, reused in answers] == ["False", "True"]
    assert len(syncs(tmp_path)) == 1


def test_threads_that_want_the_same_build_it_once(environments, slow, tmp_path):
    shared = Environments(environments.root, settings=Settings(uv=slow, variables=environments.settings.variables))
    found: list[Python] = []
    threads = [threading.Thread(target=lambda: found.append(shared.get(spec()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4 and len(syncs(tmp_path)) == 1


def test_a_builder_that_is_killed_leaves_nothing_in_the_way(environments, slow, tmp_path):
    (tmp_path / "wait").touch()
    killed = builder(environments, slow)
    eventually(lambda: syncs(tmp_path))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    # Its uv, which would wait for ever, has ended with it, and holds nobody up.
    eventually(lambda: not Path(f"/proc/{syncs(tmp_path)[0]}").exists())
    (tmp_path / "wait").unlink()
    following = builder(environments, slow)
    executable, reused = following.communicate(timeout=60)[0].split()
    assert reused == "False" and len(syncs(tmp_path)) == 2
    assert subprocess.run([executable, "-c", "import dough"]).returncode == 0
    assert list((environments.root / ".making").iterdir()) == []


def test_an_abort_ends_uv_and_leaves_nothing(environments, slow, tmp_path):
    (tmp_path / "wait").touch()
    stop = threading.Event()
    shared = Environments(environments.root, settings=Settings(uv=slow, variables=environments.settings.variables))
    threading.Thread(target=lambda: (eventually(lambda: syncs(tmp_path)), stop.set())).start()
    with pytest.raises(Interrupted):
        shared.get(spec(), cancelled=stop.is_set)
    (pid,) = syncs(tmp_path)
    eventually(lambda: not psutil.pid_exists(pid))
    assert list((environments.root / ".making").iterdir()) == []
    assert not list(environments.root.glob("*/ready.json"))


def test_who_waits_for_another_builder_can_be_aborted_too(environments, slow, tmp_path):
    (tmp_path / "wait").touch()
    other = builder(environments, slow)
    eventually(lambda: syncs(tmp_path))
    with pytest.raises(Interrupted):
        environments.get(spec(), cancelled=lambda: True)
    (tmp_path / "wait").unlink()
    assert other.communicate(timeout=60)[0].split()[1] == "False"


# -- room ----------------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_long_goes_first_and_what_is_in_use_stays(environments, wheels):
    small = Environments(environments.root, 1, settings=environments.settings)
    small._compile = lambda entry: None  # it holds the environment for a while, too
    in_use = small.get(spec())
    forgotten = small.get(spec("oven"))
    forgotten.close()
    newest = small.get(spec("dough==2.0"))
    assert Path(in_use.executable).exists() and Path(newest.executable).exists()
    assert not Path(forgotten.executable).exists()
    in_use.close()
    newest.close()
    small.get(spec("oven"))
    assert not Path(in_use.executable).exists() and not Path(newest.executable).exists()
