"""The first tables: tenants and tokens, projects, queues, runs with metrics, console and artifacts, the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# An integer that is the row id on SQLite and an identity column on PostgreSQL.
Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _table(name: str, *columns: sa.schema.SchemaItem, clustered: bool = False) -> None:
    """`clustered` keeps rows in the order of their key on SQLite, which halves tables that are read by key."""
    op.create_table(name, *columns, sqlite_with_rowid=not clustered)


def _text(name: str, *, nullable: bool = False, default: str | None = "") -> sa.Column[str]:
    server_default = None if nullable else sa.text(f"'{default}'") if default is not None else None
    return sa.Column(name, sa.Text, nullable=nullable, server_default=server_default)


def _big(name: str, *, nullable: bool = False, default: int | None = None) -> sa.Column[int]:
    return sa.Column(
        name, sa.BigInteger, nullable=nullable, server_default=None if default is None else sa.text(str(default))
    )


def _real(name: str, *, nullable: bool = True) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=nullable)


def _blob(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _serial(name: str = "seq") -> sa.Column[int]:
    return sa.Column(name, Serial, primary_key=True, autoincrement=True)


def _key(*names: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*names)


def upgrade() -> None:
    # kernel
    _table(
        "events", _serial(), _text("tenant"), _text("name"), _text("subject"), _big("time"), _text("actor"),
        _text("data", default="{}"), _big("handled", default=0),
    )  # fmt: skip
    op.create_index("events_unhandled", "events", ["handled", "seq"])
    op.create_index("events_subject", "events", ["tenant", "subject", "seq"])

    # tenants
    _table("tenants", _text("tenant"), _text("name"), _big("created"), _key("tenant"))
    _table("users", _text("tenant"), _text("name"), _text("role"), _big("created"), _key("tenant", "name"))
    _table(
        "tokens", _text("tenant"), _text("id"), _text("actor"), _text("role"), _text("name"), _text("digest"),
        _big("created"), _big("expires"), _big("last_used", nullable=True), _big("revoked", nullable=True),
        _key("tenant", "id"),
    )  # fmt: skip

    # projects
    _table(
        "projects", _serial(), _text("tenant"), _text("id"), _text("name"), _text("description"), _big("created"),
        sa.UniqueConstraint("tenant", "name"), sa.UniqueConstraint("tenant", "id"),
    )  # fmt: skip

    # queues
    _table(
        "jobs", _text("tenant"), _text("id"), _text("queue"), _text("kind"), _text("subject"), _text("state"),
        _big("position"), _big("fence", default=0), _big("created"), _text("agent"),
        _big("lease_expires", nullable=True),
        _big("stop", default=0), _key("tenant", "id"),
    )  # fmt: skip
    op.create_index("jobs_waiting", "jobs", ["tenant", "queue", "state", "position"])
    op.create_index("jobs_leases", "jobs", ["state", "lease_expires"])
    op.create_index("jobs_subject", "jobs", ["tenant", "kind", "subject"])

    # runs: `seq` is the short number by which the other tables of the slice point at a run
    _table(
        "runs", _serial(), _text("tenant"), _text("id"), _text("project"), _text("name"), _text("status"),
        _text("kind"), _text("actor"), _text("reason"), _big("created"), _big("started", nullable=True),
        _big("ended", nullable=True), _big("heartbeat", nullable=True), _text("host"), _text("branch"),
        _text("commit_id"),
        _text("notes"), _text("parent", nullable=True), _big("attempt", default=0), _big("archived", default=0),
        _big("exit_status", nullable=True), _big("lost_records", default=0), _text("queue"), _big("stop", default=0),
        _text("words"),  # lower-case name, tags and notes: what free text looks into
        sa.UniqueConstraint("tenant", "id"),
    )  # fmt: skip
    op.create_index("runs_created", "runs", ["tenant", "created"])
    # these two answer lists, and what is asked of every run, without reading the runs' wide rows
    often = ["seq", "project", "status", "actor", "kind"]
    op.create_index("runs_listed", "runs", ["tenant", "archived", "created", *often])
    op.create_index("runs_project", "runs", ["tenant", "project", "archived", "created", *often[:1], *often[2:]])
    op.create_index("runs_status", "runs", ["tenant", "status"])
    op.create_index("runs_name", "runs", ["tenant", "name"])
    op.create_index("runs_parent", "runs", ["tenant", "parent"])
    _table("run_tags", _text("tenant"), _big("run"), _text("tag"), _key("tenant", "run", "tag"), clustered=True)
    op.create_index("run_tags_tag", "run_tags", ["tenant", "tag", "run"])
    _table(
        "run_facts", _text("tenant"), _big("run"), _text("name"), _text("document"), _key("tenant", "run", "name"),
    )  # fmt: skip
    # names of parameters and metrics, once per tenant
    _table("param_names", _serial(), _text("tenant"), _text("name"), sa.UniqueConstraint("tenant", "name"))
    _table("metric_names", _serial(), _text("tenant"), _text("name"), sa.UniqueConstraint("tenant", "name"))
    # `value` is the JSON text; `number` its numeric value (true 1, false 0) where it has one
    _table(
        "run_params", _text("tenant"), _big("run"), _big("param"), _text("value"), _real("number"),
        _key("tenant", "run", "param"), clustered=True,
    )  # fmt: skip
    op.create_index("run_params_number", "run_params", ["tenant", "param", "number", "run"])
    op.create_index("run_params_value", "run_params", ["tenant", "param", "value", "run"])
    # NULL stands for NaN (SQLite has none); `count` tells it from "no value yet"
    _table(
        "metric_summaries", _text("tenant"), _big("run"), _big("metric"), _real("last"), _big("last_step"),
        _real("min"), _big("min_step"), _real("max"), _big("max_step"), _real("total"), _big("numbers"), _big("count"),
        _big("last_time"), _key("tenant", "run", "metric"), clustered=True,
    )  # fmt: skip
    op.create_index("metric_summaries_last", "metric_summaries", ["tenant", "metric", "last", "run"])
    op.create_index("metric_summaries_min", "metric_summaries", ["tenant", "metric", "min", "run"])
    op.create_index("metric_summaries_max", "metric_summaries", ["tenant", "metric", "max", "run"])
    # raw small batches wait in heads (24 bytes a point) until they are sealed into a compressed block
    _table(
        "metric_heads", _serial(), _text("tenant"), _big("run"), _big("metric"), _big("count"), _blob("columns"),
    )  # fmt: skip
    op.create_index("metric_heads_run", "metric_heads", ["tenant", "run", "metric", "seq"])
    # a block is sealed points in order of arrival, beside what a chart needs when it does not open the block
    _table(
        "metric_blocks", _serial(), _text("tenant"), _big("run"), _big("metric"), _big("count"), _big("first_step"),
        _big("last_step"), _big("sorted"), _real("first"), _real("last"), _real("min"), _big("min_step"), _real("max"),
        _big("max_step"), _big("first_time"), _big("last_time"), _big("min_time"), _big("max_time"), _blob("columns"),
    )  # fmt: skip
    op.create_index("metric_blocks_run", "metric_blocks", ["tenant", "run", "metric", "seq"])
    _table(
        "writers", _text("tenant"), _big("run"), _text("writer"), _big("end_offset", default=0),
        _big("attempt", default=0),
        _big("closed", default=0), _key("tenant", "run", "writer"),
    )  # fmt: skip
    # console in chunks of lines, compressed; `first_line` counts from 1
    _table(
        "console_chunks", _text("tenant"), _big("run"), _big("first_line"), _big("count"), _blob("lines"),
        _key("tenant", "run", "first_line"),
    )  # fmt: skip
    _table(
        "artifacts", _text("tenant"), _big("run"), _text("name"), _big("version"), _text("kind"), _text("format"),
        _big("step", nullable=True), _text("files", default="[]"), _big("size"), _text("metadata", default="{}"),
        _big("created"), _key("tenant", "run", "name", "version"),
    )  # fmt: skip


def downgrade() -> None:
    raise NotImplementedError("restore the backup that `larder up` made before it migrated")
