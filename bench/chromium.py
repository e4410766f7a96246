"""A real Chromium for the pages: the system's own, driven by Playwright; times are those of the page's own clock."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.harness import Failed, Server

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; Failed where there is none on this machine."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        raise Failed("no Chromium on this machine: `make system` installs it where apt and root are there")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def signed_in(browser: Any, server: Server, **options: Any) -> Any:
    """A page of a browser that is signed in, with nothing else in its cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    context.add_cookies([{"name": "larder_session", "value": server.token, "url": server.url}])
    return context.new_page()


def phone(browser: Any) -> Any:
    """A page on a middling phone that nobody signed in: a quarter of this processor, 9 Mbit/s, 60 ms there and back."""
    context = browser.new_context(viewport={"width": 360, "height": 740}, device_scale_factor=2, is_mobile=True)
    page = context.new_page()
    tools = context.new_cdp_session(page)
    tools.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    tools.send("Network.enable")
    speed = {"offline": False, "latency": 60, "downloadThroughput": 9e6 / 8, "uploadThroughput": 3e6 / 8}
    tools.send("Network.emulateNetworkConditions", speed)
    return page


def shown(page: Any, condition: str) -> float:
    """Milliseconds from the start of the navigation until a condition, in JavaScript, holds at a frame."""
    look = f"const look = () => ({condition}) ? done(performance.now()) : requestAnimationFrame(look); look();"
    return float(page.evaluate(f"() => new Promise((done) => {{ {look} }})"))
