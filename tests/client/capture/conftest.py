"""Each test records into a run of its own; the patches, being of the process, stay."""

from collections.abc import Iterator

import pytest

from larder import capture, guard, integrations
from larder.capture import arguments
from larder.integrations import active

from .recorder import FakeRun


@pytest.fixture
def warnings() -> Iterator[set[str]]:
    """The sources that have warned."""
    guard._warned.clear()
    yield guard._warned
    guard._warned.clear()


@pytest.fixture
def run(warnings: set[str]) -> Iterator[FakeRun]:
    """A current run, with every patch installed and neither console nor notebook listened to; nothing may warn."""
    run = FakeRun()
    active.begin(run, off=frozenset())
    arguments.install()
    for name in integrations.FRAMEWORKS:
        integrations.install(name)
    yield run
    capture.stop(run)
    assert warnings == set()
