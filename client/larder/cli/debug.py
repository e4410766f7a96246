"""`larder debug`: a recorded run once more, here, with a debugger."""

import importlib.util
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

import click

from larder import config, ranks
from larder.agent import workspace
from larder.agent.environments import Python, Unbuildable
from larder.cli import output
from larder.runs import RecordedRun, get


@click.command()
@click.argument("run")
@click.option("--dir", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder for the code.")
@click.option("--post-mortem", is_flag=True, help="Run until an exception, and stop where it was raised.")
@click.option("--debugpy", "port", type=click.IntRange(1, 65535), metavar="PORT", help="Wait for an editor there.")
@click.option("--record", is_flag=True, help="Record it as a new run; nothing is recorded otherwise.")
def debug(run: str, folder: Path | None, post_mortem: bool, port: int | None, record: bool) -> None:
    """Execute RUN here once more, with its code, packages, parameters and checkpoint, in a debugger.

    The debugger is pdb, or, with --debugpy, that of an editor. The code is restored into a new folder, named after the
    run unless given; a folder that was made so before is used as it is, with what was changed in it.
    """
    if post_mortem and port:
        raise click.UsageError("--post-mortem is for pdb: an editor stops at exceptions by its own settings.")
    found = get(run)
    target = (folder or Path(f"{found.name or 'run'}-{found.short}-debug".replace("/", "-"))).absolute()
    settings = workspace.Settings.load()
    why = workspace.unrepeatable(found.facts.get("command") or {})
    if why:
        raise click.ClickException(f"Run {found.short} cannot be executed: {why}.")
    _bring_back(found, target)
    try:
        python = settings.environments.get(workspace.spec(found.record), say=output.say)
    except Unbuildable as error:
        raise click.ClickException(f"Run {found.short} has no environment here: {error}.") from error
    try:
        call = workspace.locally(found, target, python=python, settings=settings)
        command = attached(call.command, python, post_mortem=post_mortem, port=port)
        env = dict(call.env)
        for name in ("LARDER_URL", "LARDER_TOKEN", "LARDER_HOME", "LARDER_PROJECT"):
            if name in os.environ:
                env[name] = os.environ[name]
        if record:
            env.setdefault("LARDER_PROJECT", found.project)
        else:
            # As below an agent: each process takes the run's parameters, also those that never call `init`.
            env |= {"LARDER_MODE": "disabled", "LARDER_RUN": found.id, "LARDER_MAIN": f"debug:{found.id}"}
        if port:
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [env["PYTHONPATH"], _debugpy(python, env)]))
        _tell(found, target, python, command, record=record, port=port)
        status = _run(command, call.folder, env)
    finally:
        python.close()
    raise SystemExit(status)


def attached(
    command: Sequence[str], python: Python, *, post_mortem: bool = False, port: int | None = None
) -> list[str]:
    """The command line of a Python script with a debugger in front of the script."""
    found = ranks.python(command) if command[0] == python.executable else None
    if found is None or not (found.script or found.module):
        raise click.ClickException(
            f"Its command is `{' '.join(command)}`, and a debugger goes before a Python script only; "
            "bring the code back with `larder code restore`, and start the script that it starts."
        )
    if port:
        # Never on more than this machine: who reaches a debugger can do everything.
        debugger = ["-m", "debugpy", "--listen", f"127.0.0.1:{port}", "--wait-for-client"]
    else:
        debugger = ["-m", "pdb", *(["-c", "continue"] if post_mortem else [])]
    return [found.interpreter, *found.options, *debugger, *found.program]


def _bring_back(found: RecordedRun, target: Path) -> None:
    code = found.facts.get("code") or {}
    if target.is_dir() and any(target.iterdir()):
        output.say(f"Code: {target} is there already, and is used as it is.")
    elif code.get("kind") in ("git", "folder"):
        tree = workspace.restore(found, target)
        output.say(f"Code: {target}, with the recorded hash {tree}.")
    else:
        raise click.ClickException(f"No code was recorded for run {found.short}, so there is nothing to debug.")


def _debugpy(python: Python, env: Mapping[str, str]) -> str:
    """What must be on the path for debugpy to be found; empty when it is found already."""
    has = subprocess.run([python.executable, "-c", "import debugpy"], env=dict(env), capture_output=True)
    if has.returncode == 0:
        return ""
    ours = importlib.util.find_spec("debugpy")
    if ours is None or ours.origin is None:
        raise click.ClickException("debugpy is neither in the run's environment nor here: `pip install debugpy`.")
    # Only it: what else is installed beside us is not what the run was recorded with.
    folder = config.home() / "client" / "debugpy"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "debugpy"
    link.unlink(missing_ok=True)
    link.symlink_to(PurePath(ours.origin).parent, target_is_directory=True)
    return str(folder)


def _tell(
    found: RecordedRun, target: Path, python: Python, command: Sequence[str], *, record: bool, port: int | None
) -> None:
    output.say(f"Python: {python.fact['python']}, {python.executable}")
    changed = found.facts.get("overrides") or {}
    if changed:
        output.say(f"Parameters: {', '.join(f'{name}={value}' for name, value in changed.items())}")
    checkpoint = found.record.checkpoint
    if checkpoint is not None:
        output.say(f"Checkpoint: {checkpoint.name} version {checkpoint.version}, after step {checkpoint.step}")
    output.say("Recorded as a new run." if record else "Nothing is recorded.")
    output.say(f"Command: {' '.join(command)}")
    if port:
        output.say(f"Waits for an editor at 127.0.0.1:{port}; the code is in {target}.")


def _run(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> int:
    # Ctrl-C is for the debugger.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        status = subprocess.run(list(command), cwd=folder, env=dict(env)).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    return 128 - status if status < 0 else status
