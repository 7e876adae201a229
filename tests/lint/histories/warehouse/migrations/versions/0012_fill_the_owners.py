"""Fill the owners

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Session

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    session = Session(bind=op.get_bind())
    session.execute(
        sa.text(
            "UPDATE core.datasets SET owner_id = (SELECT id FROM core.users u WHERE u.tenant_id = datasets.tenant_id LIMIT 1)"
        )
    )
    session.commit()


def downgrade() -> None:
    pass
