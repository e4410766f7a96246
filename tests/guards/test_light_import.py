"""`import larder` costs next to nothing: a name is loaded when it is asked for."""

import json
import os
import subprocess
import sys

NAMES = (
    "import sys, json; before = set(sys.modules); import larder; print(json.dumps(sorted(set(sys.modules) - before)))"
)
HEAVY = {
    "asyncio",
    "email",
    "http.client",
    "inspect",
    "logging",
    "multiprocessing",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
}


def loaded(tmp_path):
    # -I keeps the working folder and user packages out; the parent may measure coverage, the child must not
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", NAMES], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_import_loads_no_third_party_module(tmp_path):
    roots = {name.partition(".")[0] for name in loaded(tmp_path)}
    assert roots - {"larder"} <= set(sys.stdlib_module_names)


def test_import_loads_nothing_heavy(tmp_path):
    assert not HEAVY & set(loaded(tmp_path))


def test_import_stays_small(tmp_path):
    assert len(loaded(tmp_path)) <= 25
