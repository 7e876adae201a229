"""Audit triggers

Revision ID: 0019
Revises: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("core.datasets", "core.users", "ops.jobs"):
        name = table.replace(".", "_")
        op.execute(f"""
        CREATE OR REPLACE FUNCTION audit.{name}() RETURNS trigger LANGUAGE plpgsql AS $fn$
        BEGIN
            INSERT INTO audit.log (actor, what) VALUES (current_user, to_jsonb(NEW));
            RETURN NEW;
        END $fn$;
        """)
        op.execute(
            f"CREATE TRIGGER audit_{name} AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION audit.{name}()"
        )


def downgrade() -> None:
    for table in ("core.datasets", "core.users", "ops.jobs"):
        name = table.replace(".", "_")
        op.execute(f"DROP TRIGGER IF EXISTS audit_{name} ON {table}")
        op.execute(f"DROP FUNCTION IF EXISTS audit.{name}()")
