"""Artifacts in SQL: names and facts of files; the bytes are objects."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.engine import Row

from larder.contract.runs import Artifact, ArtifactFile
from larder_server.kernel.context import Context

_COLUMNS = "name, version, kind, format, step, files, size, metadata, created"


def latest_version(context: Context, run: int, name: str) -> int:
    row = context.db.one(
        "select max(version) as version from artifacts where tenant = :tenant and run = :run and name = :name",
        run=run,
        name=name,
    )
    return row.version or 0 if row else 0


def insert(context: Context, run: int, artifacts: Sequence[Artifact]) -> None:
    context.db.many(
        "insert into artifacts (tenant, run, name, version, kind, format, step, files, size, metadata, created) values"
        " (:tenant, :run, :name, :version, :kind, :format, :step, :files, :size, :metadata, :created)",
        [
            {
                "run": run, "name": artifact.name, "version": artifact.version, "kind": artifact.kind,
                "format": artifact.format, "step": artifact.step, "size": artifact.size, "created": artifact.created,
                "files": json.dumps([asdict(file) for file in artifact.files]),
                "metadata": json.dumps(artifact.metadata),
            }
            for artifact in artifacts
        ],
    )  # fmt: skip


def all_of(context: Context, run: int, name: str = "") -> list[Artifact]:
    """The artifacts of a run, or those of one name, by name and version."""
    rows = context.db.execute(
        f"select {_COLUMNS} from artifacts where tenant = :tenant and run = :run"
        + (" and name = :name" if name else "")
        + " order by name, version",
        run=run,
        **({"name": name} if name else {}),
    )
    return [_artifact(row) for row in rows]


def find(context: Context, run: int, name: str, version: int) -> Artifact | None:
    """One artifact; its newest version when `version` is 0."""
    row = context.db.one(
        f"select {_COLUMNS} from artifacts where tenant = :tenant and run = :run and name = :name"
        + (" and version = :version" if version else "")
        + " order by version desc limit 1",
        run=run,
        name=name,
        **({"version": version} if version else {}),
    )
    return None if row is None else _artifact(row)


def newest_checkpoint(context: Context, run: int) -> Artifact | None:
    """The newest artifact of kind checkpoint that tells its step."""
    row = context.db.one(
        f"select {_COLUMNS} from artifacts where tenant = :tenant and run = :run and kind = 'checkpoint'"
        " and step is not null order by created desc, version desc, name limit 1",
        run=run,
    )
    return None if row is None else _artifact(row)


def remove(context: Context, run: int, gone: Sequence[Artifact]) -> int:
    """Remove some versions; how many."""
    context.db.many(
        "delete from artifacts where tenant = :tenant and run = :run and name = :name and version = :version",
        [{"run": run, "name": artifact.name, "version": artifact.version} for artifact in gone],
    )
    return len(gone)


def delete(context: Context, run: int) -> None:
    """Remove all artifacts."""
    context.db.change("delete from artifacts where tenant = :tenant and run = :run", run=run)


def _artifact(row: Row[Any]) -> Artifact:
    return Artifact(
        name=row.name, version=row.version, kind=row.kind, format=row.format, size=row.size, created=row.created,
        step=row.step, metadata=json.loads(row.metadata),
        files=[ArtifactFile(**file) for file in json.loads(row.files)],
    )  # fmt: skip
