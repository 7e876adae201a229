"""Grants

Revision ID: 221c2ee6824c
Revises: 4b7e24daf977
Create Date: 2022-09-18 10:44:00
"""

from alembic import op

revision = "221c2ee6824c"
down_revision = "4b7e24daf977"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("""
    DO $$
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop_readonly') THEN
            CREATE ROLE shop_readonly;
        END IF;
    END
    $$;
    """)
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_readonly")


def downgrade():
    pass
