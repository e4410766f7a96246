"""The installed packages, as exact as a lock, from the metadata on the process's path."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from larder.capture.git import without_credentials
from larder.capture.observing import Record


@dataclass(frozen=True)
class Packages:
    """The source `packages`: looks once."""

    path: Sequence[str]
    python: str
    name: str = "packages"
    interval: float | None = None

    def observe(self, record: Record) -> None:
        """Record every installed distribution with its version, and the interpreter's under `python`."""
        record.fact("packages", {"python": self.python, **installed(self.path)})
        record.source(self.name, "active")


def installed(path: Sequence[str]) -> dict[str, str]:
    """Version of each distribution by normalised name; what came from an address or a folder says which."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions(path=[entry for entry in path if entry]):
        name = distribution.metadata["Name"] if distribution.metadata else None
        if not name:
            continue  # the remains of a broken installation
        # The first on the path is the one that is imported.
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), _version(distribution))
    return dict(sorted(found.items()))


def _version(distribution: metadata.Distribution) -> str:
    version = distribution.version or ""
    try:
        origin: Mapping[str, Any] = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return version
    url = without_credentials(str(origin.get("url") or ""))
    commit = str((origin.get("vcs_info") or {}).get("commit_id") or "")
    return f"{version} @ {url}{'@' if commit else ''}{commit}" if url else version
