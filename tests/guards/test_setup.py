"""`make setup` gives uv what pip is told, and the lock can be used as constraints."""

import subprocess
from pathlib import Path

import pytest

from tools import setup

ROOT = Path(__file__).resolve().parents[2]


def test_an_environment_variable_wins_over_a_file():
    listing = "global.index-url='https://one/simple'\n:env:.index-url='https://two/simple'\nglobal.timeout='60'\n"
    assert setup.parse_pip_settings(listing) == {"index-url": "https://two/simple", "timeout": "60"}


def test_settings_of_other_commands_are_left_out():
    assert setup.parse_pip_settings("download.index-url='https://one/simple'\n") == {}


def test_uv_is_told_what_pip_is_told(tmp_path):
    settings = {
        "index-url": "https://one/simple",
        "extra-index-url": "\nhttps://two/simple\nhttps://three/simple",
        "find-links": f"{tmp_path} {tmp_path}/absent",
        "cert": "/etc/authority.pem",
    }
    assert setup.uv_environment(settings, {}) == {
        "UV_DEFAULT_INDEX": "https://one/simple",
        "UV_INDEX": "https://two/simple https://three/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": str(tmp_path),
        "SSL_CERT_FILE": "/etc/authority.pem",
    }


def test_what_the_user_told_uv_stays():
    assert setup.uv_environment({"index-url": "https://one"}, {"UV_DEFAULT_INDEX": "https://mine"}) == {
        "UV_DEFAULT_INDEX": "https://mine"
    }


def test_no_index_is_passed_on():
    assert setup.uv_arguments({"no-index": "1"}) == ["--no-index"]
    assert setup.uv_arguments({}) == []


def test_the_lock_has_no_editable_lines():
    resolved = (
        "-e ./client\n    # via -r requirements-dev.in\n    #   larder-server\nalembic==1.0\n    # via larder-server\n"
    )
    assert setup.without_editables(resolved) == "alembic==1.0\n    # via larder-server\n"
    assert "-e " not in (ROOT / "constraints.txt").read_text()


def test_make_lists_its_commands():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in ("setup", "demo", "test", "check", "bench"):
        assert f"make {command} " in shown


@pytest.mark.parametrize("file", [".ci/run", "tools/system.sh"])
def test_scripts_are_well_formed(file):
    assert subprocess.run(["bash", "-n", str(ROOT / file)]).returncode == 0
