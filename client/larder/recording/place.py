"""Which run this process records, and as what: its main process, a child of it, or a rank of a distributed job."""

import os
from contextlib import suppress
from pathlib import Path

from larder.contract import ids

MODES = ("online", "offline", "disabled")

SCRIPT = "LARDER_SCRIPT"
"""Environment: the process that an agent has started, as its children are told."""

WRAPPER = "LARDER_WRAPPER"
"""Environment: the process of `larder run`, as what it starts is told."""

STARTED = "LARDER_STARTED"
"""Environment: the rank that a launcher has started again has said so, and what comes after it is a part of its work."""

joined: set[str] = set()
"""The runs that this process has begun under a name that the environment gives: it gives each only once."""


class Place:
    """Who this process is in which run."""

    def __init__(
        self,
        *,
        id: str,
        mode: str = "online",
        role: str = "main",
        rank: int = 0,
        attempt: int = 0,
        resumed: bool = False,
    ) -> None:
        self.id = id
        self.mode = mode
        self.role = role
        self.rank = rank
        self.attempt = attempt
        self.resumed = resumed
        # An agent watches this process and says how it ended, if the process does not.
        self.agent = attempt > 0
        # An agent sends what this process writes: it needs no companion, and waits for nobody at its end.
        self.supervised = os.environ.get("LARDER_AGENT") == "1" and role != "main"
        # Its launcher has started it again within the attempt, after some rank was lost.
        self.restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0) > 0 and STARTED not in os.environ
        # It is what `larder run` has started, not a child of that.
        self.wrapped = os.environ.get(WRAPPER) == str(os.getppid())
        # It is what the agent has started, not a child of that.
        self.script = self.supervised and os.environ.get(SCRIPT, "") in ("", str(os.getpid()))

    @property
    def folder(self) -> str:
        # Attempts of a run on one machine are kept apart: what a zombie left must not pass for the new attempt's.
        return f"{self.id}.{self.attempt}" if self.attempt else self.id


def told(resume: str | None) -> Place:
    """Which run this process is in, as what: told by the environment."""
    env = os.environ
    mode = env.get("LARDER_MODE") or "online"
    if mode not in MODES:
        raise ValueError(f"LARDER_MODE is {mode!r}, and may be {', '.join(MODES)}")
    world = int(env.get("WORLD_SIZE") or 1)
    rank = int(env.get("RANK") or 0) if world > 1 else 0
    again = world > 1 and int(env.get("TORCHELASTIC_RESTART_COUNT") or 0) > 0
    given = env.get("LARDER_RUN", "")
    attempt = int(env.get("LARDER_ATTEMPT") or 0)
    if resume:
        return Place(id=resume, mode=mode, resumed=True)
    if given and given not in joined:
        if not ids.is_id(given):
            raise ValueError(f"LARDER_RUN is {given!r}, which is not the id of a run")
        main, _, of = env.get("LARDER_MAIN", "").partition(":")
        if of == given and main != str(os.getpid()):
            # Of ranks that were started again, the first says so: what came after its checkpoint is repeated.
            return Place(
                id=given, mode=mode, role="rank" if rank else "child", rank=rank, attempt=attempt,
                resumed=again and not rank,
            )  # fmt: skip
        joined.add(given)
        # The same process under the same name is a script that has executed itself anew.
        return Place(
            id=given, mode=mode, role="rank" if rank else "main", rank=rank, attempt=attempt, resumed=of == given
        )
    if world > 1 and env.get("RANK"):
        shared = shared_id()
        if shared not in joined:
            joined.add(shared)
            return Place(id=shared, mode=mode, role="rank" if rank else "main", rank=rank, resumed=again)
    run = ids.new_id()
    joined.add(run)
    return Place(id=run, mode=mode, rank=0)


def shared_id() -> str:
    """The same id in every rank of a distributed job, from what only they share."""
    import hashlib

    env = os.environ
    parts = [env.get("MASTER_ADDR", ""), env.get("MASTER_PORT", ""), env.get("TORCHELASTIC_RUN_ID", "")]
    if env.get("LOCAL_WORLD_SIZE", env.get("WORLD_SIZE")) == env.get("WORLD_SIZE"):
        # All on this machine, started by one launcher: the next job at the same port has another.
        parts.append(str(os.getppid()))
        with suppress(OSError, IndexError):
            parts.append(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[19])
    text = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-8{text[17:20]}-{text[20:32]}"


def is_inherited() -> bool:
    """Whether a process above this one records."""
    main, _, run = os.environ.get("LARDER_MAIN", "").partition(":")
    return bool(run) and run == os.environ.get("LARDER_RUN") and main != str(os.getpid())
