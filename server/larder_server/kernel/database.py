"""One door to SQL: text statements, one transaction for a piece of work, the same on SQLite and PostgreSQL.

Writers on SQLite are grouped: whatever waits while a transaction is being written to disk goes into the next one
together, each piece of work behind its own savepoint, so that one failing does not touch its neighbours.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.pool import QueuePool

from larder.contract.errors import Unavailable

Result = TypeVar("Result")
Work = Callable[[Connection], Result]

GROUP = 64
"""The most pieces of work that share one transaction on SQLite."""

RETRIES = 5
"""How often a transaction that PostgreSQL broke off (deadlock, serialisation) is tried again."""


@lru_cache(maxsize=2000)
def _statement(sql: str) -> sa.TextClause:
    return sa.text(sql)


class Statements:
    """Runs text SQL in one transaction for one tenant; `:tenant` is always bound."""

    def __init__(self, connection: Connection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant
        self.postgres = connection.dialect.name == "postgresql"
        self.aside = "" if self.postgres else "+"
        """Before a column that must not choose the index: SQLite, without statistics, takes any index on the tenant."""
        self.for_update = " for update" if self.postgres else ""
        """Ends a select whose rows this transaction will change; SQLite has one writer at a time and needs none."""
        self.skip_locked = " for update skip locked" if self.postgres else ""
        """Ends a select that takes the first row nobody else is taking."""

    def execute(self, sql: str, **params: Any) -> Sequence[Row[Any]]:
        """Run a statement that answers rows."""
        return self._run(sql, params).fetchall()

    def one(self, sql: str, **params: Any) -> Row[Any] | None:
        """The first row, or None."""
        return self._run(sql, params).fetchone()

    def change(self, sql: str, **params: Any) -> int:
        """Run an insert, update or delete without `returning`; the number of rows changed."""
        return self._run(sql, params).rowcount

    def many(self, sql: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run one statement for each of `rows`; the driver is given them as they are, without SQLAlchemy's per-row work."""
        compiled, order = _compiled(sql, self._connection.dialect)
        values: list[Any]
        if order is None:
            values = [{"tenant": self._tenant, **row} for row in rows]
        else:
            values = [tuple(self._tenant if name == "tenant" else row[name] for name in order) for row in rows]
        if values:
            self._connection.exec_driver_sql(compiled, values)

    def _run(self, sql: str, params: dict[str, Any]) -> sa.CursorResult[Any]:
        params["tenant"] = self._tenant
        compiled, order = _compiled(sql, self._connection.dialect)
        # in the driver's words: SQLAlchemy would take longer to look at a text than SQLite to answer it
        return self._connection.exec_driver_sql(
            compiled, params if order is None else tuple(params[name] for name in order)
        )


@lru_cache(maxsize=2000)
def _compiled(sql: str, dialect: sa.Dialect) -> tuple[str, tuple[str, ...] | None]:
    """The statement in the driver's own words; the order of its parameters where the driver wants them by place."""
    compiled = _statement(sql).compile(dialect=dialect)
    return str(compiled), tuple(compiled.positiontup or ()) if compiled.positional else None


class Database:
    """An engine with a way to read and a way to write.

    Promises: `write` returns after the work is durable (SQLite: fsync of the WAL; PostgreSQL: synchronous commit) or
    raises and nothing of it stays. Work may be run more than once, so it must have no effect outside the database.
    """

    def __init__(self, url: str) -> None:
        # parameters are hidden in the texts of errors: what users wrote does not belong into logs
        self.url = url
        self.sqlite = url.startswith("sqlite")
        self._writer: _GroupingWriter | None = None
        if self.sqlite:
            self.engine: sa.Engine = sa.create_engine(
                url,
                poolclass=QueuePool,
                pool_size=8,
                max_overflow=16,
                hide_parameters=True,
                connect_args={"check_same_thread": False},
            ).execution_options(isolation_level="AUTOCOMMIT")
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
        else:
            if url.startswith(("postgresql://", "postgres://")):
                url = "postgresql+psycopg://" + url.split("://", 1)[1]
            self.engine = sa.create_engine(url, pool_size=8, max_overflow=24, pool_pre_ping=True, hide_parameters=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view for one request; changes nothing."""
        with self.engine.connect() as connection:
            if not self.sqlite:
                # one snapshot for all statements: between two of them somebody may move points from heads into blocks
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
                with connection.begin():
                    yield connection
                return
            connection.exec_driver_sql("begin")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("rollback")

    def write(self, work: Work[Result]) -> Result:
        """Do `work` in one transaction and return its result once that is durable."""
        if self.sqlite:
            if self._writer is None:
                self._writer = _GroupingWriter(self.engine)
            return self._writer.do(work)
        for left in reversed(range(RETRIES)):
            try:
                with self.engine.begin() as connection:
                    return work(connection)
            except sa.exc.OperationalError as problem:
                # 40001 serialisation failure, 40P01 deadlock: PostgreSQL asks to try again
                if not left or getattr(problem.orig, "sqlstate", None) not in ("40001", "40P01"):
                    raise
                time.sleep(0.01 * (RETRIES - left))
        raise AssertionError("the loop returns or raises")

    def close(self) -> None:
        """Finish the writes that wait, then let go of the connections."""
        if self._writer is not None:
            self._writer.close()
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=wal", "synchronous=full", "busy_timeout=10000", "foreign_keys=on", "temp_store=memory",
                   "cache_size=-16000", "mmap_size=268435456"):  # fmt: skip
        connection.execute(f"pragma {pragma}")


class _GroupingWriter:
    """The one thread that writes to SQLite."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._waiting: queue.SimpleQueue[tuple[Work[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="larder-writer", daemon=True)
        self._thread.start()

    def do(self, work: Work[Result]) -> Result:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a write inside a write would wait for itself: pass the context on instead")
        if not self._thread.is_alive():
            raise Unavailable("the database is closed")
        future: Future[Result] = Future()
        self._waiting.put((work, future))
        return future.result()

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        with self._engine.connect() as connection:
            open_ = True
            while open_:
                group = [self._waiting.get()]
                while len(group) < GROUP and not self._waiting.empty():
                    group.append(self._waiting.get())
                open_ = None not in group
                self._write(connection, [job for job in group if job is not None])

    def _write(self, connection: Connection, jobs: list[tuple[Work[Any], Future[Any]]]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        try:
            connection.exec_driver_sql("begin immediate")
            for work, future in jobs:
                connection.exec_driver_sql("savepoint work")
                try:
                    result = work(connection)
                except BaseException as problem:  # a caller's error is the caller's; the writer lives on
                    connection.exec_driver_sql("rollback to work")
                    future.set_exception(problem)
                else:
                    done.append((future, result))
                connection.exec_driver_sql("release work")
            connection.exec_driver_sql("commit")
        except BaseException as problem:  # the disk is full, the file is gone: everybody in the group hears it
            if connection.connection.dbapi_connection is not None and connection.connection.in_transaction:
                connection.exec_driver_sql("rollback")
            for _, future in jobs:
                if not future.done():
                    future.set_exception(problem)
            return
        for future, result in done:
            future.set_result(result)
