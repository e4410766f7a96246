"""`larder data split`, `leaks`, `ingest`, `quarantine` and `restore`: data that comes in, and how it is parted."""

from pathlib import Path
from typing import Any

import click

from larder import data as sdk
from larder.cli import output
from larder.cli.data import ADDRESS, _project, data


@data.command("split")
@click.argument("address", type=ADDRESS)
@click.argument("parts", metavar="PART=SHARE...", nargs=-1, required=True)
@click.option("--stratify", default="", metavar="FIELD", help="Each part has its share of every value of it.")
@click.option("--group", default="", metavar="FIELD", help="Items of one value of it stay in one part.")
@click.option("--time", default="", metavar="FIELD", help="The first part has the earliest items.")
@click.option("--pattern", default="", help="What of a path is a field, such as '{label}/*.jpg'.")
@click.option("--table", default="", metavar="PATH", help="Split the rows of this table, not files.")
@click.option("--seed", default=0, show_default=True)
@click.option("--name", default="", help="What the datasets are called, instead of the dataset's own name.")
@click.option("--check", is_flag=True, help="Look for leaks between the parts; exit status 1 when there are any.")
@_project
@output.as_json
def split(
    address: str,
    parts: tuple[str, ...],
    stratify: str,
    group: str,
    time: str,
    pattern: str,
    table: str,
    seed: int,
    name: str,
    check: bool,
    project: str,
    as_json: bool,
) -> None:
    """Split the version ADDRESS into datasets NAME-PART, such as `train=0.7 validation=0.15 test=0.15`.

    FIELD is one of the files' metadata, a part of their paths by --pattern, or a column of the table.
    """
    shares = {}
    for each in parts:
        part, sign, share = each.partition("=")
        try:
            shares[part] = float(share)
        except ValueError:
            raise click.UsageError(f"{each!r} is no PART=SHARE, such as train=0.8.") from None
        if not part or not sign:
            raise click.UsageError(f"{each!r} is no PART=SHARE, such as train=0.8.")
    found = sdk.split(
        address, shares, stratify=stratify, group=group, time=time, pattern=pattern, table=table, seed=seed, name=name,
        project=project,
    )  # fmt: skip
    if as_json:
        output.document({part: version.address for part, version in found.versions.items()})
    else:
        rows = [
            {"part": part, "version": version.address, "items": found.counts[part]}
            for part, version in found.versions.items()
        ]
        output.table(rows, ["part", "version", "items"])
        if found.left_out:
            output.say(f"{found.left_out} files are in no part: they do not match the pattern, or are links.")
    if check:
        sdk.check_leaks(found).refuse()


@data.command("leaks")
@click.argument("addresses", metavar="ADDRESS ADDRESS...", nargs=-1, required=True, type=ADDRESS)
@click.option("--exact", is_flag=True, help="Only copies of whole files; nothing is fetched.")
@click.option("--bits", default=6, show_default=True, help="Of 64, in how many the hashes of one picture may differ.")
@click.option("--share", default=0.8, show_default=True, help="How much two texts have in common, at least.")
@click.option("--id", "ids", multiple=True, metavar="COLUMN", help="Left out when rows are compared.")
@_project
@output.as_json
def leaks(
    addresses: tuple[str, ...], exact: bool, bits: int, share: float, ids: tuple[str, ...], project: str, as_json: bool
) -> None:
    """Find items that lie in two of these versions, as they are or nearly so. Exit status 1 when there are any."""
    found = sdk.check_leaks(addresses, near=not exact, bits=bits, share=share, ids=ids, project=project)
    if as_json:
        output.document({"total": found.total, "leaks": [each._asdict() for each in found.leaks],
                         "looked_at": found.looked_at, "unread": found.unread})  # fmt: skip
    else:
        rows = [
            {"kind": each.kind, "one": each.left, "other": each.right, "apart": each.distance} for each in found.leaks
        ]
        output.table(rows, ["kind", "one", "other", "apart"])
        looked = ", ".join(f"{count} {what}" for what, count in found.looked_at.items())
        output.say(f"{found.total} leaks; looked at {looked}.")
        for each in found.unread:
            output.say(f"{each} cannot be read as what its name says; only its content was compared.")
    found.refuse()


@data.command("ingest")
@click.argument("source")
@click.option("--to", "name", required=True, type=ADDRESS, metavar="NAME", help="The dataset, as [PROJECT/]NAME.")
@click.option("--prefix", default="", metavar="FOLDER", help="The folder of the dataset that it goes into.")
@click.option(
    "--sql", default="", metavar="QUERY", help="SOURCE is the address of a database; take the rows of this query."
)
@click.option("--as", "called", default="", metavar="NAME", help="What rows or records are called; their folder.")
@click.option("--key", default="", metavar="COLUMN", help="What names a row or record; of rows it must grow.")
@click.option("--at", default="", metavar="PLACE", help="Where the list of records is, such as data.items.")
@click.option("--validate", type=click.Path(path_type=Path), help="A file that says what is expected.")
@click.option("--invalid", type=click.Choice(["refuse", "quarantine", "warn"]), help="What happens to what is not so.")
@click.option("--message", "-m", default="")
@_project
@output.as_json
def ingest(
    source: str,
    name: str,
    prefix: str,
    sql: str,
    called: str,
    key: str,
    at: str,
    validate: Path | None,
    invalid: str | None,
    message: str,
    project: str,
    as_json: bool,
) -> None:
    """Take what is new in SOURCE: a folder, s3://bucket/prefix/, a database with --sql, an http(s) address, or door:NAME."""
    given: Any = source
    if sql:
        if not called:
            raise click.UsageError("--sql needs --as: the rows go into a folder of that name.")
        given = sdk.Query(database=source, sql=sql, name=called, key=key)
    elif source.startswith(("http://", "https://")):
        if not called:
            raise click.UsageError("An address needs --as: its records go into a folder of that name.")
        given = sdk.Records(url=source, name=called, key=key, at=at)
    elif source.startswith("door:"):
        given = sdk.Door(source.removeprefix("door:"))
    elif called or key or at:
        raise click.UsageError("--as, --key and --at are for rows and records.")
    found = sdk.ingest(
        given,
        name,
        prefix=prefix,
        validate=validate,
        invalid=invalid or "",
        message=message,
        project=project,
    )
    address = found.version.address if found.version is not None else ""
    if as_json:
        output.document({"version": address, "taken": found.taken, "known": found.known})
        return
    if address:
        click.echo(address)
    output.say(f"{found.taken} new, {found.known} known.")


@data.command("quarantine")
@click.argument("name", type=ADDRESS)
@_project
@output.as_json
def quarantine(name: str, project: str, as_json: bool) -> None:
    """List what commits of NAME have put aside, and why."""
    found = sdk.quarantined(name, project=project)
    if as_json:
        output.document(found)
        return
    rows = [
        {"path": each.path, "rows": each.rows or None, "since": each.when[:19], "reason": each.reason} for each in found
    ]
    output.table(rows, ["path", "rows", "since", "reason"])
    output.say(f"{len(found)} items are in quarantine." if found else f"Nothing of {name} is in quarantine.")


@data.command("restore")
@click.argument("name", type=ADDRESS)
@click.argument("paths", metavar="PATH...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of it.")
@_project
@output.as_json
def restore(name: str, paths: tuple[str, ...], everything: bool, project: str, as_json: bool) -> None:
    """Put items back from the quarantine of NAME into its newest version, unchecked."""
    if bool(paths) == everything:
        raise click.UsageError("Name paths of the quarantine, or say --all.")
    made = sdk.restore(name, list(paths) or None, project=project)
    if as_json:
        output.document(made)
        return
    click.echo(made.address)
