"""Runs executed anywhere: why they ended, what they need, who made them, and attempts that may continue earlier ones."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''"))


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))


def upgrade() -> None:
    op.add_column("runs", _text("cause"))
    op.add_column("runs", _number("retries"))
    op.add_column("runs", _number("published"))
    # the run from whose inside this one was made
    op.add_column("runs", _text("made_by"))
    # a new attempt has begun, and nobody has said yet whether it continues from the checkpoint
    op.add_column("runs", _number("undecided"))
    # JSON; empty for the defaults, which most runs have
    op.add_column("runs", _text("needs"))
    op.add_column("runs", _text("retry"))
    op.add_column("writers", _text("role"))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that `larder up` made before it migrated")
