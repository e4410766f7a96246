"""A command line and the code it needs, taken from this folder as they are now and put into a queue."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blake3 import blake3

from larder import capture, config, ranks, supervise
from larder import needs as language
from larder.capture import code, packages
from larder.capture.git import GitError
from larder.contract import ids, objects, runs
from larder.contract.errors import Invalid
from larder.contract.queues import Needs
from larder.contract.runs import Param
from larder.params import recorded
from larder.ranks import Group
from larder.recording import names
from larder.runs import RecordedRun
from larder.transport import Transport

_TOGETHER = 10_000
"""Hashes asked for at once."""

_SHOWN = ("OMP_NUM_THREADS", "PYTHONHASHSEED", "TZ", "VIRTUAL_ENV", "CONDA_DEFAULT_ENV")
_ASK = "import json, sys; print(json.dumps([sys.executable, sys.version.split()[0], sys.path[1:]]))"
_INTERPRETER = re.compile(rb"#! ?(/\S*/python[\w.]*)")


@dataclass(frozen=True)
class _Interpreter:
    executable: str
    version: str
    packages: Mapping[str, str]


def submit(
    command: Sequence[str],
    queue: str = "default",
    *,
    needs: "Needs | str | Mapping[str, Any] | None" = None,
    project: str = "",
    name: str = "",
    tags: Sequence[str] = (),
    notes: str = "",
    params: Mapping[str, Param] | None = None,
    image: str = "",
    environment: str = "",
    requirements: Sequence[str] = (),
    retry: "runs.Retry | int | None" = None,
    priority: str = "",
    processes: "Group | int | None" = None,
    transport: Transport | None = None,
) -> RecordedRun:
    """Put a command into a queue with the code of this folder, for an agent to execute.

    `needs` are written as on the command line, `"gpus=1,memory=8GB"`. `requirements` come on top of the packages that
    are installed here; `environment` is `recorded`, `inherit` or the path of an interpreter, `image` that of a
    container. `retry` says how often it is tried again; `processes` how many processes torchrun starts of it.
    """
    argv = [str(part) for part in command]
    wanted = _wanted(needs, image)
    group = Group(processes=processes) if isinstance(processes, int) else processes
    asked = [requirements] if isinstance(requirements, str) else list(requirements)
    transport = transport or config.connect()
    if not argv or not argv[0]:
        raise Invalid("There is no command to put into the queue.", hint="Say it after `--`.")
    program = shutil.which(argv[0]) or ""
    if not program and not wanted.image:
        raise Invalid(f"{argv[0]}: no such command.", hint="With an image it would be looked for there.")
    if group is not None:
        ranks.launched(argv, group)  # refused before anything is looked at
    # What an image holds is said by whoever executes it; here only the interpreter of this machine can be asked.
    interpreter = None if wanted.image else _interpreter(argv[0], program)
    if group is not None and interpreter is not None and environment in ("", "recorded"):
        needs_torch(interpreter.packages, asked, interpreter.executable)
    with tempfile.TemporaryDirectory(prefix="larder-submit-") as scratch:
        taken = _code(argv, Path(scratch))
        placed = _within(argv, taken.fact)
        fact = supervise.described(placed, program=program, group=group)
        fact["env"] |= {each: os.environ[each] for each in _SHOWN if each in os.environ}
        facts: dict[str, Any] = {"command": fact, "code": dict(taken.fact)}
        if interpreter is not None:
            fact["python"] = interpreter.version
            facts["packages"] = {"python": interpreter.version, **interpreter.packages}
        if environment or asked:
            facts["environment"] = {"from": environment, "requirements": asked}
        artifacts = _upload(taken, transport)
    run_id = ids.new_id()
    draft = runs.NewRun(
        project=project or os.environ.get("LARDER_PROJECT") or "default",
        name=name or names.name(run_id),
        id=run_id,
        params={each: recorded(each, value) for each, value in {**supervise.arguments(argv), **(params or {})}.items()},
        tags=[tags] if isinstance(tags, str) else list(tags),
        notes=notes,
        facts=facts,
        artifacts=artifacts,
        needs=wanted,
        retry=runs.Retry(times=retry) if isinstance(retry, int) else retry or runs.Retry(),
    )
    transport.call(runs.CREATE, draft)
    enqueued = transport.call(runs.ENQUEUE, runs.Enqueue(queue=queue, priority=priority), run_id=run_id)
    return RecordedRun(transport, enqueued)


def _wanted(given: "Needs | str | Mapping[str, Any] | None", image: str) -> Needs:
    wanted = language.of(given) or Needs()
    if image:
        if wanted.image not in ("", image) or wanted.executor not in ("", "container"):
            raise Invalid(f"The image {image} and the needs {language.show(wanted)} contradict one another.")
        wanted = replace(wanted, image=image)
    return replace(wanted, executor="container") if wanted.image else wanted


# -- the interpreter -----------------------------------------------------------------------------------------------


def needs_torch(installed: Mapping[str, str], requirements: Sequence[str], where: str) -> None:
    """Invalid unless torch, which starts the processes of a group, is there or will be."""
    if "torch" not in installed and not any(re.match(r"\s*torch\b(?!-)", each) for each in requirements):
        raise Invalid(
            f"Several processes are started by torchrun, and torch is not installed in the environment of {where}.",
            hint="Install it there, or start the processes with a launcher of your own.",
        )


def installed_for(command: str) -> Mapping[str, str]:
    """The packages of the interpreter that a command names, by name; Invalid when it cannot be asked."""
    return _interpreter(command, shutil.which(command) or "").packages


def _interpreter(command: str, program: str) -> _Interpreter:
    """The interpreter that is the program, that a console script names in its first line, or, for others, our own."""
    executable = program if Path(command).name.startswith("python") else _named(program)
    if not executable:
        return _Interpreter(sys.executable, sys.version.split()[0], packages.installed(sys.path))
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("LARDER_")}
    try:
        asked = subprocess.run(
            [executable, "-c", _ASK], env=quiet, capture_output=True, text=True, timeout=60, check=True
        )
        found, version, path = json.loads(asked.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise Invalid(f"{executable} does not work as a Python interpreter: {error}") from error
    return _Interpreter(found or executable, version, packages.installed(path))


def _named(program: str) -> str:
    try:
        with open(program, "rb") as file:
            found = _INTERPRETER.match(file.readline(500))
    except OSError:
        return ""
    return os.fsdecode(found[1]) if found is not None else ""


# -- the code ------------------------------------------------------------------------------------------------------


def _code(argv: Sequence[str], scratch: Path) -> code.Taken:
    if "code" in capture.switched_off({}):
        return code.Taken({"kind": "none", "root": os.getcwd(), "tree": "", "why": "its capture is switched off"})
    cwd = Path.cwd()
    place = code.place({"cwd": str(cwd), "argv": argv[1:]})
    try:
        return code.repository(place, scratch, home=config.home())
    except GitError as error:
        # What the script finds beside itself and from where it is started shall both be there.
        return code.folder(cwd if place.is_relative_to(cwd.resolve()) else place, scratch=scratch, why=str(error))


def _within(argv: Sequence[str], fact: Mapping[str, Any]) -> list[str]:
    """The command line; where it is started from outside of its code, with whole paths, which an agent can move."""
    cwd, root = Path.cwd(), Path(str(fact.get("root") or "."))
    if cwd.is_relative_to(root) or cwd.resolve().is_relative_to(root.resolve()):
        return list(argv)
    return [argv[0], *(str((cwd / part).resolve()) if (cwd / part).is_file() else part for part in argv[1:])]


def _upload(taken: code.Taken, transport: Transport) -> list[runs.NewArtifact]:
    """Put the files of the code into the object store; answers the artifacts that they make."""
    places: dict[str, Path] = {}
    artifacts = []
    for parcel in taken.parcels:
        files = []
        for path, place in sorted(parcel.files.items()):
            digest = blake3().update_mmap(place).hexdigest()
            places[digest] = place
            files.append(runs.ArtifactFile(path=path, hash=digest, size=place.stat().st_size))
        artifacts.append(
            runs.NewArtifact(
                name=parcel.name,
                kind="code",
                format=parcel.format,
                files=files,
                metadata=dict(parcel.metadata),
                time=time.time_ns() // 1000,
            )
        )
    hashes = sorted(places)
    for first in range(0, len(hashes), _TOGETHER):
        asked = objects.Hashes(hashes=hashes[first : first + _TOGETHER])
        for missing in transport.call(objects.MISSING, asked).hashes:
            transport.upload(objects.PUT, places[missing], hash=missing)
    return artifacts
