"""Queues with needs, policies, agents and a log of what happened to jobs; teams of users; the keys of run tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _text(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=sa.text(f"'{default}'"))


def _big(name: str, *, nullable: bool = False, default: int | None = None) -> sa.Column[int]:
    return sa.Column(
        name, sa.BigInteger, nullable=nullable, server_default=None if default is None else sa.text(str(default))
    )


def upgrade() -> None:
    # tenants
    op.add_column("users", _text("team"))
    op.add_column("tenants", _text("run_key"))

    # queues: `rank` is 0 for a job that a person has put at its place, 1 for human, 2 for automatic
    op.add_column("jobs", _text("priority", "human"))
    op.add_column("jobs", _big("rank", default=1))
    op.add_column("jobs", _text("owner"))
    op.add_column("jobs", _text("team"))
    op.add_column("jobs", _text("needs", "{}"))
    op.add_column("jobs", _text("gpus", "[]"))
    op.add_column("jobs", sa.Column("expected", sa.Double, nullable=True))
    op.add_column("jobs", _big("entered", default=0))  # since when it waits, or has waited for its present lease
    op.add_column("jobs", _big("leased", nullable=True))  # when its present lease was given
    op.add_column("jobs", _text("reserved"))  # the agent that takes nothing else before this job
    op.execute(sa.text("update jobs set entered = created"))
    op.execute(sa.text("update jobs set leased = created where state = 'leased'"))
    for old in ("jobs_waiting", "jobs_leases", "jobs_subject"):
        op.drop_index(old, "jobs")
    op.create_index("jobs_order", "jobs", ["tenant", "queue", "state", "rank", "position", "created", "id"])
    op.create_index("jobs_teams", "jobs", ["tenant", "queue", "state", "rank", "team", "position", "created", "id"])
    op.create_index("jobs_places", "jobs", ["tenant", "queue", "position"])
    op.create_index("jobs_agents", "jobs", ["tenant", "state", "agent"])
    op.create_index("jobs_leases", "jobs", ["tenant", "state", "lease_expires"])
    op.create_index("jobs_subject", "jobs", ["tenant", "kind", "subject"], unique=True)
    op.create_table(
        "queue_policies", _text("tenant"), _text("queue"), _big("paused", default=0), _big("draining", default=0),
        _big("limit_per_user", default=0), _text("shares", "{}"), sa.PrimaryKeyConstraint("tenant", "queue"),
    )  # fmt: skip
    op.create_table(
        "agents", _text("tenant"), _text("name"), _text("queues", "[]"), _text("host"), _text("version"),
        _text("capacity", "{}"), _text("load", "{}"), _big("started"), _big("seen"), _big("drain", default=0),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )  # fmt: skip
    op.create_index("agents_seen", "agents", ["tenant", "seen"])
    # one row for each stay of a job in a queue, written when the stay ends
    op.create_table(
        "job_log", _text("tenant"), _text("job"), _text("queue"), _text("agent"), _text("owner"), _text("team"),
        _big("entered"), _big("leased", nullable=True), _big("ended"), _text("cause"),
    )  # fmt: skip
    op.create_index("job_log_ended", "job_log", ["tenant", "queue", "ended", "entered", "leased"])
    op.create_index("job_log_age", "job_log", ["tenant", "ended"])


def downgrade() -> None:
    raise NotImplementedError("restore the backup that `larder up` made before it migrated")
