"""Who a run comes from and what comes from it, in SQL; and its neighbours in time."""

from dataclasses import dataclass

from larder_server.kernel.context import Context


@dataclass(frozen=True, kw_only=True)
class Children:
    """The numbers of the newest runs that have a parent, and how many there are in all."""

    seqs: list[int]
    total: int


def children(context: Context, run_id: str, *, most: int) -> Children:
    """What was made from a run, the newest first."""
    rows = context.db.execute(
        "select seq from runs where tenant = :tenant and parent = :parent order by created desc, seq desc limit :most",
        parent=run_id,
        most=most,
    )
    if len(rows) < most:
        return Children(seqs=[row.seq for row in rows], total=len(rows))
    count = context.db.one(
        "select count(*) as runs from runs where tenant = :tenant and parent = :parent", parent=run_id
    )
    return Children(seqs=[row.seq for row in rows], total=0 if count is None else int(count.runs))


def neighbour(context: Context, *, project: str, created: int, seq: int, later: bool) -> str | None:
    """The id of the run of a project that was made just before one, or just after it."""
    sign, way = (">", "asc") if later else ("<", "desc")
    row = context.db.one(
        "select id from runs where tenant = :tenant and project = :project and archived = 0"
        f" and (created {sign} :created or (created = :created and seq {sign} :seq))"
        f" order by created {way}, seq {way} limit 1",
        project=project,
        created=created,
        seq=seq,
    )
    return None if row is None else str(row.id)
