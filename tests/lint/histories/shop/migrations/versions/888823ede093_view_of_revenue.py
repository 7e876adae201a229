"""View of revenue

Revision ID: 888823ede093
Revises: da535fd6cf1f
Create Date: 2021-05-02 10:28:00
"""

from alembic import op

revision = "888823ede093"
down_revision = "da535fd6cf1f"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("""
    CREATE VIEW revenue AS
    SELECT date_trunc('month', ordered_at) AS month, sum(total) AS total
    FROM orders WHERE status <> 'cancelled' GROUP BY 1
    """)


def downgrade():
    op.execute("DROP VIEW revenue")
