"""The code of a run: git commit + one patch for all that differs from it, or the script's folder; and back to a tree.

The tree with all changes and untracked files gets a hash of its own, made by git over a temporary index and a
temporary store of objects, so that a restored tree can be proved to be the recorded one.

A commit that no remote has travels with the run: as a bundle of what the remotes lack, or, where its history is too
long or may hold a secret, as the commit's tree alone.
"""

import fnmatch
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
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

LARGEST_BUNDLE = 50_000_000
"""Bytes of what travels of a commit that no remote has."""

LARGEST_HISTORY = 10_000_000
"""Bytes of a whole history, of a repository without a remote; of a longer one only the commit itself travels."""

LONGEST_HISTORY = 20_000
"""Commits of a history that is still looked at."""

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
_BUNDLE = "code/bundle"
_BUNDLE_FILE = "commit.bundle"
_PACK_FILE = "commit.pack"
_BUNDLES_KEPT = 10
_LOOKED_AT = 10_000
_LISTED = 500


@dataclass(frozen=True)
class Parcel:
    """An artifact that belongs to the code (path in it → path on disk)."""

    name: str
    format: str
    files: Mapping[str, Path]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """What was found: the fact, and the artifacts that belong to it."""

    fact: Mapping[str, Any]
    parcels: Sequence[Parcel] = ()


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
            for parcel in taken.parcels:
                record.artifact(parcel.name, "code", parcel.format, parcel.files, parcel.metadata)
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
    try:
        bundle = _bundle(git, users, commit, scratch, home) if commit else {}
    except GitError as error:
        bundle = {"why": f"the commit could not be packed: {error}", "artifact": ""}
    if bundle.get("base"):
        base = _leave_committed_secrets(git, bundle, skipped)
    tree = git("write-tree")
    parcels = []
    if tree != base:
        patch = scratch / _PATCH_FILE
        patch.write_bytes(_difference(git, base, tree))
        parcels.append(Parcel(_PATCH, "patch", {_PATCH_FILE: patch}, {"tree": tree, "commit": commit}))
    if bundle.get("artifact"):
        file = str(bundle["file"])
        parcels.append(Parcel(_BUNDLE, file.rpartition(".")[2], {file: scratch / file}, {"commit": commit}))
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
        "bundle": bundle,
    }
    return Taken(fact, parcels)


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


# -- a commit that no remote has -----------------------------------------------------------------------------------


def _bundle(git: Git, users: Git, commit: str, scratch: Path, home: Path | None) -> dict[str, Any]:
    """What of the commit other machines cannot fetch, as a file in `scratch`; empty when they can fetch all of it.

    `file` is a bundle or a pack, `needs` the commits that must be fetched before, `shallow` says that the commit comes
    without its parents, `base` is a tree that stands for the commit's, without the files that may hold a secret.
    """
    had = _had(users)
    if not users.says("rev-list", "--max-count=1", commit, "--not", *had):
        return {}
    key = hashlib.sha256("\n".join([commit, *sorted(had), *(users.says("rev-parse", *had) or "").split()]).encode())
    kept = home / "cache" / "bundles" / key.hexdigest() if home is not None else None
    if kept is not None and (kept / _BUNDLE_FILE).is_file():
        # The same commit again: the same bytes, which the server has already.
        shutil.copyfile(kept / _BUNDLE_FILE, scratch / _BUNDLE_FILE)
        return _bundled(scratch / _BUNDLE_FILE)
    count = int(users("rev-list", "--count", f"--max-count={LONGEST_HISTORY + 1}", commit, "--not", *had))
    shallow = users.says("rev-parse", "--is-shallow-repository") == "true"
    secrets = False
    if count <= LONGEST_HISTORY and (had or not shallow):
        sent = users("rev-list", "--objects", commit, "--not", *had).splitlines()
        secrets = any(secret(line.partition(" ")[2]) for line in sent)
        limit = LARGEST_BUNDLE if had else LARGEST_HISTORY
        size = users.says("rev-list", "--disk-usage", "--objects", commit, "--not", *had)
        if not secrets and int(size or 0) <= 2 * limit:
            bundle = ("bundle", "create", "--quiet", str(scratch / _BUNDLE_FILE), "HEAD", "--not", *had)
            users("-c", "pack.threads=1", *bundle)
            if (scratch / _BUNDLE_FILE).stat().st_size <= limit:
                if kept is not None:
                    _keep(scratch / _BUNDLE_FILE, kept)
                return _bundled(scratch / _BUNDLE_FILE)
    base = ""
    if any(secret(path) for path in users.names("ls-tree", "-r", "-z", "--name-only", commit)):
        base = _without_secrets(git, scratch)
    listed = git("rev-list", "--objects", "--no-walk", base or commit)
    names = "\n".join(line.partition(" ")[0] for line in listed.splitlines())
    pack = git.output("-c", "pack.threads=1", "pack-objects", "--quiet", "--stdout", stdin=f"{names}\n".encode())
    if len(pack) > LARGEST_BUNDLE:
        return {"why": f"the commit is on no remote, and larger than {LARGEST_BUNDLE:,} bytes", "artifact": ""}
    (scratch / _PACK_FILE).write_bytes(pack)
    return {"artifact": _BUNDLE, "file": _PACK_FILE, "needs": [], "shallow": True, "base": base}


def _had(git: Git) -> list[str]:
    """The remote-tracking branches, as options of rev-list; those of folders of this machine do not count."""
    had = []
    for remote in filter(None, (git.says("remote") or "").split("\n")):
        url = git.says("remote", "get-url", remote) or ""
        scheme, has_scheme, _ = url.partition("://")
        elsewhere = scheme != "file" if has_scheme else ":" in url.partition("/")[0]
        if elsewhere and git.says("for-each-ref", "--count=1", f"refs/remotes/{remote}/"):
            had.append(f"--remotes={remote}")
    return had


def _bundled(file: Path) -> dict[str, Any]:
    with file.open("rb") as lines:
        lines.readline()
        needs = [line[1:].split()[0].decode() for line in iter(lines.readline, b"\n") if line.startswith(b"-")]
    return {"artifact": _BUNDLE, "file": _BUNDLE_FILE, "needs": needs, "shallow": False, "base": ""}


def _keep(bundle: Path, kept: Path) -> None:
    try:
        kept.mkdir(parents=True, exist_ok=True)
        draft = kept / f"{os.getpid()}.part"
        shutil.copyfile(bundle, draft)
        os.replace(draft, kept / _BUNDLE_FILE)
        others = sorted(kept.parent.iterdir(), key=lambda each: each.stat().st_mtime)
        for old in others[:-_BUNDLES_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError:
        pass  # it will be made again


def _without_secrets(git: Git, scratch: Path) -> str:
    """The tree of HEAD without the files that may hold a secret."""
    aside = Git(git.folder, {**git.environment, "GIT_INDEX_FILE": str(scratch / "base")})
    aside("read-tree", "HEAD")
    secrets = [path for path in aside.names("ls-files", "-z") if secret(path)]
    aside("update-index", "--force-remove", "-z", "--stdin", stdin=os.fsencode("\0".join(secrets)))
    return aside("write-tree")


def _leave_committed_secrets(git: Git, bundle: Mapping[str, Any], skipped: list[dict[str, Any]]) -> str:
    # No other machine can fetch them, and with the run they do not travel.
    secrets = [path for path in git.names("ls-files", "-z") if secret(path)]
    git("update-index", "--force-remove", "-z", "--stdin", stdin=os.fsencode("\0".join(secrets)))
    known = {each["path"] for each in skipped}
    skipped += [{"path": path, "size": 0, "why": "may hold a secret"} for path in secrets if path not in known]
    return str(bundle["base"])


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
    return Taken(fact, [Parcel(_FOLDER, "folder", files, {"tree": fact["tree"]})] if files else ())


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


Fetch = Callable[[str], Path]
"""Fetches an artifact by its name and answers the folder that holds its files under their paths."""


def artifacts(code: Mapping[str, Any]) -> list[str]:
    """The names of the artifacts that belong to recorded code."""
    bundle: Mapping[str, Any] = code.get("bundle") or {}
    return [str(name) for name in (code.get("artifact"), bundle.get("artifact")) if name]


def restore(code: Mapping[str, Any], fetch: Fetch, destination: Path) -> str:
    """Make the recorded tree in `destination`, an empty or new folder; answers the tree's hash.

    `code` is the code fact; `fetch` is asked for those of `artifacts(code)` that are needed. A clone that names a commit
    knows no tree yet: there the commit is what is checked. Raises NotFound when the commit is nowhere, Conflict when the
    result is not the recorded tree.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise errors.Conflict(f"{destination} is not an empty folder", hint="Name a folder that does not exist yet.")
    kind = code.get("kind")
    if kind == "folder":
        tree = _restore_folder(code, fetch(str(code.get("artifact") or _FOLDER)), destination)
    elif kind == "git":
        try:
            tree = _restore_repository(code, fetch, destination)
        except GitError as error:
            raise errors.Conflict(f"The code of the run could not be restored: {error}") from error
    else:
        raise errors.NotFound("No code was recorded for this run", hint=str(code.get("why") or ""))
    if tree != code.get("tree") and not (kind == "git" and code.get("commit") and not code.get("tree")):
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


def _restore_repository(code: Mapping[str, Any], fetch: Fetch, destination: Path) -> str:
    tree, commit = str(code.get("tree") or ""), str(code.get("commit") or "")
    destination.mkdir(parents=True, exist_ok=True)
    git = Git(destination)
    format = "sha256" if len(tree or commit) == 64 else "sha1"
    git("init", "--quiet", "--template=", f"--object-format={format}")
    remote, root = str(code.get("remote") or ""), str(code.get("root") or "")
    bundle: Mapping[str, Any] = code.get("bundle") or {}
    if remote or root:
        git("remote", "add", "--", "origin", remote or root)
    if commit:
        start = _unpacked(git, remote, commit, bundle, fetch) if bundle.get("base") else commit
        if (
            start == commit
            and not _borrow(git, root, commit)
            and not (bundle.get("artifact") and _unpacked(git, remote, commit, bundle, fetch))
            and not _fetch(git, remote, commit)
        ):
            raise errors.NotFound(
                f"Commit {commit} is neither in {root} on this machine nor to be had from {remote or 'a remote'}"
                + (f"; {bundle['why']}" if bundle.get("why") else ""),
                hint="Push the commit, or restore on the machine where the run was recorded.",
            )
        git("-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", "--force", start)
    if code.get("dirty"):
        patch = (fetch(str(code.get("artifact") or _PATCH)) / _PATCH_FILE).read_bytes()
        git("apply", "--index", "--binary", "--whitespace=nowarn", "-", stdin=patch)
    return git("write-tree")


def _unpacked(git: Git, remote: str, commit: str, bundle: Mapping[str, Any], fetch: Fetch) -> str:
    """Bring what travelled with the run into the repository; answers the commit to check out."""
    for needed in bundle.get("needs") or ():
        if not _fetch(git, remote, str(needed)):
            raise errors.NotFound(
                f"Commit {commit} travelled with the run, but not commit {needed} below it, which {remote} should have",
                hint="Restore on a machine that reaches this remote.",
            )
    with (fetch(_BUNDLE) / str(bundle["file"])).open("rb") as file:
        if bundle["file"] == _BUNDLE_FILE:
            while file.readline() not in (b"\n", b""):
                pass  # the words before the pack
        # Not `git bundle unbundle`: that asks for the whole history below the commits that are needed.
        git("index-pack", "--stdin", "--fix-thin", stdin=file.read())
    base = str(bundle.get("base") or "")
    if base:
        note = f"Commit {commit} without the files that may hold a secret."
        author = {"NAME": "Larder", "EMAIL": "larder@localhost", "DATE": "2000-01-01T00:00:00Z"}
        variables = {f"GIT_{who}_{name}": value for who in ("AUTHOR", "COMMITTER") for name, value in author.items()}
        return Git(git.folder, variables)("commit-tree", "-m", note, base)
    if bundle.get("shallow"):
        (git.folder / ".git" / "shallow").write_text(f"{commit}\n")
    return commit


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
    # Most servers hand out any reachable commit by its hash, alone; the others hand out their branches.
    everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    for wanted in (("--depth=1", "origin", commit), ("origin", *everything)):
        git.says("fetch", "--quiet", "--no-tags", *wanted)
        if git.says("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}") == commit:
            return True
    return False
