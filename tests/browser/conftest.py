"""A real Chromium, the system's own, driven by Playwright."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.journeys.conftest import Up
from tests.journeys.conftest import up as plain_up  # noqa: F401  (the fixture)

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
# Pages built somewhere else than in the server's own folder; read before a test's fixtures clear LARDER_….
PAGES = {name: os.environ[name] for name in ("LARDER_PAGES",) if name in os.environ}


@pytest.fixture
def up(request: pytest.FixtureRequest) -> Callable[..., Up]:
    """Starts servers that show the pages."""
    start = request.getfixturevalue("plain_up")
    return lambda *, environment=None, **options: start(environment={**PAGES, **(environment or {})}, **options)


# Not for the session: Playwright's event loop counts as running in this thread until it is closed, and no other
# module's `asyncio.run` would work beside it, in whatever order a worker meets the modules.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine: `make system` installs it where apt and root are there")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page that fails the test on any error in the page's own code."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []
