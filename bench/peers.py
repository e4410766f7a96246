"""The peers live in a virtual environment of their own, so that neither their weight nor their versions touch ours."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools import setup

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".bench-venv"
REQUIREMENTS = Path(__file__).with_name("peers.txt")
STAMP = FOLDER / ".installed"


@dataclass(frozen=True, kw_only=True)
class Peers:
    """Where the peers' interpreter is; `why` says why there is none."""

    python: Path
    why: str = ""

    def __bool__(self) -> bool:
        return not self.why

    def version(self, name: str) -> str:
        """The pinned version of a peer."""
        found = re.search(rf"^{re.escape(name)}==(\S+)", REQUIREMENTS.read_text(encoding="utf-8"), re.M | re.I)
        return found[1] if found else ""


@cache
def ready() -> Peers:
    """The peers, installed when they are not yet."""
    python = FOLDER / "bin" / "python"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted and python.exists():
        return Peers(python=python)
    return Peers(python=python, why=_install(python, wanted))


def _install(python: Path, wanted: str) -> str:
    """Install; the reason when that is not possible."""
    uv = Path(sys.executable).with_name("uv")
    found = str(uv) if uv.exists() else shutil.which("uv")
    if not found:
        return "uv is not installed; `make setup` brings it"
    settings = setup.pip_settings(Path(sys.executable))
    environment = setup.uv_environment(settings)
    print(f"bench: installing the peers into {FOLDER.name} (once)", file=sys.stderr, flush=True)
    # Compiled at once: the first start of a peer must not be measured with its compilation.
    install = [found, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    for command in (
        [found, "venv", "--quiet", "--clear", "--python", sys.executable, str(FOLDER)],
        [*install, *setup.uv_arguments(settings), "-r", str(REQUIREMENTS)],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            return f"cannot be installed ({lines[-1].strip()[:160]})"
    STAMP.write_text(wanted, encoding="utf-8")
    return ""


if __name__ == "__main__":
    sys.exit(ready().why or 0)
