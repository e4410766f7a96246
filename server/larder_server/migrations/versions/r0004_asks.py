"""What a leased job was given for, so that an agent that lost the answer hears it again; what is known of its holder."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("ask", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("jobs", sa.Column("cause", sa.Text, nullable=False, server_default=sa.text("'agent_lost'")))
    # whether the holder has said a word since it was given the job; so has everyone who holds one now
    op.add_column("jobs", sa.Column("heard", sa.BigInteger, nullable=False, server_default=sa.text("1")))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that `larder up` made before it migrated")
