"""The log of jobs says what each was about, so that an agent's history can name it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("kind", "subject"):
        op.add_column("job_log", sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''")))
    op.create_index("job_log_agent", "job_log", ["tenant", "agent", "ended"])


def downgrade() -> None:
    raise NotImplementedError("restore the backup that `larder up` made before it migrated")
