"""Make the virtual environment of this repository, with nothing but the standard library.

uv installs, because it is ten times faster than pip; it does not read pip's configuration, so this hands it over.
Where uv cannot do it, pip does.
"""

import argparse
import ast
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
REQUIREMENTS = ROOT / "requirements-dev.in"
STAMP = ".installed"
LOCKED_FOR = "3.11"


def main() -> int:
    """Make the environment, or the lock with `--lock`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the virtual environment")
    parser.add_argument("--lock", action="store_true", help="resolve requirements-dev.in into constraints.txt")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.absolute()
    if arguments.lock:
        return lock(folder)
    return install(folder)


def install(folder: Path) -> int:
    """Create the environment where it is missing and install everything into it."""
    python = folder / "bin" / "python"
    if not _works(python):
        print(f"make setup: creating {folder.name} with Python {sys.version.split()[0]}", flush=True)
        venv.create(folder, with_pip=True, clear=folder.exists(), symlinks=True)
    what = ["-c", str(CONSTRAINTS), "-r", str(REQUIREMENTS)]
    settings = pip_settings(python)
    uv = [str(folder / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(python)]
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    print("make setup: installing (a minute or two the first time)", flush=True)
    if _run([*pip, "-c", str(CONSTRAINTS), "uv"]) != 0:
        print("make setup: pip could not install uv; is the package index within reach?", file=sys.stderr)
        return 1
    if _run([*uv, *what, *uv_arguments(settings)], environment=uv_environment(settings)) != 0:
        print("make setup: uv could not install; trying pip", file=sys.stderr)
        if _run([*pip, *what]) != 0:
            print("make setup: pip could not install either; the lines above say why", file=sys.stderr)
            return 1
    (folder / STAMP).touch()
    return 0


def lock(folder: Path) -> int:
    """Resolve the requirements for the oldest Python we support; our own distributions are not pinned."""
    settings = pip_settings(folder / "bin" / "python")
    command = [str(folder / "bin" / "uv"), "pip", "compile", "--quiet", "--python-version", LOCKED_FOR]
    command += ["--no-header", "--upgrade", *uv_arguments(settings), REQUIREMENTS.name]
    done = subprocess.run(command, cwd=ROOT, env=uv_environment(settings), stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        return done.returncode
    CONSTRAINTS.write_text("# What `make setup` installs; written by `make lock`.\n" + without_editables(done.stdout))
    return 0


def without_editables(resolved: str) -> str:
    """The resolution without the editable lines and the comments under them: a constraint may not be editable."""
    kept: list[str] = []
    skipping = False
    for line in resolved.splitlines():
        if line.startswith("-e "):
            skipping = True
        elif not line.startswith(" "):
            skipping = False
        if not skipping:
            kept.append(line)
    return "\n".join(kept) + "\n"


def pip_settings(python: Path) -> dict[str, str]:
    """pip's configuration as pip itself sees it: files first, then the environment, the narrower winning."""
    listing = subprocess.run([str(python), "-m", "pip", "config", "list"], stdout=subprocess.PIPE, text=True)
    return parse_pip_settings(listing.stdout)


def parse_pip_settings(listing: str) -> dict[str, str]:
    """Parse `pip config list`: `section.option='value'` lines; an environment variable is of the section `:env:`."""
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        name, equals, value = line.partition("=")
        section, _, option = name.partition(".")
        if equals and section in found:
            found[section][option] = str(ast.literal_eval(value))
    return {**found["global"], **found["install"], **found[":env:"]}


def uv_environment(settings: Mapping[str, str], environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which uv uses the indexes, links and certificates that pip is told to use."""
    given = dict(os.environ if environment is None else environment)
    told: dict[str, str] = {}
    if index := settings.get("index-url"):
        told["UV_DEFAULT_INDEX"] = index
    if extra := settings.get("extra-index-url", "").split():
        told["UV_INDEX"] = " ".join(extra)
        told["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # pip looks into all indexes alike; so must uv
    links = [link for link in settings.get("find-links", "").split() if "://" in link or Path(link).is_dir()]
    if links:
        told["UV_FIND_LINKS"] = ",".join(links)
    if hosts := settings.get("trusted-host", "").split():
        told["UV_INSECURE_HOST"] = " ".join(hosts)
    if certificates := settings.get("cert"):
        told["SSL_CERT_FILE"] = certificates
    if timeout := settings.get("timeout") or settings.get("default-timeout"):
        told["UV_HTTP_TIMEOUT"] = timeout
    return {**told, **given}


def uv_arguments(settings: Mapping[str, str]) -> list[str]:
    """What pip is told and uv reads from its command line only."""
    return ["--no-index"] if settings.get("no-index", "").lower() in ("1", "true", "yes", "on") else []


def _works(python: Path) -> bool:
    return python.exists() and subprocess.run([str(python), "-c", "import pip"], capture_output=True).returncode == 0


def _run(command: list[str], environment: dict[str, str] | None = None) -> int:
    # In the root, because requirements-dev.in names the distributions by relative paths.
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
