"""Position is an integer

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("dataset_columns", schema="core") as batch:
        batch.alter_column("position", type_=sa.Integer(), existing_type=sa.SmallInteger())


def downgrade() -> None:
    pass
