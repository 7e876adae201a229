"""Balance in cents

Revision ID: e4dc45bef036
Revises: 25a49e44b68f
Create Date: 2023-03-24 10:50:00
"""

from alembic import op

revision = "e4dc45bef036"
down_revision = "25a49e44b68f"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE gift_cards ADD COLUMN IF NOT EXISTS cents bigint")
    op.execute("UPDATE gift_cards SET cents = (balance * 100)::bigint")
    op.execute("ALTER TABLE gift_cards ALTER COLUMN cents SET NOT NULL")
    op.drop_column("gift_cards", "balance")


def downgrade():
    pass
