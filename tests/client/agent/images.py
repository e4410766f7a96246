"""A container image for tests, made of this machine's own interpreter, since no registry may be asked."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

from larder.agent.executors.container import ContainerExecutor, Engine

NAME = "localhost/larder-test-python:latest"
PYTHON = str(Path(sys.executable).resolve())


def make() -> ContainerExecutor:
    """What `check_executor` asks for by name."""
    found = ContainerExecutor.find(image=NAME)
    assert found is not None
    return found


def build(engine: Engine, folder: Path) -> None:
    """Import an image with a shell and Python, at the places where they are on this machine."""
    if subprocess.run([engine.program, "image", "inspect", NAME], capture_output=True).returncode == 0:
        return
    archive = folder / "image.tar"
    stdlib = Path(sysconfig.get_paths()["stdlib"]).resolve()
    programs = [Path(PYTHON), Path("/bin/sh")]
    modules = list((stdlib / "lib-dynload").glob("*.so"))
    files = {*programs, *(library for program in [*programs, *modules] for library in _libraries(program))}
    with tarfile.open(archive, "w", dereference=True) as tar:
        for name in sorted(map(str, files)):
            tar.add(name)
        tar.add(stdlib, filter=_needed)
        for place in ("tmp", "proc", "sys", "dev", "etc"):
            entry = tarfile.TarInfo(place)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if place == "tmp" else 0o755
            tar.addfile(entry)
    subprocess.run([engine.program, "import", str(archive), NAME], check=True, capture_output=True)
    archive.unlink()


def _needed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    unwanted = re.search(
        r"/(site-packages|dist-packages|test|tests|__pycache__|idlelib|ensurepip|config-[^/]*)(/|$)", entry.name
    )
    return None if unwanted else entry


def _libraries(program: Path) -> list[Path]:
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True).stdout
    return [Path(found) for found in re.findall(r"(/\S+) \(0x", listed) if os.path.exists(found)]
