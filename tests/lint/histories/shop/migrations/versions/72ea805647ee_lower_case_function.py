"""Lower-case function

Revision ID: 72ea805647ee
Revises: 708c11d873ff
Create Date: 2024-04-10 10:03:00
"""

from alembic import op

revision = "72ea805647ee"
down_revision = "708c11d873ff"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(r"""
    CREATE OR REPLACE FUNCTION slugify(value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT trim(both '-' from regexp_replace(lower(value), '[^a-z0-9\-_]+', '-', 'gi'))
    $$;
    """)
    op.execute("ALTER TABLE products ADD COLUMN slug_key text GENERATED ALWAYS AS (slugify(title)) STORED")


def downgrade():
    pass
