"""Plays one fault on a stage of its own and says how it went."""

import shutil
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.faults import catalogue
from tests.faults.catalogue import Fault
from tests.faults.stage import Skipped, Stage, World


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a fault went; `message` says why it failed or was skipped. The folder holds the evidence of a failure."""

    fault: str
    seed: str
    seconds: float
    folder: Path
    message: str = ""
    skipped: bool = False

    @property
    def ok(self) -> bool:
        return not self.message or self.skipped

    @property
    def line(self) -> str:
        """In one line."""
        word = "skipped" if self.skipped else "ok" if self.ok else "FAILED"
        first = self.message.strip().splitlines()[-1] if self.message.strip() else ""
        return f"{self.fault:28} {word:8}{self.seconds:6.1f} s  {first[:200]}".rstrip()


def play(world: World, fault: Fault, seed: str, folder: Path, *, keep: bool = False) -> Outcome:
    """Play a fault; the same seed chooses the same moments (what the machine makes of them is its own affair).

    The folder is removed when all went well, unless it shall be kept.
    """
    folder = folder / fault.name
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    message, skipped = "", False
    stage = None
    server = None
    try:
        if fault.own_server:
            options: dict[str, Any] = {"host": fault.host}
            if fault.own_postgres:
                options["database"] = world.empty_database(own=True)
            if fault.faulty_clock:
                options["environment"] = catalogue.clock_environment(folder / "clock")
            server = world.start(folder, **options)
        stage = Stage(world, folder, Random(f"{seed}/{fault.name}"), server or world.shared)
        began = time.monotonic()
        fault.play(stage, stage.random)
        stage.finish()
    except Skipped as reason:
        message, skipped = str(reason), True
    except Exception:  # the edge of a fault: whatever went wrong is its result
        message = traceback.format_exc()
        (folder / "failure.txt").write_text(f"seed {seed}\n{message}")
        if server is None:
            log = world.folder / "shared" / "server.log"
            if log.exists():
                shutil.copy(log, folder / "server.log")
    finally:
        if stage is not None:
            stage.close()
        if server is not None:
            server.stop()
    if not message and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(
        fault=fault.name, seed=seed, seconds=time.monotonic() - began, folder=folder, message=message, skipped=skipped
    )
