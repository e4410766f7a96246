"""Several processes of one run: a command line as torchrun starts it, once for each rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from larder.contract.errors import Invalid

LAUNCHER = "torch.distributed.run"
"""The module of torchrun: the environment's own, so that its version is that of the torch which is trained with."""

ENVIRONMENT = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""Variables of the launcher. With one store for all its starts, a rank that is started again may find the addresses of
those that are gone, and the group never meets: https://github.com/pytorch/pytorch/issues/135712
"""

_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")


@dataclass(frozen=True, kw_only=True)
class Group:
    """The processes of one run on one machine, and how often all are started again when one of them is lost.

    `rendezvous` is where they meet; a free port of this machine is enough as long as they are all on it.
    """

    processes: int
    restarts: int = 0
    rendezvous: str = "localhost:0"


@dataclass(frozen=True)
class Python:
    """A command line that starts Python: the interpreter, its own options, and the program with its arguments."""

    interpreter: str
    options: tuple[str, ...]
    program: tuple[str, ...]

    @property
    def module(self) -> str:
        """The module that it executes, where it is one."""
        return self.program[1] if self.program[:1] == ("-m",) and len(self.program) > 1 else ""

    @property
    def script(self) -> str:
        """The file that it executes, where it is one."""
        return self.program[0] if self.program and not self.program[0].startswith("-") else ""


def python(argv: Sequence[str]) -> Python | None:
    """The parts of a command line whose program is a Python interpreter; None for another program."""
    if not argv or not Path(argv[0]).name.startswith(("python", "pypy")):
        return None
    end = 1
    while end < len(argv) and argv[end].startswith("-") and argv[end] not in ("-m", "-c", "-"):
        end += 2 if argv[end] in _WITH_VALUE else 1
    return Python(argv[0], tuple(argv[1:end]), tuple(argv[end:]))


def launched(argv: Sequence[str], group: Group) -> list[str]:
    """The command line that starts the processes of a group; Invalid when its program is not a Python script."""
    found = python(argv)
    if found is None or not (found.script or found.module):
        raise Invalid(
            f"{argv[0] if argv else 'Nothing'} cannot be started as several processes.",
            hint="Write the command as `python train.py …` or `python -m module …`.",
        )
    options = ["--nproc-per-node", str(group.processes)]
    options += ["--max-restarts", str(group.restarts)] if group.restarts else []
    options += ["--rdzv-backend", "c10d", "--rdzv-endpoint", group.rendezvous]
    return [found.interpreter, *found.options, "-m", LAUNCHER, *options, *found.program]
