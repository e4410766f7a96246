"""Data versions: datasets, their versions and trees, chunks in packs, aliases, tags, uses; tokens that open what is blind."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# An integer that is the row id on SQLite and an identity column on PostgreSQL.
Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _table(name: str, *columns: sa.schema.SchemaItem, clustered: bool = True) -> None:
    """`clustered` keeps rows in the order of their key on SQLite, which halves tables that are read by key."""
    op.create_table(name, *columns, sqlite_with_rowid=not clustered)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''"))


def _big(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, server_default=None if nullable else sa.text("0"))


def _blob(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _serial() -> sa.Column[int]:
    return sa.Column("seq", Serial, primary_key=True, autoincrement=True)


def _key(*names: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*names)


def upgrade() -> None:
    op.add_column("tokens", _big("evaluator"))

    # `last` is the greatest number that a version has ever had, so that the number of a deleted one never comes back
    _table(
        "datasets", _text("tenant"), _text("id"), _text("project"), _text("name"), _text("description"), _big("blind"),
        _text("actor"), _big("created"), _big("changed"), _big("last"), _key("tenant", "id"),
        sa.UniqueConstraint("tenant", "project", "name"), clustered=False,
    )  # fmt: skip
    # `base` and `delta` name the objects of the tree, `total` is the sum of its entries' hashes; `seen` is the last
    # call for an open version, `writes` counts what it was given
    _table(
        "dataset_versions", _text("tenant"), _text("id"), _text("dataset"), _big("number"), _text("state"),
        _text("parents"), _text("message"), _text("actor"), _text("run"), _text("write_key"), _big("created"),
        _big("committed", nullable=True), _big("files"), _big("bytes"), _big("added"), _big("removed"), _big("changed"),
        _big("new_bytes"), _text("base"), _text("delta"), _text("total"), _text("tree"), _text("statistics"),
        _text("report"), _big("seen"), _big("writes"), _key("tenant", "id"), clustered=False,
    )  # fmt: skip
    op.create_index("dataset_versions_number", "dataset_versions", ["tenant", "dataset", "number"])
    op.create_index("dataset_versions_state", "dataset_versions", ["tenant", "state", "seen"])
    # what an open version was given, packed as it came
    _table(
        "dataset_parts", _text("tenant"), _text("version"), _big("part"), _blob("data"),
        _key("tenant", "version", "part"), clustered=False,
    )  # fmt: skip
    # chunks that an open version was told are there
    _table("dataset_pins", _serial(), _text("tenant"), _text("version"), _blob("hashes"), clustered=False)
    op.create_index("dataset_pins_version", "dataset_pins", ["tenant", "version"])
    # state: arriving, stored, gone (no row needs it, its object is about to be deleted)
    _table(
        "dataset_packs", _serial(), _text("tenant"), _text("hash"), _text("domain"), _big("bytes"), _text("state"),
        _text("version"), _big("created"), sa.UniqueConstraint("tenant", "hash"), clustered=False,
    )  # fmt: skip
    # `pack` is the `seq` of a pack; `doomed` the time since which nobody needed the chunk, 0 otherwise
    _table(
        "dataset_chunks", _text("tenant"), _text("domain"), _blob("hash"), _big("pack"), _big("place"), _big("length"),
        _big("size"), _big("created"), _big("doomed"), _key("tenant", "domain", "hash"),
    )  # fmt: skip
    # content of several chunks; `checked` when the server has read that they are that content, else `actor` says so
    _table(
        "dataset_contents", _text("tenant"), _text("domain"), _blob("hash"), _big("size"), _blob("chunks"),
        _text("actor"), _big("checked"), _big("created"), _key("tenant", "domain", "hash"), clustered=False,
    )  # fmt: skip
    # the objects of trees; state as with packs
    _table(
        "dataset_trees", _text("tenant"), _text("hash"), _big("bytes"), _text("state"), _big("created"),
        _key("tenant", "hash"), clustered=False,
    )  # fmt: skip
    _table(
        "dataset_tags", _text("tenant"), _text("dataset"), _text("tag"), _text("version"),
        _key("tenant", "dataset", "tag", "version"),
    )  # fmt: skip
    op.create_index("dataset_tags_version", "dataset_tags", ["tenant", "version"])
    # `version` is empty when the alias has ended: its role stays
    _table(
        "dataset_aliases", _text("tenant"), _text("dataset"), _text("alias"), _text("version"), _text("role"),
        _key("tenant", "dataset", "alias"),
    )  # fmt: skip
    op.create_index("dataset_aliases_version", "dataset_aliases", ["tenant", "version"])
    _table(
        "dataset_moves", _serial(), _text("tenant"), _text("dataset"), _text("alias"), _text("version"), _big("number"),
        _big("time"), _text("actor"), clustered=False,
    )  # fmt: skip
    op.create_index("dataset_moves_alias", "dataset_moves", ["tenant", "dataset", "alias", "seq"])
    _table(
        "dataset_uses", _serial(), _text("tenant"), _text("version"), _text("dataset"), _text("address"), _text("run"),
        _text("role"), _text("part"), _big("time"), _text("served"),
        sa.UniqueConstraint("tenant", "version", "run", "role", "part"), clustered=False,
    )  # fmt: skip
    op.create_index("dataset_uses_run", "dataset_uses", ["tenant", "run"])
    op.create_index("dataset_uses_dataset", "dataset_uses", ["tenant", "dataset"])
    # who collects now, until when at most, and when one last came to its end
    _table(
        "dataset_collections", _text("tenant"), _text("holder"), _big("until"), _big("ended"), _key("tenant"),
        clustered=False,
    )  # fmt: skip


def downgrade() -> None:
    raise NotImplementedError("restore the backup that `larder up` made before it migrated")
