"""Runtimes with real transactions, on each kind of store."""

import pytest

from larder_server.kernel import schema
from larder_server.kernel.database import Database
from larder_server.kernel.objects import ObjectStore
from larder_server.kernel.runtime import Runtime
from tests.server.conftest import SCRIPTS
from tests.server.datasets.hands import Hands


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def objects_url(request, tmp_path):
    return str(tmp_path / "objects") if request.param == "folder" else request.getfixturevalue("s3_url")


@pytest.fixture
def stored(database_url, objects_url, clock, tmp_path):
    """A runtime whose transactions last, over real stores."""
    database = Database(database_url)
    schema.migrate(database, scripts=SCRIPTS, backups=tmp_path / "backups")
    yield Runtime(database=database, objects=ObjectStore(objects_url), clock=clock)
    database.close()


@pytest.fixture
def hands(runtime) -> Hands:
    return Hands(runtime)
