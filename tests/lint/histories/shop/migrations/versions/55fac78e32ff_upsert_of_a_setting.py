"""Upsert of a setting

Revision ID: 55fac78e32ff
Revises: e17a42c872df
Create Date: 2022-01-10 10:36:00
"""

from alembic import op

revision = "55fac78e32ff"
down_revision = "e17a42c872df"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(
        "INSERT INTO settings (key, value) VALUES ('tax', '{\"de\": 0.19}') ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    )


def downgrade():
    pass
