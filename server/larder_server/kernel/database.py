"""One door to SQL: text statements, one transaction for a piece of work, the same on SQLite and PostgreSQL.

Writers on SQLite are grouped: whatever waits while a transaction is being written to disk goes into the next one
together, each piece of work behind its own savepoint, so that one failing does not touch its neighbours.
"""

import queue
import sqlite3
import threading
import time
from collections import deque, namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import lru_cache
from itertools import repeat
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.pool import QueuePool

from larder.contract.errors import Unavailable

Result = TypeVar("Result")
Work = Callable[[Connection], Result]

GROUP = 64
"""The most pieces of work that share one transaction on SQLite."""

READERS = 20
"""The most views at a time on SQLite; further ones wait."""

RETRIES = 5
"""How often a transaction that PostgreSQL broke off (deadlock, serialisation) is tried again."""

_KEPT_READERS = 8
_PATIENCE = 30.0


@lru_cache(maxsize=2000)
def _statement(sql: str) -> sa.TextClause:
    return sa.text(sql)


class Statements:
    """Runs text SQL in one transaction for one tenant; `:tenant` is always bound."""

    def __init__(self, connection: Connection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant
        self._dialect = connection.dialect
        self.postgres = self._dialect.name == "postgresql"
        self._sqlite = None if self.postgres else _driver(connection)
        self.aside = "" if self.postgres else "+"
        """Before a column that must not choose the index: SQLite, without statistics, takes any index on the tenant."""
        self.for_update = " for update" if self.postgres else ""
        """Ends a select whose rows this transaction will change; SQLite has one writer at a time and needs none."""
        self.skip_locked = " for update skip locked" if self.postgres else ""
        """Ends a select that takes the first row nobody else is taking."""

    def execute(self, sql: str, **params: Any) -> Sequence[Row[Any]]:
        """Run a statement that answers rows."""
        cursor = self._run(sql, params)
        if self._sqlite is None:
            return cast(Sequence[Row[Any]], cursor.fetchall())
        make = _row(cursor.description)
        with _Translated(sql):
            return [make(row) for row in cursor.fetchall()]

    def one(self, sql: str, **params: Any) -> Row[Any] | None:
        """The first row, or None."""
        cursor = self._run(sql, params)
        if self._sqlite is None:
            return cast("Row[Any] | None", cursor.fetchone())
        with _Translated(sql):
            row = cursor.fetchone()
        return None if row is None else _row(cursor.description)(row)

    def change(self, sql: str, **params: Any) -> int:
        """Run an insert, update or delete without `returning`; the number of rows changed."""
        return int(self._run(sql, params).rowcount)

    def many(self, sql: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run one statement for each of `rows`; the driver is given them as they are, without SQLAlchemy's per-row work."""
        compiled, order = _compiled(sql, self._dialect)
        values: Any
        if order is None:
            values = [{"tenant": self._tenant, **row} for row in rows]
        else:
            values = [tuple(self._tenant if name == "tenant" else row[name] for name in order) for row in rows]
        if values:
            self._each(sql, compiled, values)

    def columns(self, sql: str, columns: Mapping[str, Sequence[Any]]) -> int:
        """Run one statement for each row of columns of equal length: as `many`, without a map for each row.

        The number of rows changed.
        """
        compiled, order = _compiled(sql, self._dialect)
        names, columns_ = list(columns), list(columns.values())
        if not columns_ or not len(columns_[0]):
            return 0
        if order is None:
            rows = zip(*columns_, strict=True)
            return self._each(
                sql, compiled, [{"tenant": self._tenant, **dict(zip(names, row, strict=True))} for row in rows]
            )
        count = len(columns_[0])
        given = {"tenant": repeat(self._tenant, count), **columns}
        return self._each(sql, compiled, list(zip(*[given[name] for name in order], strict=True)))

    def _each(self, sql: str, compiled: str, values: Any) -> int:
        if self._sqlite is None:
            return int(self._connection.exec_driver_sql(compiled, values).rowcount)
        with _Translated(sql):
            return self._sqlite.executemany(compiled, values).rowcount

    def _run(self, sql: str, params: dict[str, Any]) -> Any:
        params["tenant"] = self._tenant
        compiled, order = _compiled(sql, self._dialect)
        if self._sqlite is None:
            # in the driver's words: SQLAlchemy would take longer to look at a text than the database to answer it
            return self._connection.exec_driver_sql(
                compiled, params if order is None else tuple(params[name] for name in order)
            )
        assert order is not None, "the driver of SQLite takes parameters by place"
        # to the driver itself: SQLite answers most questions in a fifth of the time that SQLAlchemy takes to hand them on
        with _Translated(sql):
            return self._sqlite.execute(compiled, [params[name] for name in order])


class _Translated:
    """Raises what SQLite's driver says against a statement in the words of SQLAlchemy, as on PostgreSQL."""

    __slots__ = ("_sql",)

    def __init__(self, sql: str) -> None:
        self._sql = sql

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise sa.exc.DBAPIError.instance(
                self._sql, None, error, sqlite3.Error, hide_parameters=True
            ) from error  # fmt: skip


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.dbapi_connection)


def _row(description: Sequence[Sequence[Any]]) -> Callable[[Sequence[Any]], Row[Any]]:
    """Makes rows whose columns are attributes, as those of SQLAlchemy are, for a hundredth of the cost."""
    return _row_class(tuple([column[0] for column in description]))


@lru_cache(maxsize=2000)
def _row_class(columns: tuple[str, ...]) -> Callable[[Sequence[Any]], Row[Any]]:
    kind = namedtuple("Row", columns, rename=True)  # type: ignore[misc]
    return cast(Callable[[Sequence[Any]], Row[Any]], kind._make)


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
        self._readers: deque[Connection] = deque()
        self._reading = threading.Semaphore(READERS)
        if self.sqlite:
            self.engine: sa.Engine = sa.create_engine(
                url,
                poolclass=QueuePool,
                pool_size=8,
                max_overflow=16,
                hide_parameters=True,
                connect_args={"check_same_thread": False, "cached_statements": 500},
            ).execution_options(isolation_level="AUTOCOMMIT")
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
        else:
            if url.startswith(("postgresql://", "postgres://")):
                url = "postgresql+psycopg://" + url.split("://", 1)[1]
            self.engine = sa.create_engine(url, pool_size=8, max_overflow=24, pool_pre_ping=True, hide_parameters=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view for one request; changes nothing."""
        if self.sqlite:
            with self._reader() as connection:
                yield connection
            return
        with self.engine.connect() as connection:
            # one snapshot for all statements: between two of them somebody may move points from heads into blocks
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def _reader(self) -> Iterator[Connection]:
        """A connection that stays open between views: SQLAlchemy takes longer to hand one out than most views last."""
        if not self._reading.acquire(timeout=_PATIENCE):
            raise Unavailable("too many questions at a time", hint="try again")
        try:
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self.engine.connect()
            sqlite = _driver(connection)
            try:
                with _Translated("begin"):
                    sqlite.execute("begin")
                try:
                    yield connection
                finally:
                    with _Translated("rollback"):
                        sqlite.execute("rollback")
            except sa.exc.DBAPIError:
                connection.close()  # whatever ails it, the next view shall begin with a sound one
                raise
            except BaseException:
                self._keep(connection)
                raise
            self._keep(connection)
        finally:
            self._reading.release()

    def _keep(self, connection: Connection) -> None:
        if len(self._readers) < _KEPT_READERS:
            self._readers.append(connection)
        else:
            connection.close()

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
        while self._readers:
            self._readers.pop().close()
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

        def say(sql: str) -> None:
            with _Translated(sql):
                _driver(connection).execute(sql)

        try:
            say("begin immediate")
            for work, future in jobs:
                say("savepoint work")
                try:
                    result = work(connection)
                except BaseException as problem:  # a caller's error is the caller's; the writer lives on
                    say("rollback to work")
                    future.set_exception(problem)
                else:
                    done.append((future, result))
                say("release work")
            say("commit")
        except BaseException as problem:  # the disk is full, the file is gone: everybody in the group hears it
            if connection.connection.dbapi_connection is not None and _driver(connection).in_transaction:
                say("rollback")
            for _, future in jobs:
                if not future.done():
                    future.set_exception(problem)
            return
        for future, result in done:
            future.set_result(result)
