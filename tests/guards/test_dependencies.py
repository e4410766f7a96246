"""Every library we ask for has its reason written down, and the client asks for few."""

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = ("client", "server", "recipes")
REASONS = ROOT / "docs" / "explanation" / "dependencies.md"
PAGES = re.search(r"^## The pages\n.*?(?=\nWhat only tests)", REASONS.read_text(), re.M | re.S)[0]


def project(folder):
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]


def direct(folder):
    """The requirements of a distribution, its extras' too, without our own distributions."""
    table = project(folder)
    listed = [
        *table["dependencies"],
        *(one for extra in table.get("optional-dependencies", {}).values() for one in extra),
    ]
    return [one for one in map(Requirement, listed) if not one.name.startswith("larder")]


def closure(distribution):
    """The names of all packages that come with a distribution, without extras, on this platform."""
    waiting, found = [distribution], set()
    while waiting:
        for text in metadata.requires(waiting.pop()) or ():
            requirement = Requirement(text)
            name = canonicalize_name(requirement.name)
            if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                found.add(name)
                waiting.append(name)
    return found


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_every_dependency_has_its_reason(folder):
    reasons = set(re.findall(r"^\| `([^`]+)` \|", REASONS.read_text(), re.M))
    missing = {one.name for one in direct(folder)} - reasons
    assert not missing, f"say why in {REASONS.relative_to(ROOT)}"


def test_no_reason_is_left_over():
    reasons = set(re.findall(r"^\| `([^`]+)` \|", REASONS.read_text().replace(PAGES, ""), re.M))
    assert reasons == {one.name for folder in DISTRIBUTIONS for one in direct(folder)}


def test_the_pages_libraries_have_their_reasons():
    rows = [line.split("|")[1] for line in PAGES.splitlines() if line.startswith("| `")]
    package = json.loads((ROOT / "web" / "package.json").read_text())
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == set(package["dependencies"])
    build = PAGES.partition("To build and check them:")[2]
    assert not [name for name in package["devDependencies"] if f"`{name}`" not in build]


def test_the_pages_libraries_are_pinned_with_their_hashes():
    lock = json.loads((ROOT / "web" / "package-lock.json").read_text())
    assert lock["packages"]["node_modules/react"]["integrity"]
    for name, entry in lock["packages"].items():
        if name:
            assert entry["integrity"].startswith("sha512-"), name
            assert entry.get("resolved", "https://registry.npmjs.org/").startswith("https://registry.npmjs.org/"), name


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_every_dependency_has_an_upper_bound(folder):
    open_ended = [
        str(one) for one in direct(folder) if not any(part.operator in ("<", "==", "~=") for part in one.specifier)
    ]
    assert not open_ended


def test_the_web_framework_is_capped():
    capped = {one.name for one in direct("server") if any(part.operator == "<" for part in one.specifier)}
    assert {"starlette", "uvicorn"} <= capped


def test_the_client_brings_at_most_eight_packages():
    brought = closure("larder")
    assert len(brought) <= 8, sorted(brought)


def test_every_direct_dependency_is_pinned():
    pinned = {
        canonicalize_name(line.partition("==")[0])
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.lstrip().startswith("#")
    }
    asked = {canonicalize_name(one.name) for folder in DISTRIBUTIONS for one in direct(folder)}
    assert not asked - pinned, "run `make lock`"
