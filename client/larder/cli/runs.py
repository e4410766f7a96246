"""`larder runs`: find, read, compare, clone, execute and stop runs."""

import csv
import dataclasses
import functools
import io
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from larder import config
from larder import needs as needs_text
from larder.capture.git import Git
from larder.cli import output
from larder.cli.selecting import selecting
from larder.contract.errors import Invalid, LarderError
from larder.contract.queues import Priority
from larder.contract.runs import Cause, Listing, Needs, Retry, RunStatus
from larder.runs import Comparison, RecordedRun, RunList, compare, find, get

_CAUSES = [str(cause) for cause in Cause if cause]


@click.group()
def runs() -> None:
    """Find, read, compare, clone and stop runs.

    A run may be named by its id, by the last 8 characters of it that lists show, or by the address of its page.
    """


def _executing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what is said of a run's execution: the command gets `needs` and `retry`."""
    options = (
        click.option(
            "--needs", "asked", metavar="NEEDS", help="What it needs of a machine: gpus=1,memory=8GB,time=2h."
        ),
        click.option("--retry", "times", type=click.IntRange(0), metavar="N", help="How often it is tried again."),
        click.option("--retry-on", "causes", multiple=True, type=click.Choice(_CAUSES), help="For this cause as well."),
    )

    @functools.wraps(command)
    def told(*, asked: str | None, times: int | None, causes: tuple[str, ...], **given: Any) -> Any:
        retry = None
        if times is not None or causes:
            usual = Retry()
            more = [cause for cause in map(Cause, causes) if cause not in usual.causes]
            retry = Retry(times=usual.times if times is None else times, causes=[*usual.causes, *more])
        return command(needs=None if asked is None else needs_text.parse(asked), retry=retry, **given)

    for option in reversed(options):
        told = option(told)
    return told


@runs.command("ls")
@selecting
@click.option("--limit", "-n", default=20, show_default=True, type=click.IntRange(1))
@click.option("--columns", "-c", default="", help="Comma-separated, such as name,params.lr,metrics.loss.")
@click.option(
    "--as", "form", type=click.Choice(["python", "cli", "curl"]), help="Print this question in another language."
)
@output.as_json
def ls(listing: Listing, limit: int, columns: str, form: str | None, as_json: bool) -> None:
    """List runs; TEXT finds names, tags, notes and remembered numbers."""
    if form is not None:
        click.echo(_question(form, listing, limit))
        return
    found = find(**dataclasses.asdict(listing), limit=limit)
    if as_json:
        output.document([run.record for run in found])
        return
    rows = [_row(run) for run in found]
    chosen = [name.strip() for name in columns.split(",") if name.strip()] or _columns(found, listing)
    output.table(rows, ["id", *(name for name in chosen if name != "id")])
    if not rows:
        narrow = listing.where or listing.text or listing.project
        output.say("No runs match." if narrow else "No runs yet. `larder run -- CMD` records one.")
    elif found.total > len(rows):
        output.say(f"{len(rows)} of {found.total} runs; -n {found.total} lists all.")


@runs.command("export")
@selecting
@click.option("--limit", "-n", default=100_000, show_default=True, type=click.IntRange(1))
@click.option("--output", "-o", "to", type=click.Path(dir_okay=False, path_type=Path), help="File instead of stdout.")
@output.as_json
def export(listing: Listing, limit: int, to: Path | None, as_json: bool) -> None:
    """Write runs as CSV: a row a run, a column a parameter and a metric (its last value)."""
    found = find(**dataclasses.asdict(listing), limit=limit)
    if as_json and to is None:
        output.document([run.record for run in found])
        return
    rows = [{**row, "created": output.iso(run.created)} for row, run in zip(found.table(), found, strict=True)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    fixed = [name for name in names if not name.startswith(("params.", "metrics."))]
    columns = [*fixed, *(sorted(name for name in names if name not in fixed))]
    sheet = io.StringIO(newline="")
    writer = csv.DictWriter(sheet, columns or ["id"])
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    if to is None:
        click.echo(sheet.getvalue(), nl=False)
    elif as_json:
        with to.open("w", encoding="utf-8") as file:
            output.document([run.record for run in found], to=file)
    else:
        to.write_text(sheet.getvalue(), "utf-8", newline="")
    output.say(f"{len(rows)} runs" + (f" written to {to}." if to else "."))


@runs.command("show")
@click.argument("run")
@output.as_json
def show(run: str, as_json: bool) -> None:
    """Show a run: what went in and what came out."""
    found = get(run)
    if as_json:
        output.document(found.record)
        return
    card = found.card()
    card["created"] = output.moment(found.created)
    if found.seconds is not None:
        card["took"] = output.duration(found.seconds)
    command = found.facts.get("command") or {}
    if command.get("argv"):
        card["command"] = shlex.join(str(part) for part in command["argv"])
    sources = found.facts.get("sources") or {}
    if sources:
        states = [name if state == "active" else f"{name} ({state})" for name, state in sources.items()]
        card["recorded"] = ", ".join(states)
    width = max(len(key) for key in card)
    for key, value in card.items():
        click.echo(f"{click.style(key.ljust(width), bold=True)}  {value}")
    for artifact in found.artifacts():
        click.echo(f"{click.style('artifact'.ljust(width), bold=True)}  {artifact.name}  {output.size(artifact.size)}")


@runs.command("logs")
@click.argument("run")
@click.option("--tail", "-n", default=0, type=click.IntRange(0), help="Only the last lines.")
@click.option("--follow", "-f", is_flag=True, help="Wait for more until the run has ended.")
@click.option("--search", default="", help="Only lines that hold this text.")
@click.option("--pattern", "-e", default="", help="Only lines in which this regular expression is found.")
@click.option("--stream", default="", type=click.Choice(["", "out", "err"]), help="Only lines of one stream.")
@click.option("--rank", default=None, type=click.IntRange(0), help="Only lines of one process of a distributed job.")
@output.as_json
def logs(
    run: str, tail: int, follow: bool, search: str, pattern: str, stream: str, rank: int | None, as_json: bool
) -> None:
    """Print the console of a run."""
    found = get(run)
    lines = found.console(tail=tail, search=search, follow=follow, pattern=pattern, stream=stream, rank=rank)
    if as_json:
        output.document(list(lines))
        return
    for line in lines:
        click.echo(line.text)


@runs.command("metrics")
@click.argument("run")
@click.argument("name", default="")
@click.option("--points", type=click.IntRange(4, 20_000), help="At most so many points, extremes kept.")
@output.as_json
def metrics(run: str, name: str, points: int | None, as_json: bool) -> None:
    """Print the summaries of a run's metrics, or the points of the metric NAME."""
    found = get(run)
    if not name:
        if as_json:
            output.document(found.record.metrics)
            return
        rows = [
            {"metric": key, "last": value.last, "min": value.min, "at step": value.min_step, "max": value.max}
            | {"at": value.max_step, "mean": value.mean, "points": value.count}
            for key, value in found.metrics.items()
        ]
        output.table(rows, ["metric", "last", "min", "at step", "max", "at", "mean", "points"], heads={"at": "at step"})
        if not rows:
            output.say("The run has no metrics.")
        return
    series = found.metrics.chart(name, points) if points else found.metrics(name)
    if as_json:
        output.document(
            {"name": name, "steps": series.steps, "times": series.times, "values": series.values, "total": series.total}
        )
        return
    output.table([{"step": step, "value": value} for step, value in series], ["step", "value"])


@runs.command("compare")
@click.argument("chosen", metavar="RUN RUN...", nargs=-1, required=True)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--system", is_flag=True, help="Also the curves of the machine.")
@output.as_json
def compare_runs(chosen: tuple[str, ...], as_csv: bool, system: bool, as_json: bool) -> None:
    """Set runs side by side: the parameters and facts in which they differ, and all metrics; * marks the best."""
    found = compare(*chosen)
    warnings = found.warnings()
    if as_json:
        output.document(
            {
                "runs": [run.id for run in found.runs],
                "params": found.params,
                "metrics": found.metrics,
                "facts": found.facts,
                "warnings": warnings,
            }
        )
        return
    for warning in warnings:
        output.say(warning)
    rows = [row for row in found.table() if system or not row["what"].startswith("metrics.system/")]
    columns = ["what", *(run.short for run in found.runs)]
    if as_csv:
        writer = csv.DictWriter(sys.stdout, columns)
        writer.writeheader()
        writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
        return
    named = {"what": "name"} | {run.short: run.name for run in found.runs}
    output.table([named, *_marked(found, rows)], columns, heads={"what": ""})
    if not found.params:
        output.say("Their parameters are the same.")


@runs.command("explain")
@click.argument("a", metavar="RUN")
@click.argument("b", metavar="OTHER")
@click.option("--metric", "-m", default="", help="Which metric to explain; the one that they are about unless said.")
@click.option("--diff", is_flag=True, help="Also print how their code differs.")
@output.as_json
def explain(a: str, b: str, metric: str, diff: bool, as_json: bool) -> None:
    """Say why OTHER may have come out differently from RUN: what differs, the most likely reason first."""
    before, after = get(a), get(b)
    found = before.explain(after, metric=metric)
    if as_json:
        output.document(found)
        return
    click.echo(found.sentence)
    rows = [
        {"weight": f"{one.score:.2f}", "kind": one.kind, "what": one.name, before.short: one.a, after.short: one.b}
        | {"why": one.evidence or one.sentence}
        for one in found.differences
    ]
    output.table(rows, ["weight", "kind", "what", before.short, after.short, "why"])
    for one in found.differences if diff else ():
        if one.diff:
            click.echo(one.diff)


@runs.command("clone")
@click.argument("run")
@click.option("--param", "-P", "changes", multiple=True, metavar="NAME=VALUE", help="A parameter to change.")
@click.option("--name", default="", help="Name of the copy.")
@click.option("--tag", "tags", multiple=True, help="A tag for the copy.")
@click.option(
    "--add-requirement", "--with", "requirements", multiple=True, metavar="REQUIREMENT", help="Such as lightgbm>=4."
)
@click.option(
    "--environment",
    "--env",
    default="",
    metavar="ENV",
    help="Packages: recorded, inherit, or a path of an interpreter.",
)
@click.option("--code", default="", metavar="RUN", help="Another run, whose code is executed instead.")
@click.option("--commit", default="", help="Another commit of its repository; a branch or tag as git has it here.")
@_executing
@click.option("--enqueue", "queue", metavar="QUEUE", help="Put it into this queue at once.")
@click.option("--wait", is_flag=True, help="Wait until it has ended; exit with 1 unless it completed.")
@output.as_json
def clone(
    run: str,
    changes: tuple[str, ...],
    name: str,
    tags: tuple[str, ...],
    requirements: tuple[str, ...],
    environment: str,
    code: str,
    commit: str,
    needs: Needs | None,
    retry: Retry | None,
    queue: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Draft a copy that runs the same code with some parameters changed; prints its id."""
    original = get(run)
    changed = output.pairs(changes, "--param")
    copy = original.clone(
        changed, name=name, tags=tags, requirements=requirements, environment=environment, needs=needs,
        code=get(code) if code else "", commit=_whole_commit(commit),
    )  # fmt: skip
    for unknown in sorted(changed.keys() - original.params.keys()):
        output.say(f"{original.name} has no parameter {unknown}: it changes nothing unless the code asks for it.")
    if queue is not None:
        copy.enqueue(queue, retry=retry)
    elif retry is not None:
        copy.edit(retry=retry)
    _print_id(copy, as_json)
    if queue is None:
        output.say(f"A draft. `larder runs enqueue {copy.short}` puts it into a queue.")
        return
    output.say(f"Waits in queue {queue}: {copy.url}")
    if wait:
        _wait(copy)


def _whole_commit(text: str) -> str:
    """The whole hash of a commit: as it was given, or what git makes of it in the current folder."""
    if not text or re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text):
        return text
    found = Git(Path.cwd()).says("rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
    if found is None:
        raise Invalid(
            f"git knows no commit {text} in {Path.cwd()}",
            hint="give the whole hash, or ask in a clone of the repository",
        )
    return found


@runs.command("edit")
@click.argument("run")
@click.option("--param", "-P", "changes", multiple=True, metavar="NAME=VALUE", help="A parameter to change.")
@_executing
@output.as_json
def edit(run: str, changes: tuple[str, ...], needs: Needs | None, retry: Retry | None, as_json: bool) -> None:
    """Change what a draft will be executed with; prints its id."""
    if not changes and needs is None and retry is None:
        raise click.UsageError("Say what changes: --param, --needs or --retry.")
    params = output.pairs(changes, "--param") if changes else None
    _print_id(get(run).edit(params=params, needs=needs, retry=retry), as_json)


@runs.command("enqueue")
@click.argument("run")
@click.option("--queue", "-q", default="default", show_default=True)
@click.option(
    "--priority", type=click.Choice([each.value for each in Priority]), help="Its class; human unless a run asks."
)
@_executing
@click.option("--wait", is_flag=True, help="Wait until it has ended; exit with 1 unless it completed.")
@output.as_json
def enqueue(
    run: str, queue: str, priority: str | None, needs: Needs | None, retry: Retry | None, wait: bool, as_json: bool
) -> None:
    """Put a draft into a queue, where an agent finds it; prints its id."""
    found = get(run).enqueue(queue, priority=priority or "", needs=needs, retry=retry)
    _print_id(found, as_json)
    output.say(f"Waits in queue {queue}: {found.url}")
    if wait:
        _wait(found)


@runs.command("why")
@click.argument("run")
@output.as_json
def why(run: str, as_json: bool) -> None:
    """Say why a queued run waits, and when it is expected to start."""
    found = get(run).why()
    if as_json:
        output.document(found)
        return
    for reason in found.reasons or ["It can start at once."]:
        click.echo(reason)
    output.say(f"{found.ahead} before it in {found.job.queue}.")
    if found.starts is not None:
        output.say(f"Expected to start at {output.moment(found.starts)}.")


@runs.command("reset")
@click.argument("chosen", metavar="RUN...", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@output.as_json
def reset(chosen: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Make ended runs drafts again: their metrics, console and artifacts go, code and parameters stay."""
    if not yes:
        _confirm([get(run) for run in chosen], "Resetting removes results for good", "Reset")
    _each(chosen, "reset", lambda run: run.reset(), as_json)


@runs.command("publish")
@click.argument("chosen", metavar="RUN...", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@output.as_json
def publish(chosen: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Lock ended runs for good: nothing of them is changed or deleted any more."""
    if not yes:
        _confirm([get(run) for run in chosen], "Publishing cannot be undone", "Publish")
    _each(chosen, "published", lambda run: run.publish(), as_json)


@runs.command("stop")
@click.argument("chosen", metavar="RUN...", nargs=-1, required=True)
@click.option("--reason", default="")
@output.as_json
def stop(chosen: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Ask queued or running runs to stop."""
    _each(chosen, "asked to stop", lambda run: run.stop(reason), as_json)


@runs.command("tag")
@click.argument("run")
@click.argument("tags", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Take the tags away.")
@output.as_json
def tag(run: str, tags: tuple[str, ...], remove: bool, as_json: bool) -> None:
    """Add tags to a run, or take them away; prints the tags it has."""
    found = get(run)
    found = found.remove_tags(*tags) if remove else found.set_tags(*tags)
    if as_json:
        output.document(found.tags)
        return
    for each in found.tags:
        click.echo(each)


@runs.command("archive")
@click.argument("chosen", metavar="RUN...", nargs=-1, required=True)
@click.option("--undo", is_flag=True, help="Show them again.")
@output.as_json
def archive(chosen: tuple[str, ...], undo: bool, as_json: bool) -> None:
    """Hide runs from lists, without deleting anything."""
    _each(chosen, "shown again" if undo else "archived", lambda run: run.archive(not undo), as_json)


@runs.command("rm")
@click.argument("chosen", metavar="RUN...", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@output.as_json
def rm(chosen: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete runs with all they hold; this cannot be undone (`archive` only hides)."""
    found = [get(run) for run in chosen]
    if not yes:
        _confirm(found, "Deleting cannot be undone", "Delete")
    for run in found:
        run.delete()
    if as_json:
        output.document([run.id for run in found])
    else:
        for run in found:
            click.echo(run.id)
    output.say(f"{len(found)} deleted.")


@runs.command("artifacts")
@click.argument("run")
@click.option("--all", "every", is_flag=True, help="Also older versions.")
@output.as_json
def artifacts(run: str, every: bool, as_json: bool) -> None:
    """List the artifacts of a run."""
    found = get(run).artifacts(latest=not every)
    if as_json:
        output.document([artifact.record for artifact in found])
        return
    rows = [
        {"name": artifact.name, "version": artifact.version, "kind": artifact.kind, "format": artifact.format}
        | {"files": len(artifact.files), "size": output.size(artifact.size)}
        for artifact in found
    ]
    output.table(rows, ["name", "version", "kind", "format", "files", "size"])


@runs.command("download")
@click.argument("run")
@click.argument("name")
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--version", default=0, help="Version; the newest unless given.")
@output.as_json
def download(run: str, name: str, folder: Path, version: int, as_json: bool) -> None:
    """Fetch an artifact into FOLDER, checked against its hashes; prints the paths."""
    artifact = get(run).artifact(name, version=version)
    with output.progress(artifact.size, name) as bar:
        artifact.download(folder, advance=bar.update)
    paths = [str(folder / file.path) for file in artifact.files]
    if as_json:
        output.document(paths)
        return
    for path in paths:
        click.echo(path)


# -- helpers -------------------------------------------------------------------------------------------------------


def _row(run: RecordedRun) -> dict[str, Any]:
    record = run.record
    row: dict[str, Any] = {
        "id": run.short,
        "name": record.name,
        "project": record.project,
        "status": str(record.status),
        "user": record.user,
        "host": record.host,
        "created": output.moment(record.created),
        "took": output.duration(run.seconds),
        "tags": ", ".join(record.tags),
        "notes": record.notes,
        "commit": record.commit[:10],
        "branch": record.branch,
        "queue": record.queue,
        "cause": str(record.cause),
        "retries": record.retries,
        "needs": needs_text.show(record.needs),
        "published": record.published,
        "parent": (record.parent or "")[-8:],
    }
    row |= {f"params.{name}": value for name, value in record.params.items()}
    for name, summary in record.metrics.items():
        row[f"metrics.{name}"] = summary.last
        row[f"metrics.{name}.last"] = summary.last
        row |= {f"metrics.{name}.{part}": getattr(summary, part) for part in ("min", "max", "mean", "count")}
    return row


def _columns(found: RunList, listing: Listing) -> list[str]:
    chosen = ["name"] + ([] if listing.project else ["project"]) + ["status", "created", "took"]
    if any(run.tags for run in found):
        chosen.append("tags")
    if listing.order_by.startswith(("metrics.", "params.")):
        chosen.append(listing.order_by)
    counts: dict[str, int] = {}
    for run in found:
        for name in run.metrics:
            if not name.startswith("system/"):
                counts[name] = counts.get(name, 0) + 1
    often = sorted(counts, key=lambda name: (-counts[name], name))[:3]
    return list(dict.fromkeys([*chosen, *(f"metrics.{name}" for name in often)]))


def _marked(found: Comparison, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    marked = []
    for row in rows:
        name = row["what"].removeprefix("metrics.")
        best = found.best(name) if row["what"].startswith("metrics.") else None
        if best is not None:
            head = found.runs[best].short
            row = row | {head: f"{output.cell(row[head])} *"}
        marked.append(row)
    return marked


def _plain(value: object) -> object:
    # A sheet executes a cell that begins like a formula: such texts are quoted.
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value[:1] else value


def _confirm(found: Sequence[RecordedRun], why: str, verb: str) -> None:
    for run in found:
        output.say(f"{run.short}  {run.name}  {run.status}  {len(run.metrics)} metrics")
    if not sys.stdin.isatty():
        raise click.UsageError(f"{why}: say --yes.")
    click.confirm(f"{verb} {len(found)} runs for good?", abort=True, err=True)


def _print_id(run: RecordedRun, as_json: bool) -> None:
    if as_json:
        output.document(run.record)
    else:
        click.echo(run.id)


def _wait(run: RecordedRun) -> None:
    run.wait()
    output.say(f"{run.name or run.short}: {run.status}" + (f", {run.reason}" if run.reason else ""))
    if run.status is not RunStatus.COMPLETED:
        raise click.exceptions.Exit(1)


def _each(chosen: Sequence[str], done: str, change: Callable[[RecordedRun], RecordedRun], as_json: bool) -> None:
    changed: list[RecordedRun] = []
    refused: LarderError | None = None
    for name in chosen:
        try:
            changed.append(change(get(name)))
        except LarderError as error:  # the others are still done; the first refusal decides the exit status
            if len(chosen) == 1:
                raise
            output.say(f"{name}: {error}")
            refused = refused or error
    if as_json:
        output.document([run.record for run in changed])
    else:
        for run in changed:
            click.echo(run.id)
    output.say(f"{len(changed)} {done}.")
    if refused is not None:
        raise click.exceptions.Exit(refused.exit_code)


def _question(form: str, listing: Listing, limit: int) -> str:
    asked: dict[str, Any] = {
        "project": listing.project,
        "where": listing.where,
        "text": listing.text,
        "order_by": "" if listing.order_by == "created" else listing.order_by,
        "descending": listing.descending,
        "limit": limit,
        "archived": listing.archived or None,
    }
    given = {name: value for name, value in asked.items() if value not in (None, "")}
    if form == "python":
        return f"larder.runs({', '.join(f'{name}={value!r}' for name, value in given.items())})"
    if form == "curl":
        query = urlencode([(name, "true" if value is True else value) for name, value in given.items()])
        query = query.replace("descending=False", "descending=false")
        address = shlex.quote(f"{config.connect().url}/v1/runs?{query}")
        return f'curl -H "Authorization: Bearer $LARDER_TOKEN" {address}'
    options = {"project": "--project", "where": "--where", "order_by": "--sort", "limit": "--limit"}
    words = ["larder", "runs", "ls"]
    for name, option in options.items():
        if name in given:
            words += [option, str(given[name])]
    if listing.descending is not None:
        words.append("--desc" if listing.descending else "--asc")
    if listing.archived:
        words.append("--archived")
    return shlex.join([*words, *listing.text.split()])
