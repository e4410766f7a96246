"""Writers in SQL: how far the journal of each process of a run is stored."""

from dataclasses import dataclass

from larder_server.kernel.context import Context


@dataclass(frozen=True, kw_only=True)
class Writer:
    """What is stored of one journal."""

    offset: int
    closed: bool
    role: str = ""


def find(context: Context, run: int, writer: str) -> Writer | None:
    row = context.db.one(
        "select end_offset, closed, role from writers where tenant = :tenant and run = :run and writer = :writer",
        run=run,
        writer=writer,
    )
    return None if row is None else Writer(offset=row.end_offset, closed=bool(row.closed), role=row.role)


def put(context: Context, run: int, writer: str, *, offset: int, attempt: int, closed: bool, role: str) -> None:
    context.db.change(
        "insert into writers (tenant, run, writer, end_offset, attempt, closed, role)"
        " values (:tenant, :run, :writer, :offset, :attempt, :closed, :role) on conflict (tenant, run, writer)"
        " do update set end_offset = excluded.end_offset, attempt = excluded.attempt, closed = excluded.closed",
        run=run, writer=writer, offset=offset, attempt=attempt, closed=int(closed), role=role,
    )  # fmt: skip


def delete(context: Context, run: int) -> int:
    return context.db.change("delete from writers where tenant = :tenant and run = :run", run=run)


def any_of(context: Context, run: int) -> bool:
    """Whether anything of a journal has arrived since the newest attempt began."""
    return context.db.one("select run from writers where tenant = :tenant and run = :run limit 1", run=run) is not None
