"""Brings the database to the shape this server knows: after a backup when it is older, never when it is newer."""

import logging
import shutil
import sqlite3
import time
from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from larder.contract.errors import Conflict
from larder_server.kernel.database import Database

log = logging.getLogger(__name__)

_LOCK = 0x1A2DE2
"""PostgreSQL advisory lock that keeps two starting servers from migrating at once."""


def migrate(database: Database, *, scripts: Path, backups: Path) -> list[str]:
    """Apply the revisions the database lacks, all or none; the revisions applied.

    Raises Conflict when the database was written by a newer Larder. A SQLite database that holds data is copied into
    `backups` first; a PostgreSQL database is backed up by its own tools, and the migration is one transaction there.
    """
    config = Config()
    config.set_main_option("script_location", str(scripts))
    directory = ScriptDirectory.from_config(config)
    known = [revision.revision for revision in reversed(list(directory.walk_revisions()))]
    with database.engine.connect() as connection:
        if not database.sqlite:
            connection.execute(sa.text("select pg_advisory_lock(:lock)"), {"lock": _LOCK})
        current = MigrationContext.configure(connection).get_current_revision()
        if current is not None and current not in known:
            raise Conflict(
                f"the database {_shown(database)} is at revision {current}; this server knows up to {known[-1]}",
                hint="start the newer Larder that wrote it, or restore the backup from before its update",
            )
        missing = known[known.index(current) + 1 :] if current else known
        if not missing:
            return []
        if current is not None and database.sqlite:
            _back_up(database, backups, current)
        connection.exec_driver_sql("begin immediate") if database.sqlite else None
        context = MigrationContext.configure(connection, opts={"transactional_ddl": True})
        context._ensure_version_table()
        with Operations.context(context):
            before = current
            for name in missing:
                revision = directory.get_revision(name)
                assert revision is not None, "the name came from the directory"
                revision.module.upgrade()
                if before is None:
                    connection.execute(
                        sa.text("insert into alembic_version (version_num) values (:name)"), {"name": name}
                    )
                else:
                    connection.execute(sa.text("update alembic_version set version_num = :name"), {"name": name})
                before = name
        connection.exec_driver_sql("commit") if database.sqlite else connection.commit()
    return missing


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
