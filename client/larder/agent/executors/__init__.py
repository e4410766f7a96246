"""An executor starts one prepared run and says how it ended; how it isolates it is its own affair."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from larder.contract.runs import RunStatus


@dataclass(frozen=True, kw_only=True)
class Order:
    """What shall be executed: a command in a folder with additions to the environment, and where its noise goes."""

    run: str
    command: list[str]
    folder: Path
    env: Mapping[str, str]
    log: Path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the execution ended."""

    status: RunStatus
    exit_status: int | None = None
    reason: str = ""


class Executor(Protocol):
    """Executes one order.

    `execute` is called once, blocks until nothing of the work is left, and raises OSError when it could not begin.
    `stop` comes from other threads, at any time and more than once, also before the work has begun or after it has
    ended: it asks the work to end and returns at once; the executor ends it by force when it takes longer than the
    executor's grace. With `force` the work ends now. Work must not outlive the agent's process.
    """

    def execute(self, order: Order) -> Outcome:
        """Do the work."""
        ...

    def stop(self, *, force: bool = False) -> None:
        """End the work early."""
        ...
