"""Views: states of pages under a name or a short id."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''"))


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))


def upgrade() -> None:
    op.create_table(
        "views", _text("tenant"), _text("id"), _text("page"), _text("project"), _text("name"), _text("state"),
        _number("shared"), _text("actor"), _number("created"), _number("changed"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )  # fmt: skip
    op.create_index("views_name", "views", ["tenant", "page", "project", "name"])


def downgrade() -> None:
    raise NotImplementedError("restore the backup that `larder up` made before it migrated")
