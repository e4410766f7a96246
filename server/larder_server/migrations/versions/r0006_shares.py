"""Shares: signed addresses that open a run, a comparison or a view; and each tenant's policy for them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''"))


def _big(name: str, *, nullable: bool = False) -> sa.Column[int]:
    default = None if nullable else sa.text("0")
    return sa.Column(name, sa.BigInteger, nullable=nullable, server_default=default)


def upgrade() -> None:
    # `runs` is a JSON list of ids, `view` a JSON document or empty
    op.create_table(
        "shares", _text("tenant"), _text("id"), _text("title"), _text("runs"), _text("view"), _text("against"),
        _text("metric"), _big("public"), _text("actor"), _big("created"), _big("expires"), _big("opened", nullable=True),
        _big("revoked", nullable=True), sa.PrimaryKeyConstraint("tenant", "id"),
    )  # fmt: skip
    op.create_index("shares_living", "shares", ["tenant", "expires"])
    op.create_table(
        "share_policies", _text("tenant"), _big("public"), _text("signing_key"), sa.PrimaryKeyConstraint("tenant"),
    )  # fmt: skip


def downgrade() -> None:
    raise NotImplementedError("restore the backup that `larder up` made before it migrated")
