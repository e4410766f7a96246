"""An executor starts one prepared order and watches it; how it isolates it is its own affair."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an execution may use; zero for no limit. `memory` in bytes over all its processes, `seconds` of time."""

    cpus: float = 0.0
    memory: int = 0
    processes: int = 0
    seconds: float = 0.0
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Order:
    """What shall be executed.

    `command` in `folder`, which lies in `work`; `env` is the whole environment of its process. `work` and `journals`
    may be written; `readable` are the other places that the command may need (the environment, caches, our own code).
    `imports` are modules that an executor may have imported in advance; `cold` forbids that.
    """

    run: str
    command: list[str]
    folder: Path
    work: Path
    journals: Path
    env: Mapping[str, str]
    readable: tuple[Path, ...] = ()
    image: str = ""
    limits: Limits = field(default_factory=Limits)
    imports: tuple[str, ...] = ()
    cold: bool = False


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What an execution has used so far; memory in bytes over all its processes at once, at its highest."""

    peak_memory: int = 0
    peak_gpu_memory: int = 0
    cpu_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How an execution ended. `code` below zero is a signal, as in `subprocess`. `out_of_memory`: it was killed for it.

    `facts` are what the executor has to say for the record, such as the digest of an image.
    """

    code: int
    out_of_memory: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


class Execution(Protocol):
    """A started order. Its methods may be called from any thread, also after the end."""

    stdout: int
    """Descriptor to read the output from until its end; whoever reads it closes it."""
    stderr: int

    def wait(self, timeout: float | None = None) -> Exit | None:
        """Until nothing of it is left; None when the timeout (seconds) came first. Answers the same again and again."""
        ...

    def stop(self, *, force: bool = False) -> None:
        """SIGTERM to all its processes, with `force` SIGKILL; returns at once."""
        ...

    def usage(self) -> Usage:
        """What it has used."""
        ...


class Executor(Protocol):
    """Starts orders; the work of none outlives the agent's process. `larder.checks.check_executor` says the rest."""

    name: str

    def start(self, order: Order) -> Execution:
        """Begin; OSError when it cannot begin, with a sentence."""
        ...

    def close(self) -> None:
        """End what the executor itself keeps, such as warm parents."""
        ...
