"""Wheels made by hand, for a uv that has no network."""

import base64
import hashlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from larder.agent.environments import Settings, installer


def make_wheel(
    folder: Path, name: str, version: str, *, requires: Sequence[str] = (), files: Mapping[str, str] | None = None
) -> Path:
    """A pure wheel with a module of its name that knows its version."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    contents = {f"{module}/__init__.py": f"VERSION = {version!r}\n", **(files or {})}
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
        f"Requires-Dist: {each}\n" for each in requires
    )
    contents[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{module}-say = {module}:say\n"
    contents[f"{module}/__init__.py"] += f"def say():\n    print('{name} {version} says')\n"
    lines = []
    for path, text in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text.encode())}\n")
    contents[f"{info}/RECORD"] = "".join(lines) + f"{info}/RECORD,,\n"
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return wheel


def offline(wheels: Path, *, uv: str = "", **variables: str) -> Settings:
    """Settings of an agent that has a folder of wheels and no network."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    cache = {"UV_CACHE_DIR": str(wheels.parent / "uv-cache")}
    sources = {"UV_FIND_LINKS": str(wheels), "UV_OFFLINE": "1", "UV_NO_INDEX": "1"}
    return Settings(uv=uv or installer(), variables=kept | cache | sources | variables)
