"""Prices with a history

Revision ID: 332ab286af21
Revises: 298220816101
Create Date: 2021-06-18 10:17:00
"""

from alembic import op

revision = "332ab286af21"
down_revision = "298220816101"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(
        """
        CREATE TABLE price_history (
            product_id integer NOT NULL REFERENCES products (id),
            valid_from timestamptz NOT NULL DEFAULT now(),
            price numeric(10, 2) NOT NULL,
            PRIMARY KEY (product_id, valid_from)
        );
        -- every change is kept; this is not for speed
        CREATE OR REPLACE FUNCTION keep_price() RETURNS trigger AS $body$
        BEGIN
            IF NEW.price IS DISTINCT FROM OLD.price THEN
                INSERT INTO price_history (product_id, price) VALUES (OLD.id, OLD.price);
            END IF;
            RETURN NEW;
        END;
        $body$ LANGUAGE plpgsql;
        CREATE TRIGGER keep_price BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION keep_price();
        """
    )


def downgrade():
    op.execute(
        "DROP TRIGGER IF EXISTS keep_price ON products; DROP FUNCTION IF EXISTS keep_price(); DROP TABLE price_history"
    )
