"""Branch: severity

Revision ID: 0028
Revises: 0027
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    severity = postgresql.ENUM("low", "high", name="severity", schema="ops")
    severity.create(op.get_bind())
    op.add_column(
        "alerts",
        sa.Column(
            "severity",
            postgresql.ENUM(name="severity", schema="ops", create_type=False),
            server_default="low",
            nullable=False,
        ),
        schema="ops",
    )


def downgrade() -> None:
    pass
