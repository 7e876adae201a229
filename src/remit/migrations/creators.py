"""The steps by which a table learns who made its rows. Used by revisions: its SQL never changes once released."""

from remit.migrations.online import (
    add_check_not_valid,
    create_index_concurrently,
    drop_index_concurrently,
    execute,
    refuse_if_any,
    validate_constraint,
)

_COLUMNS = ("creator_user_id", "creator_service_account_id", "creator_agent_id")
_INDEXED = ("creator_user_id", "creator_service_account_id")


def _constraints(table: str) -> dict[str, str]:
    return {
        f"ck_{table}_at_most_one_creator": "num_nonnulls(creator_user_id, creator_service_account_id) <= 1",
        f"ck_{table}_agent_or_subject_creator": (
            "creator_agent_id IS NULL OR num_nonnulls(creator_user_id, creator_service_account_id) = 0"
        ),
    }


def add_creator_columns(table: str) -> None:
    """Add the columns and the constraints, the latter for new and changed rows only."""
    for column in _COLUMNS:
        execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} uuid")
    execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS authz_zedtoken text")
    for name, condition in _constraints(table).items():
        add_check_not_valid(table, name, condition)


def drop_creator_columns(table: str) -> None:
    """Undo `add_creator_columns`; raises MigrationError while a row holds a creator, since nothing else knows it."""
    refuse_if_any(table, f"num_nonnulls({', '.join(_COLUMNS)}) > 0", "rows know their creators, which would be lost")
    for name in _constraints(table):
        execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
    for column in (*_COLUMNS, "authz_zedtoken"):
        execute(f"ALTER TABLE {table} DROP COLUMN IF EXISTS {column}")


def validate_creator_constraints(table: str) -> None:
    """Hold the constraints against the rows that were there before them."""
    for name in _constraints(table):
        validate_constraint(table, name)


def create_creator_indexes(table: str) -> None:
    """Index the rows that have a creator of each indexed kind."""
    for column in _INDEXED:
        create_index_concurrently(f"ix_{table}_{column}", table, f"({column}) WHERE {column} IS NOT NULL")


def drop_creator_indexes(table: str) -> None:
    """Undo `create_creator_indexes`."""
    for column in _INDEXED:
        drop_index_concurrently(f"ix_{table}_{column}")
