"""The command line over a server in memory."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from larder import config
from larder.cli.group import larder
from tests.client.fake_server import FakeServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    server = FakeServer()
    monkeypatch.setattr(config, "connect", lambda *_: server.transport)
    return server


@pytest.fixture
def call(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Calls `larder …`; stdout and stderr stay apart."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def call(*arguments: str, **options: object) -> Result:
        result = CliRunner().invoke(larder, list(arguments), prog_name="larder", **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call
