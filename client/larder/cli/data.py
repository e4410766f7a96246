"""`larder data`: commit folders as versions, bring them anywhere, and see what tells them apart."""

import csv
import functools
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from larder import config
from larder import data as sdk
from larder.cli import output
from larder.contract import datasets as contract
from larder.contract.datasets import Dataset, Verified, Version
from larder.contract.endpoint import Role
from larder.contract.errors import LarderError
from larder.data import figures, profiling
from larder.data.comparing import diff_tables

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "renamed": ">"}


@click.group("data")
def data() -> None:
    """Commit folders as versions, bring them anywhere, and see what tells them apart.

    \b
    larder data commit photos/ --to shelf-images -m "march delivery"
    larder data get shelf-images@v3
    larder data diff shelf-images@v2 shelf-images@v3

    A version is written [PROJECT/]NAME, for the newest, or NAME@v3, NAME@ALIAS, NAME@TAG.
    """


class _Address(click.ParamType):  # type: ignore[type-arg]
    """An address of a version, or a name of a dataset; the shell completes both."""

    name = "address"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of datasets; behind an @ versions, aliases and tags."""
        try:
            return [CompletionItem(each) for each in _completed(incomplete)]
        except LarderError:
            return []


def _completed(text: str) -> list[str]:
    name, at, which = text.partition("@")
    found = sdk.datasets(text=name.rpartition("/")[2])
    if not at:
        names = [each.name for each in found] + [f"{each.project}/{each.name}" for each in found]
        return sorted({each for each in names if each.startswith(name)})[:50]
    home = next((each for each in found if name in (each.name, f"{each.project}/{each.name}")), None)
    if home is None:
        return []
    versions = sdk.log(f"{home.project}/{home.name}", limit=20)
    labels = [
        *home.aliases,
        *(tag for each in versions for tag in each.tags),
        *(f"v{each.number}" for each in versions),
    ]
    return [f"{name}@{label}" for label in dict.fromkeys(labels) if label.startswith(which)]


ADDRESS = _Address()

_project = click.option("--project", "-p", default="", help="The project, where the name does not say it.")
_quiet = click.option("--quiet", "-q", is_flag=True, help="Print ids only.")


def _committing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what all commits take; the command gets it as `options`, for the SDK."""
    added = (
        click.option("--message", "-m", default="", help="What is new in it."),
        click.option(
            "--parent", metavar="ADDRESS", type=ADDRESS, help="What it is made from; by default the newest version."
        ),
        click.option("--tag", "tags", multiple=True, help="A tag of the version."),
        click.option("--alias", default="", help="An alias that points to it from now on, such as ready."),
        click.option("--any-base", is_flag=True, help="Commit also when somebody else has committed meanwhile."),
        click.option("--cases", is_flag=True, help="Allow names that differ only in upper and lower case."),
    )

    @functools.wraps(command)
    def told(
        *,
        message: str,
        parent: str | None,
        tags: tuple[str, ...],
        alias: str,
        any_base: bool,
        cases: bool,
        project: str,
        **given: Any,
    ) -> Any:
        options = {
            "message": message, "parent": parent, "tags": tags, "alias": alias, "cases": cases, "project": project,
            "base": "any" if any_base else "newest",
        }  # fmt: skip
        return command(options=options, **given)

    for option in reversed((*added, _project, _quiet, output.as_json)):
        told = option(told)
    return told


@data.command("create")
@click.argument("name")
@click.option("--description", default="")
@click.option("--blind", is_flag=True, help="Only evaluators read its items; others see counts and statistics.")
@_project
@_quiet
@output.as_json
def create(name: str, description: str, blind: bool, project: str, quiet: bool, as_json: bool) -> None:
    """Make the dataset NAME. A commit makes one, too; this is for a description, and for blind ones."""
    found = sdk.create(name, project=project, description=description, blind=blind)
    if as_json:
        output.document(found)
        return
    click.echo(found.id if quiet else f"{found.project}/{found.name}")


@data.command("commit")
@click.argument("what", metavar="FOLDER_OR_FILE...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--to", "name", required=True, type=ADDRESS, metavar="NAME", help="The dataset, as [PROJECT/]NAME.")
@click.option("--empty", is_flag=True, help="Begin with nothing, and allow a version without files.")
@click.option(
    "--external",
    multiple=True,
    metavar="PATH=ADDRESS",
    help="Record what lies there (s3://, https://, a mount) without copying.",
)
@click.option("--watch", is_flag=True, help="Follow the folder and commit what has come to rest, until Ctrl-C.")
@click.option(
    "--settle", default=2.0, show_default=True, type=click.FloatRange(0), help="Seconds of rest, with --watch."
)
@click.option("--validate", type=click.Path(path_type=Path), help="A file that says what files and tables must hold.")
@click.option(
    "--invalid",
    type=click.Choice(["refuse", "quarantine", "warn"]),
    help="What happens to what is not so; by default as the file says, else refuse.",
)
@_committing
def commit(
    what: tuple[Path, ...],
    name: str,
    empty: bool,
    external: tuple[str, ...],
    watch: bool,
    settle: float,
    validate: Path | None,
    invalid: str | None,
    options: dict[str, Any],
    quiet: bool,
    as_json: bool,
) -> None:
    """Commit a folder as the next version of a dataset; prints its address.

    With one folder the version holds what the folder holds. With files, or several folders, they are added to what the
    newest version holds. Only content that the server does not have is sent. Where nothing has changed, no version is
    made and the newest is printed.
    """
    if invalid and validate is None:
        raise click.UsageError("--invalid says what happens to what --validate finds.")
    options |= {"validate": validate, "invalid": invalid or ""}
    if watch:
        if len(what) != 1 or not what[0].is_dir() or external or empty:
            raise click.UsageError("--watch follows one folder.")
        _watch(what[0], name, settle, options, quiet, as_json)
        return
    recorded = _externals(external)
    if not what and not recorded and not empty:
        raise click.UsageError("Name a folder or files to commit.")
    before = _newest(name, options)
    given: Any = None if not what else what[0] if len(what) == 1 else list(what)
    made = sdk.commit(name, given, external=recorded, empty=empty, **options)
    _committed(made, before, quiet, as_json)


@data.command("add")
@click.argument("name", type=ADDRESS)
@click.argument("files", metavar="FILE_OR_FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--into", default="", metavar="FOLDER", help="The folder of the version that they go into.")
@_committing
def add(name: str, files: tuple[Path, ...], into: str, options: dict[str, Any], quiet: bool, as_json: bool) -> None:
    """Commit a version of NAME with these files added, or replaced, and all else as it was."""
    before = _newest(name, options)
    given: Any = list(files)
    if into:
        given = {f"{into.strip('/')}/{each.resolve().name}": each for each in files}
    _committed(sdk.add(name, given, **options), before, quiet, as_json)


@data.command("rm")
@click.argument("name", type=ADDRESS)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@_committing
def rm(name: str, paths: tuple[str, ...], options: dict[str, Any], quiet: bool, as_json: bool) -> None:
    """Commit a version of NAME without these files and folders. Older versions keep them."""
    home = sdk.dataset(name, project=options["project"])  # a slip of the pen makes no dataset
    name = f"{home.project}/{home.name}"
    before = _newest(name, options)
    _committed(sdk.rm(name, list(paths), **options), before, quiet, as_json)


@data.command("ls")
@click.argument("address", required=False, type=ADDRESS)
@click.argument("path", default="")
@_project
@_quiet
@output.as_json
def ls(address: str | None, path: str, project: str, quiet: bool, as_json: bool) -> None:
    """List the datasets, or what lies in a folder of the version ADDRESS."""
    if address is None:
        _list(sdk.datasets(project=project), quiet, as_json)
        return
    items = sdk.ls(address, path, project=project)
    if as_json:
        output.document(items)
        return
    if quiet:
        for each in items:
            click.echo(each.path)
        return
    rows = [
        {
            "name": each.path.rsplit("/", 1)[-1] + ("/" if each.folder else ""),
            "files": each.files if each.folder else None,
        }
        | {"size": output.size(each.bytes), "hash": each.hash[:12], "from": each.external}
        for each in items
    ]
    columns = ["name", "files", "size", "hash"]
    output.table(rows, [*columns, "from"] if any(each.external for each in items) else columns)


def _list(found: list[Dataset], quiet: bool, as_json: bool) -> None:
    if as_json:
        output.document(found)
        return
    if quiet:
        for each in found:
            click.echo(each.id)
        return
    rows = [
        {"dataset": f"{each.project}/{each.name}", "versions": each.versions}
        | {"files": each.newest.files if each.newest else None}
        | {"size": output.size(each.newest.bytes) if each.newest else ""}
        | {"changed": output.moment(each.newest.committed if each.newest else each.created)}
        | {"aliases": " ".join(f"{name}=v{number}" for name, number in sorted(each.aliases.items()))}
        | {"blind": "blind" if each.blind else ""}
        for each in found
    ]
    columns = ["dataset", "versions", "files", "size", "changed", "aliases"]
    output.table(rows, [*columns, "blind"] if any(each.blind for each in found) else columns)
    if not rows:
        output.say("No datasets yet. `larder data commit FOLDER --to NAME` makes the first.")


@data.command("log")
@click.argument("name", type=ADDRESS)
@click.option("--tag", default="", help="Only versions that have it.")
@click.option("--limit", "-n", default=20, show_default=True, type=click.IntRange(1))
@_project
@_quiet
@output.as_json
def log(name: str, tag: str, limit: int, project: str, quiet: bool, as_json: bool) -> None:
    """List the versions of NAME, the newest first, with what each has changed."""
    found = sdk.log(name, tag=tag, limit=limit, project=project)
    if as_json:
        output.document(found)
        return
    if quiet:
        for each in found:
            click.echo(each.id)
        return
    rows = [
        {
            "version": f"v{each.number}",
            "when": output.moment(each.committed),
            "user": each.user,
            "changes": _changes(each),
        }
        | {"files": each.files, "size": output.size(each.bytes), "new": output.size(each.new_bytes)}
        | {"names": " ".join([*each.aliases, *each.tags]), "run": each.run[-8:], "message": each.message}
        for each in found
    ]
    output.table(rows, ["version", "when", "user", "changes", "files", "size", "new", "names", "run", "message"])
    if not rows:
        output.say(f"{name} has no version" + (f" with the tag {tag}." if tag else " yet."))


@data.command("diff")
@click.argument("address", type=ADDRESS)
@click.argument("other", required=False, default="", type=ADDRESS)
@click.option("--kind", type=click.Choice(list(_SIGNS)), default=None, help="Only such changes.")
@click.option(
    "--tables", is_flag=True, help="Also what happened to the columns of tables, and how values have shifted."
)
@click.option("--rows", is_flag=True, help="Also to their rows; fetches the tables.")
@click.option("--key", "keys", multiple=True, metavar="COLUMN", help="What tells a row, with --rows; else whole rows.")
@click.option("--path", default=None, help="Only this table, with --tables and --rows.")
@click.option("--limit", "-n", default=50, show_default=True, type=click.IntRange(1), help="Files listed.")
@_project
@output.as_json
def diff(
    address: str,
    other: str,
    kind: str | None,
    tables: bool,
    rows: bool,
    keys: tuple[str, ...],
    path: str | None,
    limit: int,
    project: str,
    as_json: bool,
) -> None:
    """Show what happened between ADDRESS and OTHER; with one address, what it changed against its parent."""
    if keys and not rows:
        raise click.UsageError("--key says which rows are the same one; it needs --rows.")
    found = sdk.diff(address, other, kind=kind or "", limit=limit, project=project)
    compared = diff_tables(address, other, path, rows=rows, keys=keys, project=project) if tables or rows else []
    if as_json:
        output.document({"files": found, "tables": compared} if tables or rows else found)
        return
    for each in found.changes:
        grown = each.new_bytes - each.old_bytes
        text = f"{each.before} > {each.path}" if each.kind == "renamed" else each.path
        size = (
            "" if each.kind == "renamed" and not grown else f"  {'+' if grown >= 0 else '-'}{output.size(abs(grown))}"
        )
        click.echo(f"{_SIGNS[each.kind]} {text}{size}")
    for table in compared:
        _show_table(table)
    output.say(_sum(found, limit))


@data.command("get")
@click.argument("address", type=ADDRESS)
@click.argument("to", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--part", metavar="I/N", help="Only part I of N, counted from 0.")
@click.option("--writable", is_flag=True, help="Files that may be changed; needs a folder.")
@_project
@output.as_json
def get(address: str, to: Path | None, part: str | None, writable: bool, project: str, as_json: bool) -> None:
    """Bring a version to this machine; prints the path of its folder.

    Without the folder TO it is a read-only tree in the cache, which other processes share. Only what no version here has
    had is fetched.
    """
    path = sdk.get(address, _part(part), to, writable, project=project)
    if as_json:
        version = sdk.resolve(address, project=project)
        output.document({"path": str(path), "version": version.id, "address": version.address})
    else:
        click.echo(str(path))


@data.command("cat")
@click.argument("address", type=ADDRESS)
@click.argument("path")
@_project
def cat(address: str, path: str, project: str) -> None:
    """Write one file of a version to stdout."""
    version = sdk.resolve(address, project=project)
    to = sys.stdout.buffer
    for piece in config.connect().stream(contract.READ, contract.ReadQuery(path=path), version_id=version.id):
        to.write(piece)
    to.flush()


@data.command("table")
@click.argument("address", type=ADDRESS)
@click.argument("path", required=False)
@click.option("--columns", "-c", default="", help="Comma-separated.")
@click.option(
    "--where", "-w", multiple=True, metavar="CONDITION", help="Such as 'price > 3'; all of them hold. Needs pyarrow."
)
@click.option("--limit", "-n", default=20, show_default=True, type=click.IntRange(0), help="Rows; 0 prints all.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@_project
@output.as_json
def table(
    address: str,
    path: str | None,
    columns: str,
    where: tuple[str, ...],
    limit: int,
    as_csv: bool,
    project: str,
    as_json: bool,
) -> None:
    """Print rows of a table of a version: of the file or folder PATH, or of the only table it has."""
    conditions = [_condition(each) for each in where]
    found = sdk.table(address, path, project=project)
    chosen = [name.strip() for name in columns.split(",") if name.strip()]
    rows = _rows(found, chosen, conditions, limit)
    if as_json:
        output.document(rows)
        return
    names = chosen or list(dict.fromkeys(name for row in rows for name in row))
    if as_csv:
        sheet = io.StringIO(newline="")
        writer = csv.DictWriter(sheet, names)
        writer.writeheader()
        writer.writerows(rows)
        click.echo(sheet.getvalue(), nl=False)
        return
    output.table([{name: _cell(value) for name, value in row.items()} for row in rows], names)


@data.command("tag")
@click.argument("address", type=ADDRESS)
@click.argument("tags", metavar="TAG...", nargs=-1)
@click.option("--remove", is_flag=True, help="Take them away.")
@click.option("--message", "-m", default=None, help="Another message for the version.")
@_project
@output.as_json
def tag(address: str, tags: tuple[str, ...], remove: bool, message: str | None, project: str, as_json: bool) -> None:
    """Give a version tags, or take them away."""
    if not tags and message is None:
        raise click.UsageError("Name a tag.")
    found = sdk.tag(address, *([] if remove else tags), remove=tags if remove else (), message=message, project=project)
    if as_json:
        output.document(found)
    output.say(f"{found.address}: {', '.join(found.tags) or 'no tags'}")


@data.command("alias")
@click.argument("address", type=ADDRESS)
@click.argument("alias", required=False)
@click.option("--drop", is_flag=True, help="End it; its history stays.")
@click.option(
    "--role", type=click.Choice([str(role) for role in Role]), help="Who may move it from now on, and those above."
)
@_project
@output.as_json
def alias(address: str, alias: str | None, drop: bool, role: str | None, project: str, as_json: bool) -> None:
    """Let ALIAS point to a version; without ALIAS, list those of the dataset with where they pointed before."""
    if alias is None:
        if drop or role:
            raise click.UsageError("Name the alias.")
        _aliases(sdk.aliases(address, project=project), as_json)
        return
    if drop:
        sdk.unalias(address, alias, project=project)
        output.say(f"{alias} is no alias any more.")
        return
    made = sdk.alias(address, alias, role=Role(role) if role else None, project=project)
    if as_json:
        output.document(made)
    output.say(f"{alias} is v{made.version} now; {made.role} and above may move it.")


@data.command("merge")
@click.argument("ours", type=ADDRESS)
@click.argument("theirs", type=ADDRESS)
@click.option(
    "--prefer", type=click.Choice(["ours", "theirs"]), default=None, help="Who wins where both changed a path."
)
@click.option("--message", "-m", default="")
@_project
@_quiet
@output.as_json
def merge(ours: str, theirs: str, prefer: str | None, message: str, project: str, quiet: bool, as_json: bool) -> None:
    """Commit a version with what two versions changed since they had one tree."""
    _committed(sdk.merge(ours, theirs, prefer=prefer or "", message=message, project=project), "", quiet, as_json)


@data.command("squash")
@click.argument("address", type=ADDRESS)
@click.argument("onto", required=False, default="", type=ADDRESS)
@click.option("--message", "-m", default="")
@_project
@_quiet
@output.as_json
def squash(address: str, onto: str, message: str, project: str, quiet: bool, as_json: bool) -> None:
    """Commit the tree of ADDRESS as a version whose only parent is ONTO; nothing is sent again.

    The versions between stay until `larder data delete` takes them.
    """
    _committed(sdk.squash(address, onto, message=message, project=project), "", quiet, as_json)


@data.command("delete")
@click.argument("address", type=ADDRESS)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@_project
def delete(address: str, yes: bool, project: str) -> None:
    """Delete the version NAME@WHICH, or the dataset NAME with all its versions. `larder data gc` frees the bytes."""
    if "@" in address:
        version = sdk.resolve(address, project=project)
        what = f"{version.address} ({version.files} files)"
    else:
        home = sdk.dataset(address, project=project)
        what = f"{home.project}/{home.name} with its {home.versions} versions"
        address = f"{home.project}/{home.name}"
    if not yes:
        click.confirm(f"Delete {what}? This cannot be undone.", abort=True, err=True)
    sdk.delete(address, project=project)
    output.say(f"{what}: deleted.")


@data.command("verify")
@click.argument("address", type=ADDRESS)
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@_project
@output.as_json
def verify(address: str, folder: Path | None, project: str, as_json: bool) -> None:
    """Check that FOLDER holds the version ADDRESS; without one, that the stored bytes are right. Exits with 1 if not."""
    found = sdk.verify(address, folder, project=project)
    if as_json:
        output.document(found)
    if isinstance(found, Verified):
        for name in found.damaged if not as_json else ():
            click.echo(f"damaged  {name}")
        if found.damaged:
            output.say(
                f"{len(found.damaged)} of {found.files} files are damaged on the server; restore it from a backup."
            )
            sys.exit(1)
        output.say(f"{found.files} files, {output.size(found.bytes)}: all as they should be.")
        return
    if not found:
        output.say(f"{folder} holds {address}.")
        return
    if not as_json:
        for word, names in (("changed", found.changed), ("missing", found.missing), ("added", found.extra)):
            for name in names:
                click.echo(f"{word:<8} {name}")
    count = len(found.changed) + len(found.missing) + len(found.extra)
    output.say(f"{folder} does not hold {address}: {count} {'file differs' if count == 1 else 'files differ'}.")
    sys.exit(1)


@data.command("gc")
@click.option("--dry-run", is_flag=True, help="Only say how many bytes.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option(
    "--grace", default=3600, show_default=True, type=click.IntRange(0), help="Seconds that fresh content is kept for."
)
@output.as_json
def gc(dry_run: bool, yes: bool, grace: int, as_json: bool) -> None:
    """Free the bytes on the server that no version needs. Commits may go on meanwhile."""
    found = sdk.gc(dry=True, grace=grace) if dry_run or not yes else None
    if found is not None and not dry_run:
        if not found.bytes:
            output.say(f"Nothing to free; {output.size(found.kept_bytes)} are needed.")
            if as_json:
                output.document(found)
            return
        click.confirm(f"Free {output.size(found.bytes)} of {found.chunks} chunks?", abort=True, err=True)
        found = None
    if found is None:
        found = sdk.gc(dry=False, grace=grace)
    if as_json:
        output.document(found)
    word = "would be freed" if found.dry else "freed"
    output.say(
        f"{output.size(found.bytes)} {word} ({found.bytes} bytes in {found.chunks} chunks), {output.size(found.kept_bytes)} kept."
    )


@data.command("stats")
@click.argument("address", type=ADDRESS)
@_project
@output.as_json
def stats(address: str, project: str, as_json: bool) -> None:
    """Show what is known of a version as a whole: kinds of files, pictures, texts, columns of tables."""
    found = sdk.stats(address, project=project)
    if as_json:
        output.document(found)
        return
    _show_stats(found)


@data.command("export")
@click.argument("address", type=ADDRESS)
@click.argument("to", type=click.Path(path_type=Path))
@_project
def export(address: str, to: Path, project: str) -> None:
    """Write a version to the file TO, when it ends in .tar, or to the fresh folder TO with a manifest; prints the path."""
    click.echo(str(sdk.export(address, to, project=project)))


@data.command("import")
@click.argument("place", type=click.Path(exists=True, path_type=Path))
@click.option("--to", "name", required=True, type=ADDRESS, metavar="NAME", help="The dataset, as [PROJECT/]NAME.")
@click.option("--message", "-m", default="", help="By default that of the exported version.")
@click.option("--tag", "tags", multiple=True)
@click.option("--alias", default="")
@_project
@_quiet
@output.as_json
def import_(
    place: Path, name: str, message: str, tags: tuple[str, ...], alias: str, project: str, quiet: bool, as_json: bool
) -> None:
    """Commit what `larder data export` wrote, here or on another server. Every file is checked."""
    before = _newest(name, {"project": project})
    made = sdk.import_(place, name, message=message, tags=tags, alias=alias, project=project)
    _committed(made, before, quiet, as_json)


# -- small helpers ---------------------------------------------------------------------------------------------------


def _newest(name: str, options: dict[str, Any]) -> str:
    """The id of the newest version, so that a commit can say when it has made none."""
    try:
        return sdk.resolve(options.get("parent") or name, project=options.get("project", "")).id
    except LarderError:
        return ""


def _committed(made: Version, before: str, quiet: bool, as_json: bool) -> None:
    if as_json:
        output.document(made)
    else:
        click.echo(made.id if quiet else made.address)
    if made.id == before:
        output.say("Nothing has changed, so no version was made.")
        return
    parent = f", from {', '.join(_short(each) for each in made.parents)}" if made.parents else ""
    output.say(
        f"{_changes(made)} files: {made.files} with {output.size(made.bytes)}, {output.size(made.new_bytes)} of them new"
        f" (id {made.id[-8:]}{parent})"
    )


def _short(version: str) -> str:
    return f"v{sdk.resolve(version).number}"


def _changes(version: Version) -> str:
    return f"+{version.added} −{version.removed} ~{version.changed}"


def _watch(folder: Path, name: str, settle: float, options: dict[str, Any], quiet: bool, as_json: bool) -> None:
    output.say(f"Follows {folder}; Ctrl-C ends it.")
    options = {key: value for key, value in options.items() if key != "parent" or value}
    try:
        for made in sdk.watch(folder, name, settle=settle, **options):
            _committed(made, "", quiet, as_json)
            sys.stdout.flush()
    except KeyboardInterrupt:
        output.say("Ended; what was committed stays.")


def _externals(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        path, equals, address = text.partition("=")
        if not equals or not path or not address:
            raise click.BadParameter(f"{text!r} is not PATH=ADDRESS", param_hint="--external")
        found[path] = address
    return found


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, slash, parts = text.partition("/")
    try:
        return int(number), int(parts if slash else "")
    except ValueError:
        raise click.BadParameter(f"{text!r} is not I/N, such as 0/4", param_hint="--part") from None


def _condition(text: str) -> tuple[str, str, Any]:
    for operator in ("==", "!=", "<=", ">=", "<", ">", "="):
        name, found, value = text.partition(operator)
        if found and name.strip():
            return name.strip(), operator, _value(value.strip())
    raise click.BadParameter(f"{text!r} is no condition, such as 'price > 3'", param_hint="--where")


def _value(text: str) -> Any:
    if text[:1] in "\"'" and text[-1:] == text[:1] and len(text) > 1:
        return text[1:-1]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False, "null": None}.get(text.lower(), text)


def _rows(found: sdk.Table, columns: list[str], where: list[tuple[str, str, Any]], limit: int) -> list[dict[str, Any]]:
    if where or found.format == "parquet" or profiling.arrow_is_there():
        whole = found.to_arrow(columns or None, where or None)
        return list((whole.slice(0, limit) if limit else whole).to_pylist())
    rows: list[dict[str, Any]] = []
    for path, file in zip(found.paths, found.files, strict=True):
        for row in profiling.rows(file, path):
            if limit and len(rows) == limit:
                return rows
            missing = [name for name in columns if name not in row]
            if missing:
                raise click.BadParameter(f"{path} has no column {missing[0]!r}", param_hint="--columns")
            rows.append({name: row[name] for name in columns} if columns else row)
    return rows


def _cell(value: Any) -> Any:
    return value if isinstance(value, bool | int | float) or value is None else figures.clipped(str(value))


def _aliases(found: list[contract.Alias], as_json: bool) -> None:
    if as_json:
        output.document(found)
        return
    rows = [
        {
            "alias": each.alias,
            "version": f"v{move.version}" if move.version else "ended",
            "since": output.moment(move.time),
        }
        | {"by": move.user, "moved by": each.role}
        for each in found
        for move in each.history
    ]
    output.table(rows, ["alias", "version", "since", "by", "moved by"])
    if not rows:
        output.say("It has no aliases. `larder data alias NAME@v1 ready` makes one.")


def _sum(found: contract.Diff, limit: int) -> str:
    parts = [f"{count} {word}" for word in _SIGNS if (count := getattr(found, word))]
    if not parts:
        return "They hold the same."
    sign = "+" if found.size_delta >= 0 else "−"
    more = f"; -n {found.total} lists all" if found.total > limit else ""
    return f"{', '.join(parts)}: {sign}{output.size(abs(found.size_delta))}{more}"


def _show_table(found: dict[str, Any]) -> None:
    click.echo()
    click.echo(click.style(f"{found['path']}", bold=True) + f"  {found['rows_before']} → {found['rows_after']} rows")
    for word, sign in (("columns_added", "+"), ("columns_removed", "-")):
        for name in found[word]:
            click.echo(f"  {sign} column {name}")
    for each in found["columns_changed"]:
        click.echo(f"  ~ column {each['name']}: {each['before']} → {each['after']}")
    shifted = [each for each in found["shifts"] if each["says"] != "alike"]
    for each in shifted:
        moved = f", mean {each['mean_before']:g} → {each['mean_after']:g}" if "mean_before" in each else ""
        nulls = ""
        if each["nulls_before"] != each["nulls_after"]:
            nulls = f", missing {each['nulls_before']} → {each['nulls_after']}"
        word = "has shifted much" if each["says"] == "much" else "has shifted"
        click.echo(f"  ≠ {each['column']} {word}: psi {each['psi']:.3g}{moved}{nulls}")
    if found["shifts"] and not shifted:
        click.echo("  The values of all columns are spread as before.")
    rows = found.get("rows")
    if rows is None:
        return
    click.echo(f"  rows: +{rows['added']} −{rows['removed']} ~{rows['changed']}, {rows['same']} the same")
    for name, count in list(rows["columns"].items())[:10]:
        click.echo(f"    {name} differs in {count}")
    for word in ("added", "removed", "changed"):
        for row in rows["examples"][word][:3]:
            shown = ", ".join(f"{name}={_cell(value)}" for name, value in list(row.items())[:8])
            click.echo(f"    {_SIGNS[word]} {shown}")


def _show_stats(found: dict[str, Any]) -> None:
    click.echo(f"{click.style(found['address'], bold=True)}  {found['files']} files, {output.size(found['bytes'])}")
    known = found["statistics"]
    rows = [each | {"bytes": output.size(each["bytes"])} for each in known.get("extensions", ()) if "extension" in each]
    if rows:
        click.echo()
        output.table(rows, ["extension", "files", "bytes"], heads={"bytes": "size"})
    rows = [each | {"bytes": output.size(each["bytes"])} for each in known.get("folders", ()) if "folder" in each]
    if rows:
        click.echo()
        output.table(rows, ["folder", "files", "bytes"], heads={"bytes": "size"})
    images = known.get("images") or {}
    if images.get("formats"):
        click.echo()
        broken = f", {images['broken']} broken" if images.get("broken") else ""
        click.echo(
            f"{images.get('files', 0)} images"
            + broken
            + ": "
            + ", ".join(f"{count} {name}" for name, count in images["formats"].items())
        )
        for word in ("width", "height"):
            each = images.get(word) or {}
            if "min" in each:
                click.echo(f"  {word} {each['min']} to {each['max']}, {each['mean']:g} on average")
    texts = known.get("texts") or {}
    for word in ("characters", "lines"):
        each = texts.get(word) or {}
        if "min" in each:
            click.echo(f"{texts['files']} texts, {word} {each['min']} to {each['max']}, {each['mean']:g} on average")
    for table in known.get("tables", ()):
        click.echo()
        about = "about " if table.get("rows_estimated") else ""
        files = f", {table['files']} files" if table.get("files", 1) > 1 else ""
        click.echo(
            f"{click.style(str(table.get('path') or 'table'), bold=True)}  {about}{table.get('rows')} rows{files}"
        )
        output.table(
            [_column(each) for each in table.get("columns", ())],
            ["column", "type", "nulls", "distinct", "min", "max", "mean", "most frequent"],
        )
    for note in known.get("notes", ()):
        output.say(note)
    if not known:
        output.say("Nothing else is known of it: it was not committed from files.")


def _column(each: dict[str, Any]) -> dict[str, Any]:
    distinct = each.get("distinct")
    if distinct is None and "distinct_least" in each:
        distinct = f"{each['distinct_least']} to {each['distinct_most']}"
    frequent = ", ".join(f"{top['value']} ({top['count']})" for top in each.get("top", ())[:3])
    return {
        "column": each.get("name"), "type": each.get("type"), "nulls": each.get("nulls"), "distinct": distinct,
        "min": each.get("min"), "max": each.get("max"), "mean": each.get("mean"), "most frequent": frequent,
    }  # fmt: skip
