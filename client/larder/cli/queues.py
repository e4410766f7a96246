"""`larder queues`: see what waits and why, and change its order and its policy."""

import time

import click

from larder import config
from larder import queues as sdk
from larder.cli import output
from larder.contract import runs
from larder.contract.endpoint import Nothing
from larder.contract.errors import Invalid, NotFound
from larder.contract.ids import is_id
from larder.contract.queues import Job, Policy, Queue, Why
from larder.queues import change, find, jobs, move
from larder.runs import SHORT, get


@click.group()
def queues() -> None:
    """See what waits and why; change its order and how it is given away."""


@queues.command("ls")
@output.as_json
def ls(as_json: bool) -> None:
    """List the queues with their lengths."""
    found = find()
    if as_json:
        output.document(found)
        return
    rows = [
        {"queue": queue.name, "waiting": queue.waiting, "leased": queue.leased, "agents": queue.agents}
        | {"policy": _policy(queue.policy)}
        for queue in found
    ]
    output.table(rows, ["queue", "waiting", "leased", "agents", "policy"])
    if not rows:
        output.say("No queues yet. `larder runs enqueue RUN` makes the first.")


@queues.command("show")
@click.argument("queue", default="default")
@output.as_json
def show(queue: str, as_json: bool) -> None:
    """List the jobs of a queue: those being executed first, then those that wait, in order."""
    found = jobs(queue)
    if as_json:
        output.document(found)
        return
    places = _places(found)
    rows = [
        {"job": job.id[-SHORT:], "run": job.subject[-SHORT:], "state": job.state, "place": places.get(job.id, "")}
        | {"priority": job.priority.value, "owner": job.owner, "team": job.team}
        | {"agent": job.agent, "since": output.moment(job.created)}
        for job in found
    ]
    output.table(rows, ["job", "run", "state", "place", "priority", "owner", "team", "agent", "since"])
    if not rows:
        output.say(f"Nothing waits in {queue}.")


@queues.command("move")
@click.argument("name", metavar="JOB_OR_RUN")
@click.option("--queue", "-q", default="default", show_default=True, help="Where it waits now.")
@click.option("--top", "to", flag_value="top", default=True, help="To the first place (what happens unless said).")
@click.option("--bottom", "to", flag_value="bottom", help="To the last place.")
@click.option("--before", default="", metavar="JOB_OR_RUN", help="To the place before another.")
@click.option("--to-queue", default="", help="Into another queue.")
@output.as_json
def move_job(name: str, queue: str, to: str, before: str, to_queue: str, as_json: bool) -> None:
    """Move a waiting job; prints its id."""
    waiting = jobs(queue)
    other = _job(waiting, before, queue).id if before else ""
    moved = move(_job(waiting, name, queue).id, to, before=other, queue=to_queue)
    if as_json:
        output.document(moved)
    else:
        click.echo(moved.id)
    place = _places(jobs(moved.queue)).get(moved.id)
    output.say(f"Now in {moved.queue}" + (f" at place {place}." if place else "."))


@queues.command("pause")
@click.argument("queue")
@output.as_json
def pause(queue: str, as_json: bool) -> None:
    """Give nothing away from QUEUE until it is resumed; what is being executed goes on."""
    _changed(change(queue, paused=True), as_json)


@queues.command("drain")
@click.argument("queue")
@output.as_json
def drain(queue: str, as_json: bool) -> None:
    """Take nothing more into QUEUE; what is in it is executed."""
    _changed(change(queue, draining=True), as_json)


@queues.command("resume")
@click.argument("queue")
@output.as_json
def resume(queue: str, as_json: bool) -> None:
    """End a pause and a drain of QUEUE."""
    _changed(change(queue, paused=False, draining=False), as_json)


@queues.command("set")
@click.argument("queue")
@click.option("--limit-per-user", type=int, default=None, help="Jobs of a user executed at a time; 0 for any number.")
@click.option("--share", "shares", multiple=True, metavar="TEAM=WEIGHT", help="A team's share; others have 1.")
@click.option("--no-shares", is_flag=True, help="First come, first served again.")
@output.as_json
def set_policy(queue: str, limit_per_user: int | None, shares: tuple[str, ...], no_shares: bool, as_json: bool) -> None:
    """Say how QUEUE is given away. Shares that are not named stay as they are."""
    if limit_per_user is None and not shares and not no_shares:
        raise click.UsageError("Say --limit-per-user, --share or --no-shares.")
    weights: dict[str, float] | None = {} if no_shares else None
    if shares:
        before = {} if no_shares else next((one.policy.shares for one in find() if one.name == queue), {})
        weights = {**before, **dict(_share(text) for text in shares)}
    _changed(change(queue, limit_per_user=limit_per_user, shares=weights), as_json)


@queues.command("why")
@click.argument("name", metavar="RUN_OR_JOB")
@output.as_json
def why(name: str, as_json: bool) -> None:
    """Say why a run waits, and when it is expected to start."""
    told = _why(name)
    if as_json:
        output.document(told)
        return
    if told.job.state == "waiting":
        click.echo(f"Waits in {told.job.queue} at place {told.ahead + 1} since {output.moment(told.job.created)}.")
    for reason in told.reasons:
        click.echo(reason)
    if not told.reasons:
        click.echo("Nothing keeps it: the next agent that asks has it.")
    if told.starts is not None and told.job.state == "waiting":
        left = told.starts / 1e6 - time.time()
        click.echo("Expected to start " + (f"in {output.duration(left)}." if left > 1 else "now."))


@queues.command("history")
@click.argument("queue", default="default")
@click.option("--hours", default=24.0, show_default=True, type=float, help="How far back.")
@click.option("--points", default=24, show_default=True, type=int, help="In how many stretches.")
@output.as_json
def history(queue: str, hours: float, points: int, as_json: bool) -> None:
    """Show how long QUEUE was, and how long its jobs waited."""
    found = sdk.history(queue, hours=hours, points=points)
    if as_json:
        output.document(found)
        return
    rows = [
        {"until": output.moment(time), "waiting": waiting, "leased": leased, "wait": output.duration(wait)}
        for time, waiting, leased, wait in zip(found.times, found.waiting, found.leased, found.waits, strict=True)
    ]
    output.table(rows, ["until", "waiting", "leased", "wait"])


def _policy(policy: Policy) -> str:
    words = ["paused"] if policy.paused else []
    words += ["draining"] if policy.draining else []
    words += [f"{policy.limit_per_user} per user"] if policy.limit_per_user else []
    words += [f"{team or 'no team'}={weight:g}" for team, weight in sorted(policy.shares.items())]
    return ", ".join(words)


def _changed(queue: Queue, as_json: bool) -> None:
    if as_json:
        output.document(queue)
    output.say(f"{queue.name}: {_policy(queue.policy) or 'open, first come, first served'}.")


def _share(text: str) -> tuple[str, float]:
    team, equals, weight = text.partition("=")
    try:
        return team, float(weight if equals else "")
    except ValueError:
        raise click.BadParameter(f"{text!r} is not TEAM=WEIGHT, such as vision=2", param_hint="--share") from None


def _why(name: str) -> Why:
    transport = config.connect()
    try:
        run = get(name, transport=transport)
    except NotFound:
        job_id = name.strip().lower()
        if not is_id(job_id):
            raise
        return sdk.why(job_id, transport=transport)
    return transport.call(runs.WHY, Nothing(), run_id=run.id)


def _places(found: list[Job]) -> dict[str, int]:
    """Places as people count them: the server lists what waits in the order of lease."""
    waiting = [job for job in found if job.state == "waiting"]
    return {job.id: place for place, job in enumerate(waiting, start=1)}


def _job(waiting: list[Job], name: str, queue: str) -> Job:
    text = name.lower().rstrip("/").rsplit("/", 1)[-1]
    found = [job for job in waiting if len(text) >= 6 and (job.id.endswith(text) or job.subject.endswith(text))]
    if len(found) > 1:
        raise Invalid(f"Several jobs are named by {name!r}.", hint="Give more of the id.")
    if found:
        return found[0]
    run = get(name) if len(text) >= 6 else None
    if run is not None and run.queue and run.queue != queue:
        raise NotFound(f"{name} waits in {run.queue}, not in {queue}.", hint=f"Say --queue {run.queue}.")
    raise NotFound(f"{name!r} does not wait in {queue}.", hint=f"`larder queues show {queue}` lists what does.")
