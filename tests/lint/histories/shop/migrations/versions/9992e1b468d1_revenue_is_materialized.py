"""Revenue is materialized

Revision ID: 9992e1b468d1
Revises: 888823ede093
Create Date: 2021-06-03 10:29:00
"""

from alembic import op

revision = "9992e1b468d1"
down_revision = "888823ede093"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("DROP VIEW revenue")
    op.execute(
        "CREATE MATERIALIZED VIEW revenue AS SELECT date_trunc('month', ordered_at) AS month, sum(total) AS total FROM orders GROUP BY 1 WITH NO DATA"
    )
    op.execute("CREATE UNIQUE INDEX uq_revenue_month ON revenue (month)")


def downgrade():
    op.execute("DROP MATERIALIZED VIEW revenue")
