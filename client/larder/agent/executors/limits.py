"""Control groups for executions, where this process may make them; version 2, else 1, else none.

What the kernel cannot be asked to limit here, the keeper of the execution watches.
"""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from larder.agent.executors import Limits

_PREFIX = "larder-"
_PERIOD = 100_000
_OLD = 3600.0
_CONTROLLERS = ("memory", "pids", "cpu")


@dataclass(frozen=True, kw_only=True)
class Group:
    """The control groups of one execution, as its keeper uses them (see `keeper`); `means` says what limits what."""

    join: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    seal: list[tuple[str, str]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    means: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where this process may make groups: folders by controller. In version 2 they are one and the same."""

    version: int = 0
    folders: Mapping[str, Path] = field(default_factory=dict)


def find(*, proc: Path = Path("/proc/self")) -> Places:
    """Look where control groups can be made. In version 2 this process moves into a group of its own for that."""
    try:
        mounts = _mounts((proc / "mountinfo").read_text())
        own = _own((proc / "cgroup").read_text())
    except OSError:  # not Linux
        return Places()
    unified = mounts.get("")
    if unified is not None and "" in own:
        places = _delegated(_below(unified, own[""]))
        if places.folders:
            return places
    folders = {}
    for controller in _CONTROLLERS:
        if controller in mounts and controller in own:
            folder = _below(mounts[controller], own[controller])
            if os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK):
                folders[controller] = folder
                _tidy(folder)
    return Places(version=1 if folders else 0, folders=folders)


def controllers(places: Places, wanted: Limits) -> tuple[str, ...]:
    """Those that limit such an execution here."""
    return tuple(controller for controller, limit in _asked(wanted).items() if limit and controller in places.folders)


def reserve(places: Places, name: str, controllers: Sequence[str]) -> list[Path]:
    """Groups of that name, without limits as yet; OSError when the kernel refuses."""
    made: list[Path] = []
    try:
        for folder in dict.fromkeys(places.folders[controller] / f"{_PREFIX}{name}" for controller in controllers):
            folder.mkdir()
            made.append(folder)
    except OSError:
        remove(made)
        raise
    return made


def remove(folders: Sequence[Path]) -> None:
    """Remove groups without processes."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def make(places: Places, name: str, wanted: Limits) -> Group:
    """Groups of that name for what is limited; OSError when the kernel refuses."""
    folders = reserve(places, name, controllers(places, wanted))
    try:
        return limit(places, name, wanted)
    except OSError:
        remove(folders)
        raise


def limit(places: Places, name: str, wanted: Limits) -> Group:
    """The reserved groups of that name, with their limits written; OSError when the kernel refuses."""
    folders: dict[Path, None] = {}
    means = {}
    for controller in controllers(places, wanted):
        folder = places.folders[controller] / f"{_PREFIX}{name}"
        folders[folder] = None
        for file, text in _settings(places.version, controller, _asked(wanted)[controller]):
            optional = file.startswith("?")
            with contextlib.suppress(FileNotFoundError, PermissionError) if optional else contextlib.nullcontext():
                (folder / file.lstrip("?")).write_text(text)
        means[_MEANT[controller]] = f"cgroup v{places.version}"
    found = [str(folder) for folder in folders]
    events = []
    if "memory" in means:
        counter = "memory.events" if places.version == 2 else "memory.oom_control"
        events = [(str(places.folders["memory"] / f"{_PREFIX}{name}" / counter), "oom_kill")]
    seal = []
    if "processes" in means:
        seal = [(str(places.folders["pids"] / f"{_PREFIX}{name}" / "pids.max"), "0")]
    return Group(
        join=[f"{folder}/cgroup.procs" for folder in found], folders=found, seal=seal, events=events, means=means
    )


def _asked(wanted: Limits) -> dict[str, float]:
    return {"memory": wanted.memory, "pids": wanted.processes, "cpu": wanted.cpus}


_MEANT = {"memory": "memory", "pids": "processes", "cpu": "cpus"}


def _settings(version: int, controller: str, limit: float) -> list[tuple[str, str]]:
    if controller == "pids":
        return [("pids.max", str(int(limit)))]
    if controller == "cpu":
        quota = max(1000, int(limit * _PERIOD))
        if version == 2:
            return [("cpu.max", f"{quota} {_PERIOD}")]
        return [("cpu.cfs_period_us", str(_PERIOD)), ("cpu.cfs_quota_us", str(quota))]
    # Without swap: a run that is swapped out is slow for hours where it should be told that it does not fit.
    if version == 2:
        return [("memory.max", str(int(limit))), ("?memory.swap.max", "0"), ("?memory.oom.group", "1")]
    return [("memory.limit_in_bytes", str(int(limit))), ("?memory.memsw.limit_in_bytes", str(int(limit)))]


def _delegated(folder: Path) -> Places:
    try:
        there = (folder / "cgroup.controllers").read_text().split()
        usable = [controller for controller in _CONTROLLERS if controller in there]
        if not usable or not os.access(folder, os.W_OK):
            return Places()
        granted = (folder / "cgroup.subtree_control").read_text().split()
        if not set(usable) <= set(granted):
            # A group gives controllers to groups below it only while it holds no process itself. Those of others we do
            # not move: then there is no delegation to us.
            inside = {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}
            if inside - {os.getpid()}:
                return Places()
            (folder / "agent").mkdir(exist_ok=True)
            (folder / "agent" / "cgroup.procs").write_text(str(os.getpid()))
            for controller in usable:
                with contextlib.suppress(OSError):
                    (folder / "cgroup.subtree_control").write_text(f"+{controller}")
            granted = (folder / "cgroup.subtree_control").read_text().split()
    except OSError:
        return Places()
    _tidy(folder)
    return Places(version=2, folders={controller: folder for controller in usable if controller in granted})


def _tidy(folder: Path) -> None:
    """Remove the groups that earlier agents left behind; one with processes in it cannot be removed."""
    for left in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _OLD:
                left.rmdir()


def _mounts(text: str) -> dict[str, tuple[Path, str]]:
    """Where each controller is mounted, with the root of that mount; version 2 under the empty name."""
    found: dict[str, tuple[Path, str]] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, rest = after.partition(" ")
        fields = before.split()
        if kind == "cgroup2":
            found[""] = Path(fields[4]), fields[3]
        elif kind == "cgroup":
            for option in rest.split()[-1].split(","):
                if option in _CONTROLLERS:
                    found[option] = Path(fields[4]), fields[3]
    return found


def _own(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _below(mount: tuple[Path, str], path: str) -> Path:
    folder, root = mount
    # In a container the mount shows only a part of the tree, of which the path may still speak from above.
    inside = path[len(root) :] if root != "/" and path.startswith(root) else path
    return folder / inside.lstrip("/")
