"""Lineage

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op
from warehouse_helpers import UUID

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lineage",
        sa.Column("parent_id", UUID, nullable=False),
        sa.Column("child_id", UUID, nullable=False),
        sa.PrimaryKeyConstraint("parent_id", "child_id"),
        schema="core",
    )
    op.create_foreign_key(
        "fk_lineage_parent", "lineage", "datasets", ["parent_id"], ["id"], source_schema="core", referent_schema="core"
    )
    op.create_foreign_key(
        "fk_lineage_child", "lineage", "datasets", ["child_id"], ["id"], source_schema="core", referent_schema="core"
    )


def downgrade() -> None:
    pass
