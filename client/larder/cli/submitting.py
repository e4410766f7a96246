"""The half of `larder run` that an agent executes: into the queue, and what is said of it from here."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from larder import needs as language
from larder import rehearsal, submission
from larder.cli import output
from larder.contract.runs import Cause, Retry, RunStatus
from larder.ranks import Group
from larder.runs import RecordedRun, get
from larder.supervise import Recorded


def submit(
    command: Sequence[str],
    group: Group | None,
    params: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    rehearse: Callable[[int], Recorded],
) -> None:
    """Put the command into a queue, compare or follow what becomes of it, and exit; `rehearse` runs steps of it here."""
    needs = language.parse(options["needs"]) if options["needs"] else None  # refused before anything runs
    local = None
    if options["dry_steps"]:
        done = rehearse(options["dry_steps"])
        if done.exit_status or not done.run:
            output.say("It failed here, so nothing was put into the queue.")
            sys.exit(done.exit_status or 1)
        local = get(done.run)
    found = submission.submit(
        command,
        options["queue"],
        needs=needs,
        project=options["project"],
        name=options["name"],
        tags=options["tags"],
        notes=options["notes"],
        params=params,
        image=options["image"] or "",
        environment=options["environment"] or "",
        requirements=options["requirements"],
        retry=_retry(options["retry"], options["retry_on"]),
        priority=options["priority"] or "",
        processes=group,
    )
    if not options["as_json"]:
        click.echo(found.id)
    output.say(f"Waits in queue {options['queue']}: {found.url}")
    agrees = True
    pairs: list[rehearsal.Pair] = []
    try:
        if local is not None:
            pairs, agrees = _compare(local, found, options)
        if options["follow"]:
            for line in found.console(follow=True):
                click.echo(line.text, err=line.stream == "err" or options["as_json"])
        if options["follow"] or options["wait"]:
            found.wait()
            output.say(f"{found.name}: {found.status}" + (f", {found.reason}" if found.reason else ""))
    except KeyboardInterrupt:
        output.say(f"It goes on without us. `larder runs stop {found.short}` stops it.")
        sys.exit(130)
    if options["as_json"]:
        told = {"local": local.id, "agrees": agrees, "compared": pairs} if local is not None else {}
        output.document({"run": found.record, **told} if told else found.record)
    completed = found.status is RunStatus.COMPLETED or not (options["follow"] or options["wait"])
    sys.exit(0 if agrees and completed else 1)


def _compare(local: RecordedRun, remote: RecordedRun, options: Mapping[str, Any]) -> tuple[list[rehearsal.Pair], bool]:
    if not [name for name in local.metrics if not name.startswith("system/")]:
        output.say("It logged no metrics here, so there is nothing to compare.")
        return [], True
    rehearsal.wait(local, remote, only=options["only"], say=output.say)
    pairs = list(rehearsal.compared(local, remote, tolerance=options["tolerance"], only=options["only"]))
    rows = [
        {"metric": pair.metric, "step": pair.step, "local": pair.local, "remote": pair.remote, "matches": pair.matches}
        for pair in pairs
    ]
    if not options["as_json"]:
        output.table(rows, ["metric", "step", "local", "remote", "matches"])
    off = sum(not pair.matches for pair in pairs)
    output.say(f"{off} of {len(pairs)} values differ; the run goes on." if off else f"All {len(pairs)} values match.")
    return pairs, not off


def _retry(times: int | None, causes: Sequence[str]) -> Retry | None:
    if times is None and not causes:
        return None
    default = Retry()
    return Retry(
        times=default.times if times is None else times,
        causes=[*default.causes, *(Cause(cause) for cause in causes if Cause(cause) not in default.causes)],
    )
