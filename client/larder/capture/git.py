"""Asks git, with the user's repository left as it is: no lock, no hook, no object, no index of it is written."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT = 300.0
"""Seconds after which a git command is given up."""

_LOCAL = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
_LOCAL_TOO = ("GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CEILING_DIRECTORIES", "GIT_EXTERNAL_DIFF")
_CREDENTIALS = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/@]*@", re.IGNORECASE)


class GitError(Exception):
    """A git command did not succeed; the text is what git said."""


@dataclass(frozen=True)
class Git:
    """Git commands in one folder."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, stdin: bytes = b"") -> str:
        """The output of a command, without its last line end."""
        return os.fsdecode(self.output(*arguments, stdin=stdin)).rstrip("\n")

    def output(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """The output of a command."""
        command = (
            "git", "--no-optional-locks", "--literal-pathspecs", "-c", "core.fsmonitor=false",
            "-c", f"core.hooksPath={os.devnull}", "-c", "core.splitIndex=false",
            "-c", "core.safecrlf=false", *arguments,
        )  # fmt: skip
        try:
            result = subprocess.run(
                command, cwd=self.folder, env=self._environment(), input=stdin, capture_output=True, timeout=TIMEOUT
            )
        except FileNotFoundError:
            raise GitError("git is not installed") from None
        except subprocess.TimeoutExpired:
            raise GitError(f"git {arguments[0]} took longer than {TIMEOUT:.0f} s") from None
        if result.returncode:
            said = result.stderr.decode(errors="replace").strip() or f"git ended with status {result.returncode}"
            raise GitError(without_credentials_anywhere(said))
        return result.stdout

    def says(self, *arguments: str) -> str | None:
        """The output of a command, or None when git has no answer."""
        try:
            return self(*arguments)
        except GitError:
            return None

    def names(self, *arguments: str, stdin: bytes = b"") -> Sequence[str]:
        """The output of a command that separates names by NUL."""
        return [os.fsdecode(name) for name in self.output(*arguments, stdin=stdin).split(b"\0") if name]

    def _environment(self) -> dict[str, str]:
        # Started from a hook of some repository, we would otherwise look at that one.
        kept = {name: value for name, value in os.environ.items() if name not in (*_LOCAL, *_LOCAL_TOO)}
        return {**kept, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **self.environment}


def without_credentials(url: str) -> str:
    """An address without the name and password that it may hold; the user name of ssh is no secret and stays."""
    if url.startswith("ssh://"):
        return re.sub(r"^(ssh://[^/@:]*):[^/@]*@", r"\1@", url)
    return _CREDENTIALS.sub(r"\1", url)


def without_credentials_anywhere(text: str) -> str:
    """A text without the credentials of any address in it."""
    return re.sub(r"([a-z][a-z0-9+.-]*://)[^\s/@']*@", r"\1", text, flags=re.IGNORECASE)
