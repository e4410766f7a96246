"""`larder queues`: see what waits and change its order."""

import click

from larder.cli import output
from larder.contract.errors import Invalid, NotFound
from larder.contract.queues import Job
from larder.queues import find, jobs, move
from larder.runs import SHORT, get


@click.group()
def queues() -> None:
    """See what waits and change its order."""


@queues.command("ls")
@output.as_json
def ls(as_json: bool) -> None:
    """List the queues with their lengths."""
    found = find()
    if as_json:
        output.document(found)
        return
    rows = [{"queue": queue.name, "waiting": queue.waiting, "leased": queue.leased} for queue in found]
    output.table(rows, ["queue", "waiting", "leased"])
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
        | {"agent": job.agent, "since": output.moment(job.created)}
        for job in found
    ]
    output.table(rows, ["job", "run", "state", "place", "agent", "since"])
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


def _places(found: list[Job]) -> dict[str, int]:
    """Places as people count them; `position` of a job only orders."""
    waiting = sorted((job for job in found if job.state == "waiting"), key=lambda job: (job.position, job.created))
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
