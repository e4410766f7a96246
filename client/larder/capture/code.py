"""The code of a run: git commit + one patch for all that differs from it, or the script's folder; and back to a tree.

The tree with all changes and untracked files gets a hash of its own, made by git over a temporary index and a
temporary store of objects, so that a restored tree can be proved to be the recorded one.
"""

import fnmatch
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from larder.capture import frames
from larder.capture.git import Git, GitError, without_credentials
from larder.capture.observing import Record
from larder.contract import errors

LARGEST_FILE = 1_000_000
"""Bytes of an untracked file, or of a file of a folder without git, that is still taken."""

LARGEST_CHANGED = 10_000_000
"""Bytes of a changed tracked file that is still taken."""

LARGEST_ALL = 20_000_000
"""Bytes of all taken files together."""

SECRETS = (
    ".env", ".env.*", "*.env", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx", "*.keystore", "*.jks",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", ".pgpass", ".pypirc", ".git-credentials",
    "credentials", "credentials.*", "*credentials*.json", "secrets.json", "secrets.y*ml", "secrets.toml",
    "*service-account*.json", "*service_account*.json",
)  # fmt: skip
"""Names of files that are never taken, whatever else is; matched without regard to case."""

_SOURCES = (".py", ".ipynb", ".yaml", ".yml", ".json", ".toml", ".cfg", ".ini", ".txt", ".sh", ".sql")
_NO_SOURCES = ("__pycache__", "node_modules", "site-packages", "venv", "build", "dist")
_PATCH = "code/patch"
_FOLDER = "code/folder"
_PATCH_FILE = "changes.patch"
_LOOKED_AT = 10_000
_LISTED = 500


@dataclass(frozen=True)
class Taken:
    """What was found: the fact, and the artifact that belongs to it (path in it → path on disk)."""

    fact: Mapping[str, Any]
    artifact: str = ""
    format: str = ""
    files: Mapping[str, Path] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Code:
    """The source `code`: looks once, as early as it can, because the user edits on."""

    place: Path
    home: Path | None = None  # Larder's own folder, which is nobody's code
    name: str = "code"
    interval: float | None = None

    def observe(self, record: Record) -> None:
        """Record the code fact with the patch or the packed folder."""
        with tempfile.TemporaryDirectory(prefix="larder-code-") as scratch:
            try:
                taken = repository(self.place, Path(scratch), home=self.home)
            except GitError as error:
                taken = folder(self.place, scratch=Path(scratch), why=str(error))
            if taken.files:
                record.artifact(taken.artifact, "code", taken.format, taken.files, taken.metadata)
            record.fact("code", taken.fact)
            record.source(self.name, "active" if taken.fact["kind"] != "none" else "absent")


def place(info: Mapping[str, Any]) -> Path:
    """Where the code of a process lies: the folder of its script, else the working directory."""
    working = Path(str(info.get("cwd") or "."))
    for argument in (info.get("script") or "", *(info.get("argv") or ())):
        script = working / str(argument)
        if script.suffix in (".py", ".ipynb") and script.is_file():
            ours = Path(__file__).parent.parent in script.parents  # `larder run` is not the user's script
            if not ours and not frames.is_library(str(script)):
                return script.resolve().parent
    return working


# -- a git repository ----------------------------------------------------------------------------------------------


def repository(place: Path, scratch: Path, *, home: Path | None = None) -> Taken:
    """The state of the repository that holds `place`; raises GitError when there is none or git cannot read it."""
    root = Path(Git(place)("rev-parse", "--show-toplevel"))
    users = Git(root)
    commit = users.says("rev-parse", "--verify", "--quiet", "HEAD^{commit}") or ""
    index, objects = scratch / "index", scratch / "objects"
    objects.mkdir()
    users_index = root / users("rev-parse", "--git-path", "index")
    if users_index.is_file():
        shutil.copy2(users_index, index)  # what git knows to be unchanged is then not read again
    git = Git(
        root,
        {
            "GIT_INDEX_FILE": str(index),
            "GIT_OBJECT_DIRECTORY": str(objects),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(str(root / users("rev-parse", "--git-path", "objects"))),
        },
    )
    base = git("rev-parse", "HEAD^{tree}") if commit else git("hash-object", "-t", "tree", "-w", "--stdin")
    skipped: list[dict[str, Any]] = []
    changed = _takable(root, _changed(git), skipped, limit=LARGEST_CHANGED)
    others = git.names("ls-files", "-z", "--others", "--exclude-standard")
    if home is not None:
        others = [path for path in others if home.resolve() not in (root / path).parents]
    untracked = _takable(root, others, skipped, limit=LARGEST_FILE)
    wanted = "\0".join([*changed, *untracked])
    git("update-index", "--add", "--remove", "--replace", "-z", "--stdin", stdin=os.fsencode(wanted))
    _leave_staged_secrets(git, base, skipped)
    tree = git("write-tree")
    patch = scratch / _PATCH_FILE
    if tree != base:
        patch.write_bytes(_difference(git, base, tree))
    fact = {
        "kind": "git",
        "root": str(root),
        "remote": without_credentials(_remote(users)),
        "branch": users.says("symbolic-ref", "--short", "--quiet", "HEAD") or "",
        "commit": commit,
        "tree": tree,
        "dirty": tree != base,
        "changed": list(changed)[:_LISTED],
        "untracked": [{"path": path, "size": size} for path, size in list(untracked.items())[:_LISTED]],
        "skipped": skipped[:_LISTED],
        "skipped_count": len(skipped),
        "artifact": _PATCH if tree != base else "",
    }
    if tree == base:
        return Taken(fact)
    return Taken(fact, _PATCH, "patch", {_PATCH_FILE: patch}, {"tree": tree, "commit": commit})


def _changed(git: Git) -> Sequence[str]:
    unmerged = [entry.partition("\t")[2] for entry in git.names("ls-files", "-z", "--unmerged")]
    return list(dict.fromkeys([*git.names("ls-files", "-z", "--modified", "--deleted"), *unmerged]))


def _takable(root: Path, paths: Sequence[str], skipped: list[dict[str, Any]], *, limit: int) -> dict[str, int]:
    """The paths that may be taken, with their sizes; the others go to `skipped` with the reason."""
    taken: dict[str, int] = {}
    total = 0
    for path in paths:
        try:
            found = os.lstat(root / path)
        except OSError:
            found = None  # deleted: that is taken too
        size = found.st_size if found is not None and not stat.S_ISDIR(found.st_mode) else 0
        if found is not None and secret(path):
            why = "may hold a secret"
        elif path.endswith("/"):
            why = "another git repository"
        elif size > limit:
            why = f"larger than {limit:,} bytes"
        elif total + size > LARGEST_ALL:
            why = f"all together larger than {LARGEST_ALL:,} bytes"
        elif found is not None and stat.S_ISREG(found.st_mode) and not os.access(root / path, os.R_OK):
            why = "not readable"
        else:
            taken[path] = size
            total += size
            continue
        skipped.append({"path": path, "size": size, "why": why})
    return taken


def _leave_staged_secrets(git: Git, base: str, skipped: list[dict[str, Any]]) -> None:
    # What the user has staged came with the index: it goes by the same rules.
    entries = git.names("diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev", base)
    for about, path in zip(entries[::2], entries[1::2], strict=True):
        old_mode, new_mode, old, new, change = about.lstrip(":").split(" ")
        if change == "D" or new_mode == "160000":
            continue
        is_secret = secret(path)
        size = int(git("cat-file", "-s", new))
        if not is_secret and size <= LARGEST_CHANGED:
            continue
        if change == "A":
            git("update-index", "--force-remove", "--", path)
        else:
            git("update-index", "--cacheinfo", f"{old_mode},{old},{path}")
        why = "may hold a secret" if is_secret else f"larger than {LARGEST_CHANGED:,} bytes"
        skipped.append({"path": path, "size": size, "why": why})


def _difference(git: Git, base: str, tree: str) -> bytes:
    return git.output(
        "diff-tree", "-p", "-r", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv",
        "--no-color", "--submodule=short", "--ignore-submodules=none", "--src-prefix=a/", "--dst-prefix=b/", base, tree,
    )  # fmt: skip


def _remote(git: Git) -> str:
    names = (git.says("remote") or "").split("\n")
    name = "origin" if "origin" in names else names[0]
    return (git.says("remote", "get-url", name) or "") if name else ""


def _quoted(path: str) -> str:
    if os.pathsep not in path and not path.startswith('"'):
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def secret(path: str) -> bool:
    """Whether a file is by its name likely to hold a password or a key."""
    name = PurePosixPath(path).name.lower()
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in SECRETS)


# -- a folder without git ------------------------------------------------------------------------------------------


def folder(place: Path, *, scratch: Path, why: str) -> Taken:
    """The source files below `place`, copied so that what is hashed is what is sent."""
    skipped: list[dict[str, Any]] = []
    found = sorted(_sources(place), key=lambda path: (not path.endswith(".py"), path.count("/"), path))
    sizes = _takable(place, found, skipped, limit=LARGEST_FILE)
    files: dict[str, Path] = {}
    executable: list[str] = []
    for path in sorted(sizes):
        copy = scratch / "folder" / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(place / path, copy)
        except OSError as error:
            skipped.append({"path": path, "size": sizes[path], "why": str(error)})
            continue
        files[path] = copy
        if os.access(place / path, os.X_OK):
            executable.append(path)
    fact = {
        "kind": "folder" if files else "none",
        "root": str(place),
        "tree": _hash(files, executable) if files else "",
        "files": len(files),
        "executable": executable,
        "skipped": skipped[:_LISTED],
        "skipped_count": len(skipped),
        "artifact": _FOLDER if files else "",
        "why": why,
    }
    return Taken(fact, _FOLDER, "folder", files, {"tree": fact["tree"]}) if files else Taken(fact)


def _sources(place: Path) -> Iterator[str]:
    # A script that lies in the home folder does not make all that is below the home its code.
    deep = place.resolve() not in (Path.home().resolve(), Path(place.anchor), Path(tempfile.gettempdir()).resolve())
    looked_at = 0
    for where, folders, names in os.walk(place):
        folders[:] = sorted(
            name
            for name in folders
            if deep and name[0] != "." and name not in _NO_SOURCES and not (Path(where, name) / "pyvenv.cfg").exists()
        )
        for name in sorted(names):
            looked_at += 1
            if looked_at > _LOOKED_AT:
                return
            path = Path(where) / name
            if path.suffix.lower() in _SOURCES and path.is_file() and not path.is_symlink():
                yield path.relative_to(place).as_posix()


def _hash(files: Mapping[str, Path], executable: Sequence[str]) -> str:
    total = hashlib.sha256()
    for path in sorted(files):
        content = hashlib.sha256(files[path].read_bytes()).hexdigest()
        total.update(f"{content} {'x' if path in executable else '-'} {path}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


# -- and back ------------------------------------------------------------------------------------------------------


def artifact(code: Mapping[str, Any]) -> str:
    """The name of the artifact that `restore` needs the files of; empty when it needs none."""
    return str(code.get("artifact") or "")


def restore(code: Mapping[str, Any], files: Path, destination: Path) -> str:
    """Make the recorded tree in `destination`, an empty or new folder; answers the tree's hash.

    `code` is the code fact, `files` the folder that holds the files of `artifact(code)` under their paths. Raises
    NotFound when the commit is nowhere, Conflict when the result is not the recorded tree.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise errors.Conflict(f"{destination} is not an empty folder", hint="Name a folder that does not exist yet.")
    kind = code.get("kind")
    if kind == "folder":
        tree = _restore_folder(code, files, destination)
    elif kind == "git":
        try:
            tree = _restore_repository(code, files, destination)
        except GitError as error:
            raise errors.Conflict(f"The code of the run could not be restored: {error}") from error
    else:
        raise errors.NotFound("No code was recorded for this run", hint=str(code.get("why") or ""))
    if tree != code.get("tree"):
        raise errors.Conflict(
            f"The restored tree is {tree}, the recorded one {code.get('tree')}",
            hint="A filter or line-end setting of this machine's git may change files at checkout.",
        )
    return tree


def _restore_folder(code: Mapping[str, Any], files: Path, destination: Path) -> str:
    executable = list(code.get("executable") or ())
    restored: dict[str, Path] = {}
    for source in sorted(path for path in files.rglob("*") if path.is_file()):
        path = source.relative_to(files).as_posix()
        target = destination / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if path in executable:
            target.chmod(target.stat().st_mode | 0o111)
        restored[path] = target
    return _hash(restored, executable)


def _restore_repository(code: Mapping[str, Any], files: Path, destination: Path) -> str:
    tree, commit = str(code["tree"]), str(code.get("commit") or "")
    destination.mkdir(parents=True, exist_ok=True)
    git = Git(destination)
    format = "sha256" if len(tree) == 64 else "sha1"
    git("init", "--quiet", "--template=", f"--object-format={format}")
    remote, root = str(code.get("remote") or ""), str(code.get("root") or "")
    if remote or root:
        git("remote", "add", "--", "origin", remote or root)
    if commit:
        if not _borrow(git, root, commit) and not _fetch(git, remote, commit):
            raise errors.NotFound(
                f"Commit {commit} is neither in {root} on this machine nor to be had from {remote or 'a remote'}",
                hint="Push the commit, or restore on the machine where the run was recorded.",
            )
        git("-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", "--force", commit)
    if code.get("dirty"):
        patch = (files / _PATCH_FILE).read_bytes()
        git("apply", "--index", "--binary", "--whitespace=nowarn", "-", stdin=patch)
    return git("write-tree")


def _borrow(git: Git, root: str, commit: str) -> bool:
    """Use the objects of the repository at `root` in place, when it has the commit."""
    if not root or not Path(root).is_dir():
        return False
    theirs = Git(Path(root))
    if theirs.says("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}") != commit:
        return False
    inside = git.folder / ".git"
    objects = Path(root) / theirs("rev-parse", "--git-path", "objects")
    (inside / "objects" / "info" / "alternates").write_text(f"{objects.resolve()}\n")
    shallow = Path(root) / theirs("rev-parse", "--git-path", "shallow")
    if shallow.is_file():
        shutil.copyfile(shallow, inside / "shallow")
    return True


def _fetch(git: Git, remote: str, commit: str) -> bool:
    if not remote:
        return False
    # Most servers hand out any reachable commit by its hash; the others hand out their branches.
    for wanted in ((commit,), ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")):
        git.says("fetch", "--quiet", "--no-tags", "origin", *wanted)
        if git.says("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}") == commit:
            return True
    return False
