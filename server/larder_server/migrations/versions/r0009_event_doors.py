"""Event doors, and the events that came through them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''"))


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))


def upgrade() -> None:
    op.create_table(
        "event_doors", _text("tenant"), _text("name"), _text("type"), _text("source"), _text("action"),
        _text("arguments"), _text("actor"), _number("changed"), _number("received"),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )  # fmt: skip
    # `event` is a hash of source and id: the two together may be longer than what an index takes
    op.create_table(
        "received_events", _text("tenant"), _text("event"), _text("id"), _text("source"), _text("type"), _text("door"),
        _number("time"), _text("actor"), _text("run"), _text("data"), sa.PrimaryKeyConstraint("tenant", "event"),
    )  # fmt: skip
    op.create_index("received_events_time", "received_events", ["tenant", "time"])


def downgrade() -> None:
    raise NotImplementedError("restore the backup that `larder up` made before it migrated")
