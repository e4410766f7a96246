"""A leased run made ready on this machine: its code, its interpreter with its packages, its command, its variables."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import msgspec

import larder
from larder import config, ranks, supervise
from larder.agent import environments
from larder.agent.cache import Cancelled, never
from larder.agent.environments import Environments, Python, Spec
from larder.agent.executors import Limits, Order
from larder.agent.trees import Copy, Trees
from larder.capture import code
from larder.contract import runs
from larder.contract.runs import Param
from larder.journal import shipper
from larder.runs import RecordedRun
from larder.transport import Transport

_REPEATED = ("OMP_NUM_THREADS", "PYTHONHASHSEED", "TZ", *ranks.ENVIRONMENT)
"""Variables of the recorded environment that belong to the run rather than to the machine."""

_HANDED_ON = ("LARDER_CAPTURE_OFF", "LARDER_SAMPLE_SECONDS", "LARDER_FINISH_TIMEOUT")
"""Those of our own variables that an agent hands on to what it executes; the others are its own affair."""

_INDEXES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")

_PACKAGE = Path(larder.__file__).resolve().parent

_IMAGE_PYTHON = "python3"
"""The interpreter of a container image."""

KEPT = 7 * 86400.0
"""Seconds for which the folder of an execution stays: a script may have left something there that nobody recorded."""


class Unprepared(Exception):
    """The run cannot be made ready on this machine."""


@dataclass(frozen=True)
class _Held:
    copy: Copy | None
    python: Python | None


@dataclass(frozen=True)
class Settings:
    """What an agent keeps between runs: where everything lies, and what is in use by which order."""

    home: Path
    environments: Environments
    trees: Trees
    cold: bool = False
    _held: dict[Path, _Held] = field(default_factory=dict)

    @classmethod
    def load(cls, *, home: Path | None = None, cold: bool = False) -> "Settings":
        """Below the home folder; LARDER_ENVIRONMENTS_LIMIT and LARDER_TREES_LIMIT bound the caches, in bytes."""
        place = home or config.home()
        limits = os.environ
        return cls(
            home=place,
            environments=Environments(
                place / "environments", int(float(limits.get("LARDER_ENVIRONMENTS_LIMIT") or environments.LIMIT))
            ),
            trees=Trees(place / "trees", *(int(float(limit)) for limit in [limits.get("LARDER_TREES_LIMIT")] if limit)),
            cold=cold,
        )


def prepare(
    run: runs.Run,
    *,
    transport: Transport,
    attempt: int,
    token: str,
    settings: Settings,
    say: Callable[[str], None] = lambda _: None,
    cancelled: Cancelled = never,
    fact: Callable[[str, Any], None] = lambda *_: None,
    gpus: Sequence[int] = (),
) -> Order:
    """Make a run ready: answers what to execute, where, and with which environment.

    `transport` is the agent's own; `token` is the run's. `say` hears, for the run's console, why it takes time; `fact`
    gets what is to be recorded of the run; `cancelled` is asked now and then, and ends it with Interrupted. `gpus` are
    those that were given; the executor shows it no others. Until `release`, what the order uses stays where it is.
    """
    recorded: dict[str, Any] = run.facts.get("command") or {}
    why = unrepeatable(recorded)
    if why:
        raise Unprepared(why)
    about: dict[str, Any] = run.facts.get("code") or {}
    restored = about.get("kind") in ("git", "folder")
    root = Path(about["root"] if restored else recorded.get("cwd") or ".")
    work = settings.home / "work" / run.id / f"{attempt}"
    if work.exists():
        shutil.rmtree(work)  # an earlier start of this very attempt did not get far
    copy: Copy | None = None
    python: Python | None = None
    try:
        if restored:
            copy = settings.trees.copy(
                about, work, lambda draft: restore(RecordedRun(transport, run), draft), cancelled=cancelled
            )
            _link_skipped(about, root, work)
        else:
            work.mkdir(parents=True)
        image = run.needs.image
        if not image:
            python = settings.environments.get(spec(run), say=say, cancelled=cancelled)
            fact("environment", python.fact)
        ours = _ours(settings.home)
        call = _call(run, root, work, python, ours, restored=restored)
        env = dict(call.env)
        env |= {
            "LARDER_RUN": run.id,
            "LARDER_ATTEMPT": str(attempt),
            "LARDER_MODE": "online",
            "LARDER_HOME": str(settings.home),
            "LARDER_URL": transport.url,
            "LARDER_TOKEN": token,
            "LARDER_MAIN": f"agent:{run.id}",
            "LARDER_CONSOLE": "off",
            supervise.AGENT: "1",
        }
    except environments.Unbuildable as error:
        _close(copy, python)
        raise Unprepared(str(error)) from error
    except BaseException:
        _close(copy, python)
        raise
    readable = [ours, _PACKAGE, supervise.HOOK]
    readable += [copy.kept] if copy is not None else []
    readable += [python.folder or Path(python.prefix)] if python is not None else []
    settings._held[work] = _Held(copy, python)
    return Order(
        run=run.id,
        command=call.command,
        folder=call.folder,
        work=work,
        journals=settings.home / "runs" / f"{run.id}.{attempt}",
        env=env,
        readable=tuple(readable),
        image=image,
        limits=Limits(cpus=run.needs.cpus, memory=run.needs.memory, seconds=run.needs.seconds, gpus=tuple(gpus)),
        imports=_imports(run.facts.get("imports")),
        cold=settings.cold,
    )


@dataclass(frozen=True)
class Call:
    """A command ready to be called: in `folder`, with `env` as its whole environment."""

    command: list[str]
    folder: Path
    env: Mapping[str, str]


def locally(run: RecordedRun, work: Path, *, python: Python, settings: Settings) -> Call:
    """The command of a run in a folder of its code that was restored here, outside of any agent and unrecorded."""
    recorded: dict[str, Any] = run.facts.get("command") or {}
    why = unrepeatable(recorded)
    if why:
        raise Unprepared(why)
    about: dict[str, Any] = run.facts.get("code") or {}
    root = Path(about.get("root") or recorded.get("cwd") or ".")
    _link_skipped(about, root, work)
    return _call(run.record, root, work, python, _ours(settings.home), restored=True)


def release(order: Order, settings: Settings) -> None:
    """The order has ended: what it used may be removed when space is short. Its work folder stays for a while."""
    held = settings._held.pop(order.work, None)
    if held is not None:
        _close(held.copy, held.python)


def _imports(fact: Any) -> tuple[str, ...]:
    """The modules that the last execution has imported, those within packages in the order of their import."""
    if not isinstance(fact, Mapping):
        return ()
    return tuple(str(name) for kind in ("modules", "submodules") for name in fact.get(kind) or ())


def unrepeatable(recorded: Mapping[str, Any]) -> str:
    """Why a recorded command cannot be executed again; empty when it can."""
    argv = [str(part) for part in recorded.get("argv") or ()]
    if not argv:
        return "no command was recorded for it, so there is nothing to execute"
    if recorded.get("wrapped") or recorded.get("module") not in (None, "", "ipykernel_launcher"):
        return ""
    if argv[0] in ("", "-c", "-") or Path(argv[0]).name == "ipykernel_launcher.py":
        return "it was recorded in a notebook or an interactive session, which cannot be executed again"
    return ""


def command(
    recorded: Mapping[str, Any], *, moved: tuple[Path, Path] | None = None, python: Python | None = None
) -> list[str]:
    """The recorded command for this machine: with its interpreter, its paths in the folder of the restored code.

    Without a `python` the interpreter is that of a container image.
    """
    argv = [str(part) for part in recorded["argv"]]
    program = str(recorded.get("executable") or "")
    module = str(recorded.get("module") or "")
    interpreter = python.executable if python is not None else _IMAGE_PYTHON
    if recorded.get("wrapped"):
        # Recorded by `larder run`: the whole command line. What came with the interpreter comes with its successor.
        argv[0] = _program(argv[0], program, interpreter, moved)
    else:
        script = str(recorded.get("script") or argv[0])
        if moved is not None and _relative(Path(recorded.get("cwd") or "."), moved[0]) is None:
            argv[0] = script  # it was started from outside of its repository
        argv = [interpreter, "-m", module, *argv[1:]] if module else [interpreter, *argv]
    if moved is None:
        return argv
    root, folder = moved
    head, *rest = argv
    places = []
    for part in rest:
        inside = _relative(Path(part), root) if PurePath(part).is_absolute() else None
        places.append(part if inside is None else str(folder / inside))
    return [head, *places]


def _program(name: str, program: str, interpreter: str, moved: tuple[Path, Path] | None) -> str:
    if _is_python(name):
        return interpreter
    beside = Path(interpreter).parent / Path(name).name
    if PurePath(interpreter).is_absolute() and os.access(beside, os.X_OK) and _is_of_python(program):
        return str(beside)  # a console script, such as torchrun
    if moved is not None:
        inside = _relative(Path(program), moved[0])
        if inside is not None:
            return str(moved[1] / inside)
    return program if program and os.access(program, os.X_OK) else name


def _is_python(name: str) -> bool:
    return PurePath(name).name.startswith("python")


def _is_of_python(program: str) -> bool:
    """Whether a program lies beside an interpreter; one that is not on this machine is taken for such."""
    folder = Path(program).parent
    return not program or not os.path.exists(program) or os.path.exists(folder / "python")


def _interpreter(recorded: Mapping[str, Any]) -> str:
    """The interpreter that a command was recorded with; empty when it is not known."""
    program = str(recorded.get("executable") or "")
    if not recorded.get("wrapped") or _is_python(program):
        return program
    beside = Path(program).parent / "python"
    if program and beside.exists():
        return str(beside) if (Path(program).parent.parent / "pyvenv.cfg").exists() else ""
    environment = str((recorded.get("env") or {}).get("VIRTUAL_ENV") or "")
    return str(Path(environment) / "bin" / "python") if environment else ""


def ship(run_id: str, transport: Transport) -> None:
    """Send what the journals of a run on this machine still hold."""
    shipper.sync(calls=transport, only=lambda info: info.get("run") == run_id)


def tidy(settings: Settings | None = None) -> None:
    """Remove the folders of executions that nothing has touched for long."""
    home = settings.home if settings is not None else config.home()
    for folder in (home / "work").glob("*"):
        newest = max((place.lstat().st_mtime for place in (folder, *folder.glob("*"))), default=0.0)
        if folder.is_dir() and time.time() - newest > KEPT:
            shutil.rmtree(folder, ignore_errors=True)


def restore(run: RecordedRun, folder: Path) -> str:
    """Bring the code of a run back into `folder`, which must be new or empty; answers the hash of the tree."""
    with tempfile.TemporaryDirectory(prefix="larder-code-") as scratch:

        def fetch(name: str) -> Path:
            place = Path(scratch) / name
            run.artifact(name).download(place)
            return place

        return code.restore(run.facts.get("code") or {}, fetch, folder)


def spec(run: runs.Run) -> Spec:
    """What a run asks of its interpreter and packages."""
    recorded: dict[str, Any] = run.facts.get("command") or {}
    about: dict[str, Any] = run.facts.get("code") or {}
    asked: dict[str, Any] = run.facts.get("environment") or {}
    packages: dict[str, Any] = run.facts.get("packages") or {}
    requirements = [str(each) for each in asked.get("requirements") or ()]
    wish = str(asked.get("from") or "")
    return Spec(
        wish="" if wish == "auto" else wish,
        interpreter=_interpreter(recorded),
        python=str(packages.get("python") or recorded.get("python") or ""),
        packages={str(name): str(version) for name, version in packages.items() if name != "python"},
        requirements=requirements,
        # A lock is good for the requirements that it was made of; a clone may have added some.
        lock=str(asked.get("lock") or "") if requirements == asked.get("resolved") else "",
        root=Path(about["root"]) if about.get("root") else None,
    )


# -- helpers -------------------------------------------------------------------------------------------------------


def _call(run: runs.Run, root: Path, work: Path, python: Python | None, ours: Path, *, restored: bool) -> Call:
    recorded: dict[str, Any] = run.facts.get("command") or {}
    overrides: dict[str, Param] = run.facts.get("overrides") or {}
    argv = command(recorded, moved=(root, work) if restored else None, python=python)
    argv = supervise.rewrite(argv, overrides, add=recorded.get("arguments") == "argv")
    env = _environment(recorded, python, work, ours)
    env |= {"LARDER_PARAMS": supervise.encode(overrides), "LARDER_HOOK": "1"}
    if run.checkpoint is not None:
        env["LARDER_CHECKPOINT"] = msgspec.json.encode(run.checkpoint).decode()
    return Call(argv, _folder(recorded, root, work, restored=restored), env)


def _folder(recorded: Mapping[str, Any], root: Path, work: Path, *, restored: bool) -> Path:
    """The working directory: the recorded one, in the restored code if it was in the code."""
    cwd = Path(recorded.get("cwd") or ".")
    if restored:
        inside = _relative(cwd, root)
        if inside is not None:
            cwd = work / inside
            cwd.mkdir(parents=True, exist_ok=True)
            return cwd
        return cwd if cwd.is_dir() else work
    if not cwd.is_dir():
        raise Unprepared(f"its code was not recorded, and this machine has no folder {cwd}")
    return cwd


def _environment(recorded: Mapping[str, Any], python: Python | None, work: Path, ours: Path) -> dict[str, str]:
    """The agent's variables without its secrets, the recorded ones that belong to the run, and the paths."""
    env = {
        name: value
        for name, value in os.environ.items()
        if (not name.startswith(("LARDER_", "UV_")) or name in _HANDED_ON)
        and name not in ("VIRTUAL_ENV", "PYTHONHOME", *_INDEXES)
    }
    env |= {name: value for name, value in (recorded.get("env") or {}).items() if name in _REPEATED}
    path = [str(supervise.HOOK), str(ours)]
    if python is not None:
        path += [str(work / inside) for inside in python.local]
        env["PATH"] = os.pathsep.join(filter(None, [str(Path(python.executable).parent), env.get("PATH", "")]))
        if (Path(python.prefix) / "pyvenv.cfg").is_file():
            env["VIRTUAL_ENV"] = python.prefix
    if python is None or python.folder is None:
        path.append(env.get("PYTHONPATH", ""))
    env["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    # Through a pipe Python would hold its lines back until there are many.
    env.setdefault("PYTHONUNBUFFERED", "1")
    return env


def _ours(home: Path) -> Path:
    """A folder that holds `larder` and nothing else, for the path of interpreters that must see nothing else of ours."""
    folder = home / "client" / hashlib.sha256(str(_PACKAGE).encode()).hexdigest()[:16]
    link = folder / "larder"
    if not link.is_symlink():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(_PACKAGE, target_is_directory=True)
        except FileExistsError:
            pass  # another agent of this home was quicker
    return folder


def _close(copy: Copy | None, python: Python | None) -> None:
    if copy is not None:
        copy.close()
    if python is not None:
        python.close()


def _link_skipped(fact: Mapping[str, Any], root: Path, folder: Path) -> None:
    """Files that were too large to record, such as data, are used from where they lie, if that is on this machine."""
    for skipped in fact.get("skipped") or ():
        source, target = root / str(skipped.get("path", "")), folder / str(skipped.get("path", ""))
        if skipped.get("why") == "may hold a secret" or not source.is_file():
            continue
        if not target.exists() and target.resolve().is_relative_to(folder.resolve()):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)


def _relative(path: Path, root: Path) -> Path | None:
    try:
        return path.relative_to(root)
    except ValueError:
        return None
