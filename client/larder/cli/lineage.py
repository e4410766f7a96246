"""`larder lineage`: which data and runs something comes from, and what came of it."""

import datetime
from collections.abc import Iterator, Sequence

import click

from larder.cli import output
from larder.data.lineage import DEPTH, Node, lineage

_EDGES = {
    "parent": "made from", "child": "made into", "wrote": "written by", "written": "wrote", "read": "read", "reader": "read by",
}  # fmt: skip


@click.command("lineage")
@click.argument("address", metavar="data:ADDRESS|run:ID")
@click.option(
    "--at", metavar="TIME", help="As it was then, such as 2026-03-01 or 2026-03-01T14:30 (this machine's time)."
)
@click.option("--depth", default=DEPTH, show_default=True, type=click.IntRange(1, 100), help="Steps in each direction.")
@click.option("--project", "-p", default="")
@output.as_json
def show(address: str, at: str | None, depth: int, project: str, as_json: bool) -> None:
    """Show where a data version or a run comes from, and what came of it.

    \b
    larder lineage data:sales@v12
    larder lineage run:4dbc4380 --at 2026-03-01
    """
    found = lineage(address, at=_time(at), depth=depth, project=project)
    if as_json:
        output.document(found)
        return
    click.echo(click.style(_told(found.of, edge=False), bold=True))
    for head, nodes in (("comes from", found.origins), ("went into", found.results)):
        click.echo(f"{head}{'' if nodes else ' nothing that is known'}")
        for line in _tree(nodes, ""):
            click.echo(line)
    if found.cut:
        output.say("There is more; --depth shows more steps.")


def _tree(nodes: Sequence[Node], before: str) -> Iterator[str]:
    for number, node in enumerate(nodes, start=1):
        last = number == len(nodes)
        yield f"{before}{'└─ ' if last else '├─ '}{_told(node)}"
        yield from _tree(node.nodes, before + ("   " if last else "│  "))


def _told(node: Node, *, edge: bool = True) -> str:
    name = (
        f"data:{node.name}"
        if node.kind == "data"
        else f"run:{node.id[-8:]} {node.name if node.name != node.id else ''}".rstrip()
    )
    parts = [_EDGES[node.edge]] if edge and node.edge else []
    parts.append(name)
    if node.part:
        parts.append(f"(part {node.part})")
    told = " ".join(parts)
    more = [output.moment(node.time), " ".join(node.text.split())[:60], "see above" if node.again and node.kind else ""]
    return f"{told}  {'  '.join(each for each in more if each)}".rstrip()


def _time(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time, such as 2026-03-01 or 2026-03-01T14:30", param_hint="--at"
        ) from None
    return int(when.astimezone(datetime.UTC).timestamp() * 1_000_000)
