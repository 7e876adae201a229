"""Seed the roles

Revision ID: 99d930635779
Revises: c55870cbed62
Create Date: 2020-10-10 10:09:00
"""

import sqlalchemy as sa
from alembic import op

revision = "99d930635779"
down_revision = "c55870cbed62"
branch_labels = None
depends_on = None


def upgrade():
    roles = op.create_table(
        "roles",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(30), nullable=False, unique=True),
    )
    op.bulk_insert(
        roles, [{"id": 1, "name": "admin"}, {"id": 2, "name": "clerk"}, {"id": 3, "name": 'it\'s "me": 100%'}]
    )
    op.add_column(
        "users", sa.Column("role_id", sa.Integer(), sa.ForeignKey("roles.id", name="fk_users_role_id"), nullable=True)
    )


def downgrade():
    op.drop_column("users", "role_id")
    op.drop_table("roles")
