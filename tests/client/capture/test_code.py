"""The code of a run is recorded without a trace in the user's repository, and comes back as the very same tree."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from larder.capture import code, git
from larder.contract import errors

from .recorder import FakeRecord


def run_git(folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
    identity = ("-c", "user.name=Evi", "-c", "user.email=evi@example.org", "-c", "init.defaultBranch=main")
    result = subprocess.run(("git", *identity, *arguments), cwd=folder, input=stdin, capture_output=True, check=True)
    return result.stdout.decode(errors="replace").strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    root.mkdir()
    run_git(root, "init", "--quiet")
    (root / "train.py").write_text("print('one')\n")
    (root / "old.py").write_text("print('old')\n")
    (root / "run.sh").write_text("echo\n")
    (root / "logo.bin").write_bytes(bytes(range(256)) * 8)
    (root / ".gitignore").write_text("ignored/\n")
    run_git(root, "add", ".")
    run_git(root, "commit", "--quiet", "-m", "first")
    run_git(root, "remote", "add", "origin", "https://evi:secret@example.org/bakery.git")
    return root


def make_dirty(root: Path) -> None:
    (root / "train.py").write_text("print('two')\n")
    (root / "old.py").unlink()
    (root / "run.sh").chmod(0o755)
    (root / "logo.bin").write_bytes(bytes(reversed(range(256))) * 8)
    (root / "new file é.py").write_text("no newline at the end")
    (root / "empty.txt").touch()
    (root / "link").symlink_to("train.py")
    (root / "package").mkdir()
    (root / "package" / "deep.py").write_text("x = 1\n")
    (root / "ignored").mkdir()
    (root / "ignored" / "data.txt").write_text("not code\n")


def contents(root: Path) -> dict[str, tuple[int, bytes]]:
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = (0, os.readlink(path).encode())
        elif path.is_file():
            found[str(path.relative_to(root))] = (path.stat().st_mode & 0o777, path.read_bytes())
    return found


def observe(place: Path, tmp_path: Path, home: Path | None = None) -> tuple[dict[str, Any], code.Fetch]:
    record = FakeRecord(tmp_path / "record")
    code.Code(place, home).observe(record)
    fact: dict[str, Any] = record.facts["code"]
    assert sorted(code.artifacts(fact)) == sorted(record.artifacts)
    return fact, record.artifacts.__getitem__


def the_tree_that_git_would_commit(root: Path, tmp_path: Path) -> str:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True)
    run_git(copy, "add", "--all")
    return run_git(copy, "write-tree")


def test_a_dirty_tree_is_restored_as_it_was(repository: Path, tmp_path: Path) -> None:
    make_dirty(repository)
    before = contents(repository)
    fact, files = observe(repository / "package", tmp_path)
    assert contents(repository) == before, "the user's repository, .git included, is as it was"
    assert fact["tree"] == the_tree_that_git_would_commit(repository, tmp_path)
    assert fact | {"kind": "git", "dirty": True, "branch": "main", "skipped": []} == fact
    assert fact["commit"] == run_git(repository, "rev-parse", "HEAD")
    assert fact["remote"] == "https://example.org/bakery.git"
    assert {each["path"] for each in fact["untracked"]} == {"new file é.py", "empty.txt", "link", "package/deep.py"}
    assert set(fact["changed"]) == {"train.py", "old.py", "run.sh", "logo.bin"}

    restored = tmp_path / "restored"
    assert code.restore(fact, files, restored) == fact["tree"]
    for root in (repository, restored):
        shutil.rmtree(root / ".git")
    shutil.rmtree(repository / "ignored")
    assert contents(restored) == contents(repository)


def test_what_larder_itself_keeps_in_the_repository_is_no_code(repository: Path, tmp_path: Path) -> None:
    (repository / ".larder" / "runs").mkdir(parents=True)
    (repository / ".larder" / "runs" / "journal").touch()
    (repository / ".larder.py").touch()
    taken = code.repository(repository, tmp_path, home=repository / ".larder")
    assert [each["path"] for each in taken.fact["untracked"]] == [".larder.py"]


def test_a_clean_tree_needs_no_patch(repository: Path, tmp_path: Path) -> None:
    fact, files = observe(repository, tmp_path)
    assert (fact["dirty"], fact["artifact"]) == (False, "")
    assert "code/patch" not in code.artifacts(fact)
    assert code.restore(fact, files, tmp_path / "restored") == run_git(repository, "rev-parse", "HEAD^{tree}")


def test_staged_changes_and_unmerged_files_are_recorded_as_they_lie_there(repository: Path, tmp_path: Path) -> None:
    (repository / "train.py").write_text("print('staged')\n")
    run_git(repository, "add", "train.py")
    (repository / "train.py").write_text("print('later')\n")
    run_git(repository, "rm", "--quiet", "--cached", "old.py")
    ours, theirs = (run_git(repository, "hash-object", "-w", "--stdin", stdin=text) for text in (b"ours", b"theirs"))
    entries = f"100644 {ours} 2\trun.sh\n100644 {theirs} 3\trun.sh\n"
    run_git(repository, "update-index", "--index-info", stdin=b"0 " + b"0" * 40 + b"\trun.sh\n" + entries.encode())
    fact, files = observe(repository, tmp_path)
    code.restore(fact, files, tmp_path / "restored")
    assert (tmp_path / "restored" / "train.py").read_text() == "print('later')\n"
    assert (tmp_path / "restored" / "run.sh").read_text() == "echo\n"
    assert (tmp_path / "restored" / "old.py").read_text() == "print('old')\n"


def test_a_repository_without_commits_is_recorded(tmp_path: Path) -> None:
    root = tmp_path / "young"
    root.mkdir()
    run_git(root, "init", "--quiet")
    (root / "train.py").write_text("print(1)\n")
    fact, files = observe(root, tmp_path)
    assert (fact["kind"], fact["commit"], fact["branch"], fact["dirty"]) == ("git", "", "main", True)
    code.restore(fact, files, tmp_path / "restored")
    assert (tmp_path / "restored" / "train.py").read_text() == "print(1)\n"


def test_secrets_and_big_files_stay_where_they_are(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "LARGEST_FILE", 1000)
    monkeypatch.setattr(code, "LARGEST_CHANGED", 5000)
    monkeypatch.setattr(code, "LARGEST_ALL", 1500)
    for name in (".env", ".env.local", "server.pem", "id_rsa.bak", "credentials.json", "deploy.KEY"):
        (repository / name).write_text("password")
    (repository / "staged.key").write_text("password")
    run_git(repository, "add", "-f", "staged.key")
    (repository / "big.csv").write_text("x" * 1001)
    (repository / "staged.csv").write_text("x" * 5001)
    run_git(repository, "add", "staged.csv")
    (repository / "a.txt").write_text("x" * 900)
    (repository / "b.txt").write_text("x" * 900)
    (repository / "logo.bin").write_bytes(b"x" * 5001)
    run_git(repository, "init", "--quiet", "nested")
    (repository / "nested" / "file").touch()
    before = contents(repository)
    fact, files = observe(repository, tmp_path)
    assert contents(repository) == before
    assert [each["path"] for each in fact["untracked"]] == ["a.txt"]
    why = {each["path"]: each["why"] for each in fact["skipped"]}
    assert why == {
        "server.pem": "may hold a secret", ".env": "may hold a secret", ".env.local": "may hold a secret",
        "id_rsa.bak": "may hold a secret", "credentials.json": "may hold a secret", "deploy.KEY": "may hold a secret",
        "staged.key": "may hold a secret", "big.csv": "larger than 1,000 bytes", "staged.csv": "larger than 5,000 bytes",
        "logo.bin": "larger than 5,000 bytes", "b.txt": "all together larger than 1,500 bytes",
        "nested/": "another git repository",
    }  # fmt: skip
    patch = (files("code/patch") / "changes.patch").read_bytes()
    assert b"password" not in patch
    code.restore(fact, files, tmp_path / "restored")


def test_a_changed_secret_is_recorded_as_it_was_committed(repository: Path, tmp_path: Path) -> None:
    (repository / "server.key").write_text("example")
    run_git(repository, "add", "-f", "server.key")
    run_git(repository, "commit", "--quiet", "-m", "an example key")
    run_git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")  # pushed
    (repository / "server.key").write_text("password")
    run_git(repository, "add", "-f", "server.key")
    fact, _ = observe(repository, tmp_path)
    assert not fact["dirty"]
    assert fact["skipped"] == [{"path": "server.key", "size": 8, "why": "may hold a secret"}]


def test_the_users_settings_of_git_do_not_change_what_is_recorded(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text(
        "[diff]\nnoprefix = true\nmnemonicPrefix = true\nexternal = /bin/false\nrenames = copies\n[color]\nui = always\n"
        "[core]\nquotePath = false\nfsmonitor = true\nsafecrlf = true\n[apply]\nwhitespace = error\n"
        "[index]\nsplit = true\n[core]\nsplitIndex = true\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    hook = repository / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    make_dirty(repository)
    (repository / "spaces.py").write_text("x = 1   \n\n\n")
    before = contents(repository)
    fact, files = observe(repository, tmp_path)
    assert fact["kind"] == "git"
    assert contents(repository) == before
    assert code.restore(fact, files, tmp_path / "restored") == fact["tree"]
    assert not (tmp_path / "hooked").exists()


def test_a_commit_that_only_the_remote_has_is_fetched(repository: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    run_git(repository, "clone", "--quiet", "--bare", ".", str(remote))
    run_git(repository, "remote", "set-url", "origin", str(remote))
    make_dirty(repository)
    fact, files = observe(repository, tmp_path)
    shutil.rmtree(repository)
    assert code.restore(fact, files, tmp_path / "restored") == fact["tree"]


def test_a_commit_of_which_no_tree_was_recorded_is_fetched(repository: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    run_git(repository, "clone", "--quiet", "--bare", ".", str(remote))
    head = run_git(repository, "rev-parse", "HEAD")
    fact = {"kind": "git", "commit": head, "tree": "", "dirty": False, "remote": str(remote), "root": ""}
    tree = code.restore(fact, lambda name: pytest.fail(name), tmp_path / "restored")
    assert tree == run_git(repository, "rev-parse", "HEAD^{tree}")
    with pytest.raises(errors.NotFound):
        code.restore({**fact, "commit": "0" * 40}, lambda name: pytest.fail(name), tmp_path / "other")


def test_a_commit_that_nobody_has_is_named(repository: Path, tmp_path: Path) -> None:
    run_git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")  # pushed, as far as anybody knows
    fact, files = observe(repository, tmp_path)
    assert fact["bundle"] == {}
    shutil.rmtree(repository)
    with pytest.raises(errors.NotFound, match=fact["commit"]):
        code.restore({**fact, "remote": str(tmp_path / "gone.git")}, files, tmp_path / "restored")


# -- a commit that no remote has -----------------------------------------------------------------------------------


@pytest.fixture
def remote(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands behind the address of `origin`; the first commit is there."""
    remote = tmp_path / "remote.git"
    run_git(repository, "clone", "--quiet", "--bare", ".", str(remote))
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[url "{remote}"]\n  insteadOf = https://example.org/bakery.git\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    run_git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
    return remote


def commit(root: Path, name: str, text: str) -> str:
    (root / name).write_text(text)
    run_git(root, "add", "-f", name)
    run_git(root, "commit", "--quiet", "-m", f"change {name}")
    return run_git(root, "rev-parse", "HEAD")


def test_without_a_remote_the_history_travels_with_the_run(repository: Path, tmp_path: Path) -> None:
    run_git(repository, "remote", "remove", "origin")
    second = commit(repository, "train.py", "print('second')\n")
    make_dirty(repository)
    fact, files = observe(repository, tmp_path)
    assert code.artifacts(fact) == ["code/patch", "code/bundle"]
    shutil.rmtree(repository)
    restored = tmp_path / "restored"
    assert code.restore(fact, files, restored) == fact["tree"]
    assert run_git(restored, "rev-parse", "HEAD") == second
    assert run_git(restored, "rev-list", "--count", "HEAD") == "2"


def test_a_remote_that_is_a_folder_of_this_machine_is_no_remote_for_others(repository: Path, tmp_path: Path) -> None:
    for url in (str(tmp_path / "remote.git"), f"file://{tmp_path}/remote.git", "../remote.git"):
        run_git(repository, "remote", "set-url", "origin", url)
        run_git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
        fact, _ = observe(repository, tmp_path)
        assert fact["bundle"]["artifact"] == "code/bundle"
    run_git(repository, "remote", "set-url", "origin", "git@example.org:bakery.git")
    assert observe(repository, tmp_path / "pushed")[0]["bundle"] == {}


def test_of_an_unpushed_commit_only_what_the_remote_lacks_travels(
    repository: Path, tmp_path: Path, remote: Path
) -> None:
    first = run_git(repository, "rev-parse", "HEAD")
    second = commit(repository, "train.py", "print('second')\n")
    fact, files = observe(repository, tmp_path)
    assert fact["bundle"]["needs"] == [first] and fact["artifact"] == ""
    with pytest.raises(errors.NotFound, match=first):
        code.restore({**fact, "root": "/nowhere", "remote": str(tmp_path / "gone")}, files, tmp_path / "gone-too")
    shutil.rmtree(repository)
    restored = tmp_path / "restored"
    assert code.restore(fact, files, restored) == fact["tree"]
    assert run_git(restored, "rev-parse", "HEAD") == second
    assert run_git(restored, "status", "--porcelain") == ""


def test_the_same_commit_again_is_the_same_bundle(
    repository: Path, tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(repository, "train.py", "print('second')\n")
    _, one = observe(repository, tmp_path / "one", tmp_path / "home")
    monkeypatch.setattr(code, "secret", lambda path: pytest.fail("the history is looked at again"))
    _, two = observe(repository, tmp_path / "two", tmp_path / "home")
    one_bytes, two_bytes = ((each("code/bundle") / "commit.bundle").read_bytes() for each in (one, two))
    assert one_bytes == two_bytes


@pytest.mark.parametrize("limit", ["LARGEST_HISTORY", "LONGEST_HISTORY"])
def test_of_a_long_history_the_commit_alone_travels(
    repository: Path, tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, limit, 1)
    second = commit(repository, "train.py", "print('second')\n")
    make_dirty(repository)
    fact, files = observe(repository, tmp_path)
    assert fact["bundle"] == fact["bundle"] | {"shallow": True, "file": "commit.pack"}
    shutil.rmtree(repository)
    restored = tmp_path / "restored"
    assert code.restore(fact, files, restored) == fact["tree"]
    assert run_git(restored, "log", "--format=%H") == second


def test_a_commit_that_is_too_large_does_not_travel_and_says_so(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "LARGEST_BUNDLE", 100)
    monkeypatch.setattr(code, "LARGEST_HISTORY", 100)
    fact, files = observe(repository, tmp_path)
    assert code.artifacts(fact) == []
    shutil.rmtree(repository)
    with pytest.raises(errors.NotFound, match="larger than 100 bytes"):
        code.restore({**fact, "remote": ""}, files, tmp_path / "restored")


def test_a_secret_in_unpushed_commits_does_not_travel(repository: Path, tmp_path: Path) -> None:
    commit(repository, ".env", "PASSWORD=hunter2\n")
    gone = commit(repository, "late.pem", "hunter3\n")
    run_git(repository, "rm", "--quiet", "late.pem")
    run_git(repository, "commit", "--quiet", "-m", "away")
    make_dirty(repository)
    fact, files = observe(repository, tmp_path)
    assert {"path": ".env", "size": 0, "why": "may hold a secret"} in fact["skipped"]
    shutil.rmtree(repository)
    restored = tmp_path / "restored"
    assert code.restore(fact, files, restored) == fact["tree"]
    assert not (restored / ".env").exists() and (restored / "train.py").read_text() == "print('two')\n"
    everything = run_git(restored, "cat-file", "--batch-all-objects", "--batch")
    patch = (files("code/patch") / "changes.patch").read_text(errors="replace")
    assert "hunter" not in everything + patch and gone not in everything
    assert fact["commit"] in run_git(restored, "log", "-1", "--format=%B")


def test_a_secret_that_is_only_in_older_unpushed_commits_leaves_the_commit_whole(
    repository: Path, tmp_path: Path
) -> None:
    commit(repository, ".env", "PASSWORD=hunter2\n")
    run_git(repository, "rm", "--quiet", ".env")
    run_git(repository, "commit", "--quiet", "-m", "away")
    head = run_git(repository, "rev-parse", "HEAD")
    fact, files = observe(repository, tmp_path)
    shutil.rmtree(repository)
    restored = tmp_path / "restored"
    assert code.restore(fact, files, restored) == fact["tree"]
    assert run_git(restored, "rev-parse", "HEAD") == head
    assert "hunter" not in run_git(restored, "cat-file", "--batch-all-objects", "--batch")


def test_a_damaged_bundle_is_noticed(repository: Path, tmp_path: Path) -> None:
    fact, files = observe(repository, tmp_path)
    bundle = files("code/bundle") / "commit.bundle"
    bundle.write_bytes(bundle.read_bytes()[:-30])
    shutil.rmtree(repository)
    with pytest.raises(errors.Conflict, match="could not be restored"):
        code.restore(fact, files, tmp_path / "restored")


def test_a_worktree_and_a_shallow_clone_are_recorded_and_restored(repository: Path, tmp_path: Path) -> None:
    (repository / "train.py").write_text("print('more')\n")
    run_git(repository, "commit", "--quiet", "-am", "second")
    run_git(repository, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    run_git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")
    for name in ("tree", "shallow"):
        (tmp_path / name / "train.py").write_text(f"print({name!r})\n")
        fact, files = observe(tmp_path / name, tmp_path / f"record-{name}")
        assert code.restore(fact, files, tmp_path / f"restored-{name}") == fact["tree"]
        assert fact["branch"] == ("" if name == "tree" else "main")


def test_a_repository_of_sha256_is_restored(tmp_path: Path) -> None:
    root = tmp_path / "new"
    root.mkdir()
    run_git(root, "init", "--quiet", "--object-format=sha256")
    (root / "a.py").write_text("1\n")
    run_git(root, "add", ".")
    run_git(root, "commit", "--quiet", "-m", "first")
    (root / "a.py").write_text("2\n")
    fact, files = observe(root, tmp_path)
    assert len(code.restore(fact, files, tmp_path / "restored")) == 64


def test_a_patch_that_does_not_give_the_recorded_tree_is_a_conflict(repository: Path, tmp_path: Path) -> None:
    make_dirty(repository)
    fact, files = observe(repository, tmp_path)
    with pytest.raises(errors.Conflict, match="recorded one"):
        code.restore({**fact, "tree": "0" * 40}, files, tmp_path / "one")
    (files("code/patch") / "changes.patch").write_bytes(b"not a patch")
    with pytest.raises(errors.Conflict, match="could not be restored"):
        code.restore(fact, files, tmp_path / "two")
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "mine").touch()
    with pytest.raises(errors.Conflict, match="not an empty folder"):
        code.restore(fact, files, tmp_path / "three")


def test_the_folder_of_a_script_without_git_is_packed_and_unpacked(tmp_path: Path) -> None:
    root = tmp_path / "plain"
    (root / "package").mkdir(parents=True)
    (root / "train.py").write_text("print(1)\n")
    (root / "run.sh").write_text("echo\n")
    (root / "run.sh").chmod(0o755)
    (root / "package" / "deep.py").write_text("x\n")
    (root / "config.yaml").write_text("lr: 1\n")
    (root / "weights.bin").write_bytes(b"no source")
    (root / "secrets.yaml").write_text("password: x\n")
    (root / ".venv").mkdir()
    (root / ".venv" / "a.py").touch()
    (root / "env").mkdir()
    (root / "env" / "pyvenv.cfg").touch()
    (root / "env" / "b.py").touch()
    (root / "big.py").write_text("#" * 1_000_001)
    fact, files = observe(root, tmp_path)
    assert (fact["kind"], fact["files"], fact["executable"]) == ("folder", 4, ["run.sh"])
    assert {each["path"] for each in fact["skipped"]} == {"secrets.yaml", "big.py"}
    assert "not a git repository" in fact["why"]
    assert code.restore(fact, files, tmp_path / "restored") == fact["tree"]
    assert os.access(tmp_path / "restored" / "run.sh", os.X_OK)
    assert sorted(contents(tmp_path / "restored")) == ["config.yaml", "package/deep.py", "run.sh", "train.py"]
    (files("code/folder") / "train.py").write_text("print(2)\n")
    with pytest.raises(errors.Conflict):
        code.restore(fact, files, tmp_path / "again")


def test_without_sources_there_is_no_code(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    fact, files = observe(tmp_path / "nothing", tmp_path)
    assert fact["kind"] == "none"
    with pytest.raises(errors.NotFound):
        code.restore(fact, files, tmp_path / "restored")


def test_the_place_is_that_of_the_users_script(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    script = tmp_path / "src" / "train.py"
    script.touch()
    cwd = str(tmp_path)
    assert code.place({"cwd": cwd, "argv": ["python", "src/train.py", "--lr", "1"]}) == tmp_path / "src"
    assert code.place({"cwd": cwd, "argv": [], "script": str(script)}) == tmp_path / "src"
    assert code.place({"cwd": cwd, "argv": ["python"], "script": pytest.__file__}) == tmp_path
    assert (
        code.place({"cwd": cwd, "argv": ["larder", "run", "src/train.py"], "script": code.__file__}) == tmp_path / "src"
    )


def test_addresses_lose_their_credentials() -> None:
    assert git.without_credentials("https://u:p@h/x.git") == "https://h/x.git"
    assert git.without_credentials("https://token@h/x.git") == "https://h/x.git"
    assert git.without_credentials("ssh://git:p@h/x.git") == "ssh://git@h/x.git"
    assert git.without_credentials("ssh://git@h/x.git") == "ssh://git@h/x.git"
    assert git.without_credentials("git@h:x.git") == "git@h:x.git"
    assert git.without_credentials_anywhere("fatal: 'https://u:p@h/x' no") == "fatal: 'https://h/x' no"


def test_the_hash_of_a_folder_is_that_of_its_names_modes_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    line = f"{hashlib.sha256(b'1').hexdigest()} x a\n"
    assert code._hash({"a": tmp_path / "a"}, ["a"]) == hashlib.sha256(line.encode()).hexdigest()
