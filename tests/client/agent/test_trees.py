"""Restored code is kept by its hash; each run has a copy of its own, and a second one costs no git."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from larder.agent.trees import Trees
from larder.capture import code
from tests.client.capture.recorder import FakeRecord


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Evi", "-c", "user.email=evi@example.org")
    return subprocess.run(
        ("git", *identity, *arguments), cwd=folder, capture_output=True, check=True, text=True
    ).stdout.strip()


class Recorded:
    """A repository that was recorded, and how often it was restored."""

    def __init__(self, root: Path, folder: Path) -> None:
        record = FakeRecord(folder)
        code.Code(root).observe(record)
        self.fact: dict[str, Any] = record.facts["code"]
        self.restored = 0
        self._artifacts = record.artifacts

    def restore(self, draft: Path) -> None:
        self.restored += 1
        code.restore(self.fact, self._artifacts.__getitem__, draft)


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    root = tmp_path / "mine"
    (root / "package").mkdir(parents=True)
    git(root, "init", "--quiet")
    (root / "train.py").write_text("print(1)\n")
    (root / "run.sh").write_text("echo\n")
    (root / "run.sh").chmod(0o755)
    (root / "large.txt").write_text("x" * 200_000)
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    (root / "package" / "new.py").write_text("x = 1\n")
    (root / "link").symlink_to("package")
    recorded = Recorded(root, tmp_path / "record")
    shutil.rmtree(root)
    return recorded


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path / "trees")


def test_a_copy_is_the_tree_and_a_second_one_restores_nothing(trees, recorded, tmp_path, monkeypatch):
    trees.copy(recorded.fact, tmp_path / "one", recorded.restore)
    monkeypatch.setenv("PATH", "")  # no git
    trees.copy(recorded.fact, tmp_path / "two", recorded.restore)
    monkeypatch.undo()
    assert recorded.restored == 1
    for name in ("one", "two"):
        copy = tmp_path / name
        assert (copy / "link" / "new.py").read_text() == "x = 1\n" and os.readlink(copy / "link") == "package"
        assert os.access(copy / "run.sh", os.X_OK) and len((copy / "large.txt").read_text()) == 200_000
        assert git(copy, "rev-parse", "HEAD") == recorded.fact["commit"]
        git(copy, "add", "--all")
        assert git(copy, "write-tree") == recorded.fact["tree"]


def test_what_a_run_changes_in_its_copy_stays_there(trees, recorded, tmp_path):
    trees.copy(recorded.fact, tmp_path / "one", recorded.restore)
    for path in ("train.py", "large.txt"):
        with (tmp_path / "one" / path).open("r+") as file:
            file.write("changed in place")
    git(tmp_path / "one", "commit", "--quiet", "-am", "by the run")
    trees.copy(recorded.fact, tmp_path / "two", recorded.restore)
    assert (tmp_path / "two" / "train.py").read_text() == "print(1)\n"
    assert git(tmp_path / "two", "rev-parse", "HEAD") == recorded.fact["commit"] and recorded.restored == 1


def test_a_kept_tree_that_somebody_has_changed_is_made_anew(trees, recorded, tmp_path):
    first = trees.copy(recorded.fact, tmp_path / "one", recorded.restore)
    first.close()
    (first.kept / "tree" / "train.py").write_text("print(2)\n")
    second = trees.copy(recorded.fact, tmp_path / "two", recorded.restore)
    assert (tmp_path / "two" / "train.py").read_text() == "print(1)\n" and recorded.restored == 2
    second.close()
    (second.kept / "tree" / "train.py").unlink()
    trees.copy(recorded.fact, tmp_path / "three", recorded.restore)
    assert (tmp_path / "three" / "train.py").read_text() == "print(1)\n" and recorded.restored == 3


def test_a_restore_that_fails_leaves_nothing(trees, recorded, tmp_path):
    def fail(draft: Path) -> None:
        draft.mkdir()
        (draft / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        trees.copy(recorded.fact, tmp_path / "one", fail)
    assert list((tmp_path / "trees" / ".making").iterdir()) == []
    trees.copy(recorded.fact, tmp_path / "one", recorded.restore)
    assert (tmp_path / "one" / "train.py").exists()


def test_copies_at_once_restore_once(trees, recorded, tmp_path):
    def restore(draft: Path) -> None:
        time.sleep(0.3)
        recorded.restore(draft)

    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(trees.copy(recorded.fact, tmp_path / f"{n}", restore).folder))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4 and recorded.restored == 1


RESTORE = """
import pathlib, sys, time
from larder.agent.trees import Trees
root, mark, folder = map(pathlib.Path, sys.argv[1:])
def restore(draft):
    draft.mkdir()
    (draft / "half").touch()
    mark.touch()
    time.sleep(60)
Trees(root).copy({"tree": "abc"}, folder, restore)
"""


def test_a_restorer_that_is_killed_leaves_nothing_in_the_way(trees, tmp_path):
    words = [str(tmp_path / "trees"), str(tmp_path / "mark"), str(tmp_path / "one")]
    killed = subprocess.Popen([sys.executable, "-c", RESTORE, *words])
    deadline = time.monotonic() + 30
    while not (tmp_path / "mark").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.kill()
    killed.wait()

    def restore(draft: Path) -> None:
        draft.mkdir()
        (draft / "whole").touch()

    trees.copy({"tree": "abc"}, tmp_path / "two", restore)
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["whole"]
    assert list((tmp_path / "trees" / ".making").iterdir()) == []


def test_trees_that_were_not_used_for_long_make_room(tmp_path):
    small = Trees(tmp_path / "trees", 1)

    def restore(draft: Path) -> None:
        draft.mkdir()
        (draft / "a.py").write_text("x")

    in_use = small.copy({"tree": "a"}, tmp_path / "1", restore)
    small.copy({"tree": "b"}, tmp_path / "2", restore).close()
    small.copy({"tree": "c"}, tmp_path / "3", restore).close()
    assert {path.parent.name for path in (tmp_path / "trees").glob("*/ready.json")} == {"a", "c"}
    in_use.close()


def test_a_small_tree_is_copied_quickly(trees, tmp_path):
    def restore(draft: Path) -> None:
        draft.mkdir()
        for number in range(20):
            (draft / f"{number}.py").write_text("x = 1\n" * 100)

    trees.copy({"tree": "abc"}, tmp_path / "warm", restore)
    took = []
    for number in range(20):
        began = time.process_time()
        trees.copy({"tree": "abc"}, tmp_path / f"copy{number}", restore).close()
        took.append(time.process_time() - began)
    print(sorted(took)[10])
    assert sorted(took)[10] < 0.05
