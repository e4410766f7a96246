"""The documentation runs where it says so, its links lead somewhere, and every module opens with its sentence."""

import ast
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("client/larder", "server/larder_server", "recipes/larder_recipes")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / folder / "README.md" for folder in ("client", "server", "recipes"))]
)  # fmt: skip
FENCE = re.compile(
    r"(?:^<!-- test: (?P<marks>[a-z ]+) -->\n)?^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```", re.M | re.S
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Snippet:
    """One block of code in a document, and where it is to run."""

    document: Path
    line: int
    language: str
    text: str
    marks: tuple[str, ...]


def snippets():
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start("text"))
            marks = tuple((match["marks"] or "").split())
            yield Snippet(document, line, match["language"], textwrap.dedent(match["text"]), marks)


def named(snippet):
    return f"{snippet.document.relative_to(ROOT)}:{snippet.line}"


ALL = list(snippets())
MARKED = [(mark, one) for one in ALL for mark in one.marks]


@pytest.fixture(scope="module")
def server_home(tmp_path_factory):
    """A home in which a server is up."""
    home = tmp_path_factory.mktemp("docs-home")
    environment = {**os.environ, "LARDER_HOME": str(home)}
    words = home / "server.log"
    server = subprocess.Popen(
        [sys.executable, "-m", "larder.cli", "up", "--port", "0", "--json"],
        env=environment, cwd=home, stdout=subprocess.PIPE, stderr=words.open("w"), text=True,
    )  # fmt: skip
    first = server.stdout.readline()
    assert first.startswith("{"), words.read_text()
    yield home
    server.terminate()
    server.wait(timeout=20)


@pytest.mark.parametrize("where,snippet", MARKED, ids=[f"{named(one)}-{mark}" for mark, one in MARKED])
def test_a_marked_snippet_runs_when_pasted(where, snippet, tmp_path, request):
    assert where in ("server", "offline"), "a snippet runs with a server up, or offline"
    home = request.getfixturevalue("server_home") if where == "server" else tmp_path / "home"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "LARDER_HOME": str(home), "PATH": path}
    environment.pop("LARDER_MODE", None)
    if where == "offline":
        environment["LARDER_MODE"] = "offline"
    file = tmp_path / ("snippet.py" if snippet.language == "python" else "snippet.sh")
    file.write_text(snippet.text, encoding="utf-8")
    command = [sys.executable, file.name] if snippet.language == "python" else ["bash", "-eu", file.name]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("snippet", [one for one in ALL if one.language == "python"], ids=named)
def test_python_in_the_documentation_is_python(snippet):
    compile(snippet.text, named(snippet), "exec")


@pytest.mark.parametrize("snippet", [one for one in ALL if one.language == "bash"], ids=named)
def test_commands_in_the_documentation_exist(snippet):
    from larder.cli import COMMANDS

    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for line in snippet.text.splitlines():
        words = re.sub(r"#.*", "", line).split()
        while words and re.match(r"\w+=|export$", words[0]):
            words = words[1:]
        if words and Path(words[0]).name == "larder" and len(words) > 1:
            assert words[1] in COMMANDS, line
        if words and words[0] == "make" and len(words) > 1:
            assert words[1] in targets, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(document):
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.S)
    broken = [target for target in LINK.findall(text) if not leads(document, target)]
    assert not broken


def leads(document, target):
    if re.match(r"[a-z]+:", target):
        return True  # another site: not looked at, tests run without a network
    path, _, anchor = target.partition("#")
    file = (document.parent / path).resolve() if path else document
    if not file.exists() or not file.is_relative_to(ROOT):
        return False
    return not anchor or anchor in {
        slug(line) for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#")
    }


def slug(heading):
    """The anchor that a heading gets on the usual sites."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).strip().replace(" ", "-")


def test_every_module_opens_with_the_sentence_it_obeys():
    silent = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            first = ((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n") or [""])[0]
            if not first.rstrip().endswith((".", "!", "?", ":")):
                silent.append(str(path.relative_to(ROOT)))
    assert not silent


def test_every_folder_of_code_is_a_package_with_its_sentence():
    without = [
        str(folder.relative_to(ROOT))
        for package in PACKAGES
        for folder in sorted({path.parent for path in (ROOT / package).rglob("*.py")})
        if not (folder / "__init__.py").exists() and not SCRIPTS & set(folder.relative_to(ROOT / package).parts)
    ]
    assert not without


SCRIPTS = {"hook", "nursery", "demo_scripts", "data"}
"""Folders whose files are started or put on a path, and not imported as a part of a package."""


def test_every_decision_is_listed_and_says_what_enforces_it():
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    pages = sorted(folder.glob("0*.md"))
    assert [path.name[:4] for path in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for path in pages:
        assert path.name in listed
        headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.M)
        assert headings == ["Context", "Decision", "Consequences", "The check"], path.name


def test_files_that_the_decisions_name_exist():
    for path in (ROOT / "docs" / "decisions").glob("0*.md"):
        for file in re.findall(r"`((?:tests|tools|docs)/[\w/.]+)`", path.read_text(encoding="utf-8")):
            assert (ROOT / file).exists(), f"{path.name}: {file}"


def test_the_glossary_is_in_order_and_says_each_word_once():
    words = re.findall(r"^- \*\*([^*]+)\*\*", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.M)
    assert words == sorted(set(words))


def test_the_glossary_knows_every_slice():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for folder in (ROOT / "server" / "larder_server").iterdir():
        if (folder / "service.py").exists() or (folder / "service").is_dir():
            assert f"**{folder.name.removesuffix('s')}**" in text, folder.name
