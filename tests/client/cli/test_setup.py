"""`larder login`, `doctor`, `sync`, `agent`: the set-up of a machine."""

import json
import os
import subprocess
import sys
import time

import pytest

import larder
from larder import config
from larder.cli import doctor, login
from larder.contract import errors
from larder.contract.endpoint import Role
from larder.transport import Transport


@pytest.fixture
def reachable(server, monkeypatch):
    """Every address is that of the server in memory."""

    def transport(url, token="", **_):
        return Transport(url, token, send=server.send, retries=0)

    monkeypatch.setattr(doctor, "Transport", transport)
    monkeypatch.setattr(login, "Transport", transport)
    return server


def test_login_asks_the_server_and_remembers_it_for_its_owner_only(call, reachable):
    result = call("login", "larder.test:80", "--token", "secret")
    assert result.exit_code == 0 and "evi (contributor)" in result.stderr and "secret" not in result.output
    assert config.load().url == "http://larder.test:80" and config.load().token == "secret"
    assert (config.home() / "config.json").stat().st_mode & 0o077 == 0


def test_login_takes_the_token_from_stdin(call, reachable):
    assert call("login", "http://larder.test", "--token", "-", input="piped\n").exit_code == 0
    assert config.load().token == "piped"
    assert json.loads(call("login", "http://larder.test", "--json", input="typed\n").stdout)["user"] == "evi"


@pytest.mark.parametrize(("url", "down", "status"), [("http://larder.test", True, 5), ("ftp://x", False, 2)])
def test_a_login_that_fails_remembers_nothing(call, reachable, url, down, status):
    reachable.down = down
    assert call("login", url, "--token", "x").exit_code == status
    assert not (config.home() / "config.json").exists()


def test_doctor_finds_a_machine_well(call, reachable):
    result = call("doctor")
    assert result.exit_code == 0, result.output
    assert "WRONG" not in result.stdout and "All is well" in result.stderr
    assert all(finding["ok"] for finding in json.loads(call("doctor", "--json").stdout))


def test_doctor_names_what_is_wrong_and_the_mend(call, reachable, monkeypatch):
    reachable.down = True
    result = call("doctor")
    assert result.exit_code == 1 and "WRONG  server" in result.stdout and "larder up" in result.stdout
    reachable.down = False
    reachable.role = Role.VIEWER
    assert "A viewer cannot record" in call("doctor").stdout
    monkeypatch.setenv("LARDER_MODE", "sometimes")
    monkeypatch.setenv("PATH", "")
    assert {finding.check for finding in doctor.examine() if not finding.ok} == {"token", "git", "LARDER_MODE"}


def test_doctor_compares_clocks(reachable, monkeypatch):
    real = reachable.send

    def behind(method, target, headers, body):
        if target == "/healthz":
            health = {"version": larder.__version__, "time": int((time.time() + 60) * 1e6)}
            return 200, {"content-type": "application/json"}, json.dumps(health).encode()
        return real(method, target, headers, body)

    reachable.send = behind
    (clock,) = [finding for finding in doctor.examine() if finding.check == "clock"]
    assert not clock.ok and "60.0 s behind" in clock.seen


def test_doctor_survives_a_damaged_configuration(call, reachable):
    (config.home() / "config.json").write_text("{")
    result = call("doctor")
    assert result.exit_code == 1 and "WRONG  configuration" in result.stdout


def test_doctor_sees_journals_that_wait(call, reachable, tmp_path):
    environment = {**os.environ, "LARDER_MODE": "offline"}
    subprocess.run([sys.executable, "-c", "import larder; larder.init().finish()"], env=environment, check=True)
    deadline = time.monotonic() + 20
    while "1 runs wait" not in call("doctor").stdout and time.monotonic() < deadline:
        time.sleep(0.1)
    result = call("doctor")
    assert result.exit_code == 1 and "larder sync" in result.stdout


def test_sync_without_a_server_is_one_sentence(call, server):
    server.down = True
    result = call("sync")
    assert result.exit_code == 5 and result.stderr.startswith("Error: ")
    server.down = False
    done = call("sync", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["sent"] == []


def test_an_agent_with_a_refused_token_says_so(call, server, monkeypatch):
    def refuse(*_):
        raise errors.Unauthenticated("the token has expired", hint="ask for another")

    server.answers = [(endpoint, refuse) for endpoint, _ in server.answers]
    result = call("agent", "start")
    assert result.exit_code == 3 and "the token has expired" in result.stderr and "ask for another" in result.stderr


def test_help_comes_without_loading_click():
    script = "import sys; from larder.cli import main; main(['--help']); sys.exit('click' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    ("typed", "offered"), [("sha", {"share"}), ("share re", {"revoke"}), ("views save --sh", {"--shared"})]
)
def test_a_shell_is_told_what_may_come_next(typed, offered):
    words = {
        "_LARDER_COMPLETE": "bash_complete",
        "COMP_WORDS": f"larder {typed}",
        "COMP_CWORD": str(len(typed.split())),
    }
    asked = [sys.executable, "-c", "from larder.cli import main; main()"]
    done = subprocess.run(asked, env={**os.environ, **words}, capture_output=True, text=True)
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == offered


def test_the_command_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "larder.cli", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == f"larder {larder.__version__}"
