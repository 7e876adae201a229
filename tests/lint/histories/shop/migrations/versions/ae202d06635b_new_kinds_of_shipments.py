"""New kinds of shipments

Revision ID: ae202d06635b
Revises: 69b10a5a04ce
Create Date: 2022-06-15 10:41:00
"""

from alembic import op

revision = "ae202d06635b"
down_revision = "69b10a5a04ce"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TYPE shipment_kind RENAME TO shipment_kind_old")
    op.execute("CREATE TYPE shipment_kind AS ENUM ('parcel', 'letter', 'pallet')")
    op.execute("ALTER TABLE shipments ALTER COLUMN kind TYPE shipment_kind USING kind::text::shipment_kind")
    op.execute("DROP TYPE shipment_kind_old")


def downgrade():
    pass
