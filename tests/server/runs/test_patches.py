"""A patch as git writes it is read file by file, and applied to what it was made of."""

import subprocess
from pathlib import Path

import pytest

from larder_server.runs.rules import patches, remotes


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", ".")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("".join(f"line {number}\n" for number in range(40)))
    (tmp_path / "gone.txt").write_text("one\ntwo")
    (tmp_path / 'bréad and "butter".txt').write_text("crumbs\n")
    (tmp_path / "picture.bin").write_bytes(bytes(range(256)))
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> bytes:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, check=True).stdout


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "change")
    return git(folder, "rev-parse", "HEAD").decode().strip()


def patch(folder: Path) -> bytes:
    git(folder, "add", "-A")
    return git(folder, "diff", "--cached", "--binary", "--full-index", "--no-renames", "HEAD")


def test_each_file_of_a_patch_is_told_with_what_happened_to_it(repository):
    (repository / "gone.txt").unlink()
    (repository / "new.py").write_text("print('hello')\n")
    (repository / "empty.py").touch()
    (repository / 'bréad and "butter".txt').write_text("crumbs\njam")
    (repository / "picture.bin").write_bytes(bytes(reversed(range(256))))
    found = {section.path: section for section in patches.sections(patch(repository))}
    assert {path: section.change for path, section in found.items()} == {
        "gone.txt": "deleted", "new.py": "added", "empty.py": "added", "bréad and \"butter\".txt": "changed",
        "picture.bin": "changed",
    }  # fmt: skip
    assert found["picture.bin"].binary and not found["new.py"].binary
    assert patches.applied(found["new.py"].body, "") == "print('hello')\n"
    assert patches.applied(found['bréad and "butter".txt'].body, "crumbs\n") == "crumbs\njam"
    assert len(found["new.py"].after) == 40


@pytest.mark.parametrize(
    "old,new",
    [
        ("a\nb\nc\n", "a\nB\nc\n"), ("a\nb", "a\nb\n"), ("a\nb\n", "a\nb"), ("", "x\n"), ("x\n", ""), ("x", "y"),
        ("".join(f"{n}\n" for n in range(100)), "".join(f"{n}\n" for n in range(100) if n % 30)),
        ("a\n\n\nb\n", "\n\nb\n\n"), ("a\x0cb\nc\n", "a\x0cb\nd\n"), ("a\r\nb\r\n", "a\r\nc\r\n"),
    ],
)  # fmt: skip
def test_a_patch_of_git_leads_there_and_back(tmp_path, old, new):
    git(tmp_path, "init", "-q", ".")
    git(tmp_path, "config", "core.autocrlf", "false")
    (tmp_path / "f").write_bytes(old.encode())
    commit(tmp_path)
    (tmp_path / "f").write_bytes(new.encode())
    [section] = patches.sections(patch(tmp_path))
    assert patches.applied(section.body, old) == new
    assert patches.applied(patches.reversed_body(section.body), new) == old
    assert patches.applied(patches.difference(old, new), old) == new


def test_a_patch_that_does_not_fit_is_not_applied():
    assert patches.applied("@@ -1,2 +1,2 @@\n a\n-b\n+c\n", "a\nx\n") is None
    assert patches.applied("@@ -9 +9 @@\n-b\n+c\n", "a\n") is None


def test_too_long_texts_are_not_compared():
    long = "x\n" * (patches.LONGEST + 1)
    assert patches.difference(long, "y\n") == ""


@pytest.mark.parametrize(
    "remote,page",
    [
        ("git@github.com:larder/shop.git", "https://github.com/larder/shop/tree/abc"),
        ("https://github.com/larder/shop", "https://github.com/larder/shop/tree/abc"),
        ("ssh://git@gitlab.example.com:2222/team/sub/shop.git", "https://gitlab.example.com/team/sub/shop/-/tree/abc"),
        ("https://git.example.com/shop.git", ""),
        ("/srv/git/shop.git", ""),
        ("javascript://github.com/%0aalert(1)", ""),
        ("", ""),
    ],
)
def test_the_page_of_a_commit(remote, page):
    assert remotes.of_commit(remote, "abc") == page
