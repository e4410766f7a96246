"""A server's runtime over a migrated database, and contexts in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import pytest

import larder_server.migrations
from larder.contract.endpoint import Role
from larder.contract.tenants import Identity
from larder_server.kernel import schema
from larder_server.kernel.context import Context
from larder_server.kernel.database import Database, Statements
from larder_server.kernel.objects import ObjectStore
from larder_server.kernel.runtime import Runtime

SCRIPTS = Path(str(resources.files(larder_server.migrations)))
ALICE = Identity(tenant="acme", user="alice", role=Role.ADMIN)


class HeldClock:
    """A clock that moves when told."""

    def __init__(self, now: int = 1_700_000_000_000_000) -> None:
        self.time = now

    def now(self) -> int:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += int(seconds * 1_000_000)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def runtime(database_url: str, clock: HeldClock, tmp_path: Path) -> Iterator[Runtime]:
    database = Database(database_url)
    schema.migrate(database, scripts=SCRIPTS, backups=tmp_path / "backups")
    yield Runtime(database=database, objects=ObjectStore("memory://"), clock=clock)
    database.close()


@contextmanager
def opened(runtime: Runtime, identity: Identity = ALICE) -> Iterator[Context]:
    """A context whose transaction is rolled back at the end: for tests of stores and services."""
    with runtime.database.engine.connect() as connection:
        if runtime.database.sqlite:
            connection.exec_driver_sql("begin immediate")
        yield runtime._context(identity, Statements(connection, identity.tenant))
        connection.exec_driver_sql("rollback") if runtime.database.sqlite else connection.rollback()


@pytest.fixture
def context(runtime: Runtime) -> Iterator[Context]:
    """A context of tenant acme, on SQLite and on PostgreSQL."""
    with opened(runtime) as context:
        yield context


@pytest.fixture
def other_context(runtime: Runtime, context: Context) -> Context:
    """A context of another tenant in the same transaction."""
    identity = Identity(tenant="globex", user="bob", role=Role.ADMIN)
    return runtime._context(identity, Statements(context.db._connection, identity.tenant))
