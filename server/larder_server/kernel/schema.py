"""Brings the database to the shape this server knows: after a backup when it is older, never when it is newer."""

import importlib.util
import logging
import re
import shutil
import sqlite3
import time
from pathlib import Path
from types import ModuleType

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from larder.contract.errors import Conflict
from larder_server.kernel.database import Database

log = logging.getLogger(__name__)

_LOCK = 0x1A2DE2
"""PostgreSQL advisory lock that keeps two starting servers from migrating at once."""

_REVISION = re.compile(r"r(\d{4})_\w+\.py")


def migrate(database: Database, *, scripts: Path, backups: Path) -> list[str]:
    """Apply the revisions the database lacks, all or none; the revisions applied.

    Revisions are the files `versions/rNNNN_words.py` of `scripts`, in the order of their numbers. Raises Conflict when
    the database was written by a newer Larder. A SQLite database that holds data is copied into `backups` first; a
    PostgreSQL database is backed up by its own tools, and the migration is one transaction there.
    """
    files = {found[1]: path for path in (scripts / "versions").iterdir() if (found := _REVISION.fullmatch(path.name))}
    known = sorted(files)
    with database.engine.connect() as connection:
        if not database.sqlite:
            connection.execute(sa.text("select pg_advisory_lock(:lock)"), {"lock": _LOCK})
        try:
            current = _current(connection)
            if current is not None and current not in known:
                raise Conflict(
                    f"the database {_shown(database)} is at revision {current}; this server knows up to {known[-1]}",
                    hint="start the newer Larder that wrote it, or restore the backup from before its update",
                )
            missing = known[known.index(current) + 1 :] if current else known
            if missing:
                if current is not None and database.sqlite:
                    _back_up(database, backups, current)
                _apply(connection, [files[name] for name in missing], current=current, names=missing)
        finally:
            if not database.sqlite:
                connection.rollback()  # nothing when it was committed
                connection.execute(sa.text("select pg_advisory_unlock(:lock)"), {"lock": _LOCK})
                connection.commit()
    return missing


def _current(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("select version_num from alembic_version")).scalar()


def _apply(connection: Connection, files: list[Path], *, current: str | None, names: list[str]) -> None:
    # only here: a server whose database is up to date starts without Alembic in its memory
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        connection.exec_driver_sql("begin immediate")
    try:
        with Operations.context(MigrationContext.configure(connection)):
            for path in files:
                _load(path).upgrade()
        if current is None:
            connection.execute(sa.text("create table alembic_version (version_num varchar(32) not null primary key)"))
            connection.execute(sa.text("insert into alembic_version values (:name)"), {"name": names[-1]})
        else:
            connection.execute(sa.text("update alembic_version set version_num = :name"), {"name": names[-1]})
    except BaseException:
        connection.exec_driver_sql("rollback") if sqlite else connection.rollback()
        raise
    connection.exec_driver_sql("commit") if sqlite else connection.commit()


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"larder_revision_{path.stem}", path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _back_up(database: Database, backups: Path, revision: str) -> None:
    source = Path(str(database.engine.url.database))
    if not source.exists():
        return
    backups.mkdir(parents=True, exist_ok=True)
    target = backups / f"{source.stem}-{revision}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.sqlite"
    partial = target.with_suffix(".partial")
    # the online backup takes what the WAL holds as well, which a file copy would miss
    origin, copy = sqlite3.connect(source), sqlite3.connect(partial)
    try:
        with copy:
            origin.backup(copy)
    finally:
        copy.close()
        origin.close()
    shutil.move(partial, target)
    log.warning("the database was copied to %s before it is migrated", target)


def _shown(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=True)
