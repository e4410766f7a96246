"""The built pages: small at the start, compressed beforehand, nothing from elsewhere, every address known to the server."""

import json
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = Path(os.environ.get("LARDER_PAGES", ROOT / "server" / "larder_server" / "pages"))
INITIAL_KB = 350
ENTRY = "index.html"


@pytest.fixture(scope="module")
def manifest():
    if not (PAGES / "manifest.json").exists():
        pytest.fail("the pages are not built: `make web`")
    return json.loads((PAGES / "manifest.json").read_text())


def needed(manifest, *names):
    """The files that a browser loads for these parts, with all they import."""
    waiting, found, files = list(names), set(), set()
    while waiting:
        part = waiting.pop()
        if part in found:
            continue
        found.add(part)
        entry = manifest[part]
        files |= {entry["file"], *entry.get("css", ())}
        waiting += entry.get("imports", ())
    return files


def compressed(name):
    path = PAGES / f"{name}.br"
    return (path if path.exists() else PAGES / name).stat().st_size


def test_each_page_starts_with_a_small_download(manifest):
    pages = [name for name in manifest if re.fullmatch(r"src/pages/\w+/index\.tsx", name)]
    assert len(pages) == 9
    sizes = {
        page: sum(map(compressed, {ENTRY, "theme.js", *needed(manifest, ENTRY, page)})) / 1000 for page in pages
    }  # fmt: skip
    assert max(sizes.values()) <= INITIAL_KB, sizes


def test_every_larger_file_is_compressed_beforehand():
    for path in PAGES.rglob("*"):
        if path.suffix in (".js", ".css", ".html") and path.stat().st_size >= 200:
            assert path.with_name(path.name + ".br").exists() and path.with_name(path.name + ".gz").exists(), path


def test_the_page_itself_holds_no_script_and_no_style():
    page = (PAGES / ENTRY).read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)


def test_nothing_is_loaded_from_elsewhere():
    page = (PAGES / ENTRY).read_text()
    assert all(link.startswith("/") for link in re.findall(r'(?:src|href)="([^"]+)"', page))
    for path in PAGES.glob("assets/*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", path.read_text()), path


def test_the_server_knows_every_address_of_the_router():
    router = (ROOT / "web" / "src" / "router.tsx").read_text()
    pages = set()
    for path in re.findall(r'path: "(/[^"]*)"', router):
        parts = path.split("/{-$")  # what may be left out is left out from the end
        for length in range(1, len(parts) + 1):
            pages.add(re.sub(r"{-\$(\w+)}", r"$\1", "/{-$".join(parts[:length])))
    from larder_server import app

    known = {re.sub(r"{(\w+)(:path)?}", r"$\1", path) for path in (*app._PAGES, "/share/{token}", "/sign-in")}
    assert {path for path in pages if path.startswith("/")} == known
