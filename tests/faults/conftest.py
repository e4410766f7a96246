"""One world of servers for each database, shared by the faults of this test process."""

from collections.abc import Iterator

import pytest

from tests.faults.stage import World


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("faults"), request.param)
    yield world
    world.close()
