"""Modes of the rollout, finished reconciliations, and what shadow comparisons found

Revision ID: 0013

The tables are new and empty: their foreign keys lock `tenants` for a moment and read none of its rows. A tenant without
a row is in `enforce`, as every tenant was before.
"""

from pathlib import Path

from remit.migrations.online import execute, refuse_if_any, run_script

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TABLES = ("authz_shadow_samples", "authz_shadow_counts", "authz_reconciliations", "authz_modes")


def upgrade() -> None:
    """Make the tables."""
    run_script(Path(__file__).with_suffix(".sql").read_text())


def downgrade() -> None:
    """Drop the tables, refused while a tenant has a mode of its own: relationships would decide for it at once."""
    refuse_if_any("authz_modes", "mode IS DISTINCT FROM 'enforce'", "its modes would be lost, and access would change")
    for table in _TABLES:
        execute(f"DROP TABLE {table}")
