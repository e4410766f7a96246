"""`init` and `current`: which run this process records, made from what is asked, the environment and earlier processes."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from larder import config, guard, params
from larder.contract import errors, ids
from larder.contract.values import Param
from larder.journal import format
from larder.recording import facts, values
from larder.recording.place import Place, is_inherited, shared_id, told
from larder.recording.run import Run

CHECKPOINT = "LARDER_CHECKPOINT"
"""Environment: the checkpoint, as JSON, from which the run that an agent executes again may continue."""

PATIENCE = 60.0
"""Seconds for which a rank that begins again waits for what the lost ones have written to reach the server."""

_run: Run | None = None
"""The run that this process records, or has recorded last."""


class _Asked(NamedTuple):
    """What `init` was asked for."""

    # No dataclass: the module for those takes a training process longer to import than all else here.

    project: str | None = None
    name: str | None = None
    params: Any = None
    tags: Sequence[str] = ()
    notes: str = ""
    kind: str = "train"
    parent: Any = None
    resume: str | None = None
    sources: Mapping[str, bool] = {}


def init(
    project: str | None = None,
    name: str | None = None,
    params: Any = None,
    *,
    tags: Sequence[str] = (),
    notes: str = "",
    kind: str = "train",
    parent: Any = None,
    resume: "str | bool | None" = None,
    continue_from: str | None = None,
    capture: Mapping[str, bool] | Literal[False] | None = None,
) -> "Run":
    """Begins a run, or joins the one that the environment names: that of an agent, of a parent process, of a rank.

    `params` may be a mapping, a dataclass, a namespace or an OmegaConf configuration; values that were changed for a
    clone are put into it. `capture` switches sources off by name, or all with False. In a notebook, running the cell
    again finishes the run and begins a new one.

    `resume=True`: when an agent executes this run once more, it goes on from its last checkpoint, if it has kept one.
    `resume=RUN` goes on with a run that did not complete; what completed stays as it is, and a new run with it as
    parent goes on from it. `continue_from="RUN@best:val/mae"` begins a new run from a checkpoint of another, also
    `RUN@last` and `RUN@120`; one that cannot be found is an error. In all of them `run.checkpoint` loads the state,
    None when there is none, and `run.step` is the step that comes next.
    """
    state = _own_checkpoint() if resume is True else None
    if state is None and continue_from is not None:
        # Asked for, not merely recorded: without it the script must not go on.
        from larder import checkpoints

        try:
            state = checkpoints.find(str(continue_from))
        except errors.LarderError as error:
            if error.hint:
                error.add_note(error.hint)  # a traceback shows it, too
            raise
    held: list[bytes] = []
    if _run is not None and not _run.finished:
        held = _run._hand_over()
        _run.finish()
    asked = _Asked(
        project=project,
        name=name,
        params=params,
        tags=[tags] if isinstance(tags, str) else tags,
        notes=notes,
        kind=kind,
        parent=parent,
        resume=resume if isinstance(resume, str) else None,
        sources={"all": False} if capture is False else dict(capture or {}),
    )
    return _init(asked, state=state, held=held)


def attach() -> None:
    """`init` before the first line of the script: it cannot know yet whether the script continues from a checkpoint."""
    undecided = bool(os.environ.get(CHECKPOINT)) and os.environ.get("LARDER_AGENT") == "1"
    undecided = undecided or _is_restart()
    _init(_Asked(), undecided=undecided)


def _init(asked: _Asked, *, state: Any = None, held: Sequence[bytes] = (), undecided: bool = False) -> Run:
    global _run
    try:
        run = _begin(asked, state, undecided)
        for payload in held:
            run._writer.append(payload)
    except Exception as error:  # the edge to user code: without a journal the work goes on unrecorded
        guard.warn("init", f"nothing is recorded, {guard.describe(error)}")
        place = Place(id=asked.resume or ids.new_id(), mode="disabled")
        run = Run(place, asked.project or "default", asked.name or "", config.DEFAULT_URL)
    if state is not None:
        run._checkpoint, run._step = state, state.step
    _run = run
    with guard.guarded("init"):
        run._start(asked.params, asked.sources, _overrides() if _joins_given(run._place) else {})
    return run


def current() -> "Run | None":
    """The run that this process records, or None. A child of a process that records joins its run."""
    if _run is None and is_inherited():
        init()
    return _run if _run is not None and not _run.finished else None


def _begin(asked: _Asked, state: Any, undecided: bool) -> Run:
    resume, parent = asked.resume, asked.parent
    settings = _settings()
    if resume and not ids.is_id(resume):
        from larder.runs import get

        resume = get(resume).id  # by the last characters, as lists show it, or by its address
    place = told(resume)
    project = asked.project or os.environ.get("LARDER_PROJECT") or "default"
    if place.mode == "disabled":
        return Run(place, project, asked.name or _named(place.id), settings.url)
    folder = settings.runs / place.folder
    info = facts.read_info(folder)
    found = None
    if resume:
        known = _asked(settings, resume)
        found = known.pop("checkpoint", None)
        if known.get("completed"):
            place, parent = Place(id=ids.new_id(), mode=place.mode), resume
            guard.say(f"{known['name']} is completed and stays as it is; a new run with it as parent goes on from it")
        elif not info:
            place.attempt = int(known.get("attempt") or 0)
        folder = settings.runs / place.folder
        # What an earlier process, such as the kernel of a notebook before its restart, has not sent yet counts too.
        info = {**known, **info, "last_step": max(known.get("last_step", -1), _last_unsent_step(folder))}
    project = values.printable(str(info.get("project") or project), "project")
    name = values.printable(str(info.get("name") or asked.name or _named(place.id)), "name")
    opening = {
        "project": project,
        "name": name,
        "kind": asked.kind,
        "parent": str(getattr(parent, "id", parent)) if parent is not None else None,
        "continued": None,
        "host": os.uname().nodename,
        "resumed": place.resumed,
        "rank": place.rank,
        "restarted": place.restarted,
    }
    if state is not None and state.run == place.id:
        opening["continued"] = state.step
    elif state is not None and parent is None:
        opening["parent"] = state.run
    run = Run(place, project, name, settings.url, folder=folder, opening=opening, undecided=undecided)
    run._step = int(info.get("last_step", -1))
    if found is not None:
        from larder.checkpoints import Checkpoint

        run._checkpoint = Checkpoint(found)
    run._values.update(info.get("params") or {})
    if place.role == "main" or not info:
        facts.write_info(
            folder, place, project=project, name=name, url=settings.url, kind=asked.kind, sources=asked.sources
        )
    if place.role == "main" and resume and not place.resumed:
        run.record_params(info["params"], source="resume")
    if state is not None and not place.rank and not undecided:
        run.record_fact(
            "continued", {"run": state.run, "name": state.name, "version": state.version, "step": state.step}
        )
    if place.role == "main" or place.script:
        if asked.tags:
            run.set_tags(*asked.tags)
        if asked.notes:
            run.set_notes(asked.notes)
    return run


def _own_checkpoint() -> Any:
    """The newest checkpoint of the run that this process executes again; None when it begins anew."""
    if _is_restart():
        # The launcher has started the ranks again, and they may have kept a newer one than the agent knew of.
        with guard.guarded("resume"):
            from larder import checkpoints

            _wait_for_the_lost()
            return checkpoints.newest(os.environ.get("LARDER_RUN") or shared_id())
    text = os.environ.get(CHECKPOINT, "")
    if not text:
        return None
    with guard.guarded("resume"):
        from larder import checkpoints

        return checkpoints.told(text)
    return None


def _is_restart() -> bool:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0) > 0


def _wait_for_the_lost() -> None:
    """Until the server has what the ranks that are gone have written: all that begin again must hear the same of it."""
    from larder.journal import reader

    run, attempt = os.environ.get("LARDER_RUN") or shared_id(), int(os.environ.get("LARDER_ATTEMPT") or 0)
    folder = _settings().runs / Place(id=run, attempt=attempt).folder
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        waiting = False
        for journal in reader.journals(folder):
            waiting = waiting or (not journal.alive and journal.acknowledged < journal.size)
            journal.close()
        if not waiting:
            return
        time.sleep(0.05)


def _named(run: str) -> str:
    from larder.recording import names

    return names.name(run)


def _joins_given(place: Place) -> bool:
    """Whether overrides of the environment are meant for this run: the first that takes the given name does."""
    return bool(os.environ.get("LARDER_PARAMS")) and os.environ.get("LARDER_RUN", place.id) == place.id


def _overrides() -> dict[str, Param]:
    try:
        document = json.loads(os.environ.get("LARDER_PARAMS") or "{}")
    except ValueError as error:
        guard.warn("LARDER_PARAMS", guard.describe(error))
        return {}
    if not isinstance(document, dict):
        return {}
    # What was masked when it was recorded is no value to run with.
    return {str(name): params.plain(value) for name, value in document.items() if value != params.MASK}


def _settings() -> config.Config:
    try:
        return config.load()
    except Exception as error:  # a damaged file of settings does not stop the work
        guard.warn("config", guard.describe(error))
        return config.Config(config.DEFAULT_URL, "", config.home())


def _asked(settings: config.Config, run: str) -> dict[str, Any]:
    """What the server knows of a run that is resumed here for the first time; nothing when it does not answer soon."""
    try:
        from larder.contract import runs
        from larder.transport import Transport

        transport = Transport(settings.url, settings.token, retries=0, timeout=3.0, connect_timeout=1.0)
        known = transport.call(runs.GET, run_id=run)
        steps = [summary.last_step for name, summary in known.metrics.items() if not name.startswith("system/")]
        return {
            "project": known.project,
            "name": known.name,
            "params": known.params,
            "last_step": max(steps, default=-1),
            "attempt": known.attempt,
            "completed": known.status is runs.RunStatus.COMPLETED,
            "checkpoint": known.checkpoint,
        }
    except Exception as error:  # resuming works without
        guard.warn("resume", f"the server cannot be asked for the last step, {guard.describe(error)}")
        return {}


def _last_unsent_step(folder: Path) -> int:
    """The largest step of the points that wait in a folder; -1 when there is none."""
    from larder.journal import reader

    last = -1
    for journal in reader.journals(folder):
        with guard.guarded("resume"):
            if journal.role != "companion":
                for _, record in journal.records(journal.acknowledged):
                    if record[0] == format.POINTS:
                        last = max(last, record[2])
        journal.close()
    return last
