"""What runs announce; the subject is the run's id."""

from typing import Any

from larder.contract.runs import Cause, RunStatus
from larder_server.kernel.outbox import Event

CREATED = "runs.created"
STARTED = "runs.started"
FINISHED = "runs.finished"
TIDY_DUE = "runs.tidy_due"
LOGGED = "runs.logged"


def created(run_id: str, *, project: str, name: str, kind: str, parent: str | None) -> Event:
    return _event(CREATED, run_id, {"project": project, "name": name, "kind": kind, "parent": parent})


def changed(run_id: str, *, fields: list[str]) -> Event:
    return _event("runs.changed", run_id, {"fields": fields})


def queued(run_id: str, *, queue: str) -> Event:
    return _event("runs.queued", run_id, {"queue": queue})


def started(run_id: str, *, attempt: int, agent: str, host: str) -> Event:
    return _event(STARTED, run_id, {"attempt": attempt, "agent": agent, "host": host})


def restarted(run_id: str, *, attempt: int, wiped: dict[str, int]) -> Event:
    """The run begins anew; `wiped` counts what an earlier attempt had left."""
    return _event("runs.restarted", run_id, {"attempt": attempt, "wiped": wiped})


def continued(run_id: str, *, attempt: int, step: int, wiped: dict[str, int]) -> Event:
    """The attempt goes on after a step; `wiped` counts the series and artifacts that went beyond it."""
    return _event("runs.continued", run_id, {"attempt": attempt, "step": step, "wiped": wiped})


def resumed(run_id: str, *, before: RunStatus) -> Event:
    return _event("runs.resumed", run_id, {"before": str(before)})


def stop_asked(run_id: str, *, reason: str) -> Event:
    return _event("runs.stop_asked", run_id, {"reason": reason})


def finished(run_id: str, *, project: str, kind: str, status: RunStatus, reason: str, cause: Cause) -> Event:
    data = {"project": project, "kind": kind, "status": str(status), "reason": reason, "cause": str(cause)}
    return _event(FINISHED, run_id, data)


def requeued(run_id: str, *, attempt: int, reason: str, cause: Cause) -> Event:
    """The attempt has ended early, and the run waits for the next one."""
    return _event("runs.requeued", run_id, {"attempt": attempt, "reason": reason, "cause": str(cause)})


def reset(run_id: str, *, before: RunStatus) -> Event:
    """An ended run is a draft again."""
    return _event("runs.reset", run_id, {"before": str(before)})


def published(run_id: str) -> Event:
    return _event("runs.published", run_id, {})


def lost(run_id: str, *, reason: str) -> Event:
    return _event("runs.lost", run_id, {"reason": reason})


def deleted(run_id: str, *, project: str, name: str) -> Event:
    return _event("runs.deleted", run_id, {"project": project, "name": name})


def artifact_logged(run_id: str, *, name: str, version: int, kind: str) -> Event:
    return _event("runs.artifact_logged", run_id, {"name": name, "version": version, "kind": kind})


def logged(run_id: str) -> Event:
    """Something of the run arrived: a signal for those who wait, never written down."""
    return _event(LOGGED, run_id, {})


def tidy_due(run_id: str) -> Event:
    return _event(TIDY_DUE, run_id, {})


def _event(name: str, run_id: str, data: dict[str, Any]) -> Event:
    return Event(name=name, subject=run_id, data=data)
