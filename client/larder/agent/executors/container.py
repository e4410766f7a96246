"""Executes an order in a container of podman or docker: its image, and of this machine only the folders it needs."""

import contextlib
import dataclasses
import os
import resource
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from larder.agent.executors import Exit, Limits, Order, Usage, keeper
from larder.agent.executors.process import ProcessExecution, ProcessExecutor

ENGINES = ("podman", "docker")

_LABEL = "larder.agent"
_INITS = ("/usr/libexec/podman/catatonit", "/usr/libexec/catatonit/catatonit", "/usr/lib/podman/catatonit")
_KEPT = ("LARDER_", "PYTHON", "OMP_", "CUDA_", "NCCL_", "LC_")
_KEPT_NAMES = ("TZ", "LANG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_OF_THE_ENGINE = ("XDG_", "DOCKER_", "CONTAINER", "PODMAN", "BUILDAH", "DBUS_", "LD_", "SSH_", "TMPDIR")
_OF_THE_MACHINE = ("PATH", "VIRTUAL_ENV", "HOME", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
_PATIENCE = 60.0
_PULL = 3600.0
_PROCESSES = 4096
_FULL = 0.8


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A command line that starts containers. `limits`: it can limit memory, processors and processes."""

    program: str
    version: str
    rootless: bool
    limits: bool
    init: bool

    @property
    def podman(self) -> bool:
        """Whether it is podman; else it is docker."""
        return "podman" in Path(self.program).name

    def __call__(self, *arguments: str, timeout: float = _PATIENCE) -> str:
        """What a command of the engine answers; OSError when it fails."""
        try:
            done = subprocess.run(
                [self.program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            raise OSError(f"{self.program} {arguments[0]} did not answer in {timeout:g} s") from None
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise OSError(f"{Path(self.program).name} {arguments[0]}: {said}")
        return done.stdout.strip()


def find_engine(name: str) -> Engine | None:
    """The engine of that name, if it is here and works."""
    program = shutil.which(name)
    if program is None:
        return None
    told = Engine(program=program, version="", rootless=False, limits=True, init=True)
    try:
        if name == "podman":
            asked = "{{.Version.Version}} {{.Host.Security.Rootless}} {{.Host.CgroupsVersion}}"
            version, rootless, groups = told("info", "--format", asked).split()
            init = any(map(os.path.exists, _INITS)) or shutil.which("catatonit") is not None
            return dataclasses.replace(
                told,
                version=version,
                rootless=rootless == "true",
                limits=rootless != "true" or groups == "v2",
                init=init,
            )
        return dataclasses.replace(told, version=told("version", "--format", "{{.Server.Version}}"))
    except (OSError, ValueError):
        return None


class ContainerExecutor:
    """Containers of this machine. The image of an order must be here or to be had from its registry."""

    name = "container"

    def __init__(self, engine: Engine, *, image: str = "") -> None:
        self.engine = engine
        self._image = image
        self._processes = ProcessExecutor()

    @classmethod
    def find(cls, *, image: str = "") -> "ContainerExecutor | None":
        """With the first engine that works; `image` for orders that name none."""
        for name in ENGINES:
            engine = find_engine(name)
            if engine is not None:
                return cls(engine, image=image)
        return None

    def sweep(self) -> None:
        """Remove the containers that dead agents of this machine have left behind."""
        with contextlib.suppress(OSError):
            listed = self.engine(
                "ps", "-a", "--filter", f"label={_LABEL}", "--format", f'{{{{.ID}}}} {{{{.Label "{_LABEL}"}}}}'
            )
            for line in listed.splitlines():
                container, _, owner = line.partition(" ")
                if owner != _agent(int(owner.partition(".")[0] or 0)):
                    self.engine("rm", "--force", container)

    def start(self, order: Order) -> "ContainerExecution":
        """Begin; OSError, with a sentence, when there is no such image or the engine refuses."""
        image = order.image or self._image
        if not image:
            raise OSError("it names no image to execute it in, e.g. with `--needs image=python:3.11`")
        if not order.folder.is_relative_to(order.work):
            raise OSError(f"a container does not see {order.folder}: the code of the run was not recorded")
        digest = self._digest(image)
        name = f"larder-{order.run[-12:]}-{secrets.token_hex(4)}"
        env = environment(order)
        command = [*arguments(self.engine, order, image=image, name=name, env=env), *order.command]
        # What the engine limits, nobody else need limit; where it cannot, the keeper watches.
        limits = Limits() if self.engine.limits else dataclasses.replace(order.limits, cpus=0.0, gpus=())
        client = dataclasses.replace(order, command=command, env={**os.environ, **env}, limits=limits)
        inspect = [self.engine.program, "inspect", "--format", "{{.State.OOMKilled}} {{.State.ExitCode}}", name]
        remove = [self.engine.program, "rm", "--force", name]
        kills = keeper.kills(keeper.MACHINE)
        execution = self._processes._start(client, after=[inspect, remove])
        facts = {
            "image": image,
            "image_digest": digest,
            "engine": f"{Path(self.engine.program).name} {self.engine.version}",
        }
        return ContainerExecution(self.engine, name, execution, facts, memory=order.limits.memory, kills=kills)

    def close(self) -> None:
        """End the fork server."""
        self._processes.close()

    def _digest(self, image: str) -> str:
        asked = (
            "image",
            "inspect",
            "--format",
            "{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}",
            image,
        )
        try:
            return self.engine(*asked)
        except OSError:
            self.engine("pull", "--quiet", image, timeout=_PULL)
            return self.engine(*asked)


def environment(order: Order) -> dict[str, str]:
    """The variables of an order that mean something in a container: not those that describe this machine."""
    env = {
        name: value
        for name, value in order.env.items()
        if name not in _OF_THE_MACHINE
        and not name.startswith(_OF_THE_ENGINE)
        and (name.startswith(_KEPT) or name in _KEPT_NAMES or os.environ.get(name) != value)
    }
    # Those that are given are all that it sees, and it counts them from 0.
    env["CUDA_VISIBLE_DEVICES"] = ",".join(str(index) for index in range(len(order.limits.gpus)))
    return env


def arguments(engine: Engine, order: Order, *, image: str, name: str, env: Mapping[str, str]) -> list[str]:
    """The command line up to the command. Variables go by name only: their values stand in nobody's list of processes."""
    limits = order.limits
    parts = [engine.program, "run", "--name", name, "--label", f"{_LABEL}={_agent(os.getpid())}"]
    parts += ["--pull", "never", "--network", "host", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
    parts += ["--security-opt", "label=disable", "--log-driver", "none", "--entrypoint", ""]
    if engine.podman and not engine.rootless:
        # Without being told it asks for more than a machine without that right may give. Processes are counted below.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        parts += ["--ulimit", f"nofile={soft}:{hard}", "--ulimit", f"nproc={_PROCESSES}:{_PROCESSES}"]
    parts += ["--userns", "keep-id"] if engine.podman and engine.rootless else []
    parts += ["--user", f"{os.getuid()}:{os.getgid()}"]
    parts += ["--init"] if engine.init else []
    parts += [f"--workdir={order.folder}"]
    for folder in (order.work, order.journals):
        parts += ["--mount", f"type=bind,source={_mountable(folder)},target={folder}"]
    for folder in dict.fromkeys(order.readable):
        if folder.exists():
            parts += ["--mount", f"type=bind,source={_mountable(folder)},target={folder},readonly"]
    if engine.limits:
        parts += [f"--memory={limits.memory}", f"--memory-swap={limits.memory}"] if limits.memory else []
        parts += [f"--cpus={limits.cpus:g}"] if limits.cpus else []
        parts += [f"--pids-limit={limits.processes}"] if limits.processes else []
    if limits.gpus and engine.podman:
        for index in limits.gpus:
            parts += ["--device", f"nvidia.com/gpu={index}"]
    elif limits.gpus:
        parts += ["--gpus", f'"device={",".join(map(str, limits.gpus))}"']
    # Not by name only: the engine has a home of its own.
    parts += ["--env", f"HOME={order.work}"]
    for variable in env:
        parts += ["--env", variable]
    return [*parts, image]


class ContainerExecution:
    """A started container, seen through the process of its engine's command line."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        client: ProcessExecution,
        facts: Mapping[str, Any],
        *,
        memory: int,
        kills: int,
    ) -> None:
        self.stdout = client.stdout
        self.stderr = client.stderr
        self._engine = engine
        self._name = name
        self._client = client
        self._facts = facts
        self._memory = memory
        self._kills = kills
        self._root = 0
        self._known = threading.Event()
        self._peak = 0
        self._over = False
        self._killed = False
        threading.Thread(target=self._sample, name="container", daemon=True).start()

    @property
    def pid(self) -> int:
        """The first process of the container, as this machine numbers it; 0 as long as that is not known."""
        return self._root

    def wait(self, timeout: float | None = None) -> Exit | None:
        """Until nothing of it is left."""
        ended = self._client.wait(timeout)
        if ended is None:
            return None
        self._over = True
        facts = {**self._facts, **ended.facts}
        told = facts.pop("after", [""])
        killed, _, _ = told[0].partition(" ")
        code = ended.code
        if 128 < code < 128 + signal.NSIG:
            code = 128 - code  # how an engine says which signal it was
        # An engine tells only of the first process. When somebody on this machine was killed for memory while we were
        # at our limit, it was one of ours.
        full = self._memory and self._peak > _FULL * self._memory and keeper.kills(keeper.MACHINE) > self._kills
        out_of_memory = ended.out_of_memory or bool(code and not self._killed and (killed == "true" or full))
        return Exit(code=code, out_of_memory=out_of_memory, facts=facts)

    def stop(self, *, force: bool = False) -> None:
        """SIGTERM to all its processes, with `force` the end of the container."""
        self._killed = self._killed or force
        threading.Thread(target=self._stop, args=(force,), name="stop", daemon=True).start()

    def usage(self) -> Usage:
        """What it has used: the memory of its own processes, without that of the engine."""
        used = self._client.usage()
        return dataclasses.replace(used, peak_memory=self._peak or used.peak_memory)

    def _stop(self, force: bool) -> None:
        # One that has just begun is not yet to be found.
        self._known.wait(_PATIENCE / 10)
        if force:
            with contextlib.suppress(OSError):
                self._engine("kill", "--signal", "KILL", self._name)
            self._client.stop(force=True)
            return
        inside = self._pids()
        # Its first process is the engine's init, which would hand a signal on to one that has had it already.
        chosen = inside[1:] if self._engine.init and len(inside) > 1 else inside
        heard = False
        for pid in chosen:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
                heard = True
        if not heard:
            with contextlib.suppress(OSError):
                self._engine("kill", "--signal", "TERM", self._name)

    def _pids(self) -> Sequence[int]:
        return [self._root, *keeper.descendants(self._root)] if self._root else []

    def _sample(self) -> None:
        pause = 0.05
        while not self._root and not self._over:
            with contextlib.suppress(OSError, ValueError):
                self._root = int(self._engine("inspect", "--format", "{{.State.Pid}}", self._name))
            if not self._root:
                time.sleep(pause)
                pause = min(2 * pause, 1.0)
                if self._client.wait(0) is not None:
                    break
        self._known.set()
        while self._root and not self._over and self._client.wait(0) is None:
            pids = self._pids()
            held = keeper.memory(pids, shared=True)
            if held > self._peak:
                self._peak = max(self._peak, (len(pids) > 1 and keeper.memory(pids, shared=False)) or held)
            time.sleep(keeper.SAMPLE)


def _agent(pid: int) -> str:
    """An agent's process, so named that no later process of the same number is taken for it; empty when it is gone."""
    try:
        began = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        began = ""
        if not pid or os.path.isdir("/proc/self"):
            return ""
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            return f"{pid}."
        return ""
    return f"{pid}.{began}"


def _mountable(folder: Path) -> Path:
    if "," in str(folder):
        raise OSError(f"a folder with a comma in its name cannot be mounted: {folder}")
    return folder
