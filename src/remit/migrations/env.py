"""How Alembic runs Remit's revisions: one migrator at a time, short lock waits, one transaction per revision."""

from contextlib import nullcontext
from typing import Any

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.pool import NullPool

from remit.db.connect import connect
from remit.db.tables import Xid8, metadata
from remit.migrations.lock import hold_migration_lock
from remit.migrations.online import TIME_LIMITS
from remit.migrations.runner.run import LOCK_HELD
from remit.settings import get_settings

ischema_names["xid8"] = Xid8  # SQLAlchemy does not know the type when it compares tables

_OPTIONS: dict[str, Any] = {
    "target_metadata": metadata,
    "transaction_per_migration": True,
    "compare_type": True,
    "compare_server_default": True,
}


def _find_dsn() -> str:
    dsn = context.config.attributes.get("dsn")
    if dsn is None:
        url = get_settings().database_url
        if url is None:
            raise SystemExit("set REMIT_DATABASE_URL, or use `remit db`, which knows the embedded database")
        dsn = url.get_secret_value()
    return str(dsn)


def run_offline() -> None:
    """Render the revisions as SQL."""
    context.configure(dialect_name="postgresql", literal_binds=True, **_OPTIONS)
    with context.begin_transaction():
        for name, value in TIME_LIMITS.items():
            context.execute(f"SET {name} = '{value}'")
        context.run_migrations()


def run_online() -> None:
    """Run the revisions."""
    dsn = _find_dsn()
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(dsn), poolclass=NullPool)
    turn = nullcontext() if context.config.attributes.get(LOCK_HELD) else hold_migration_lock(dsn)
    with turn, engine.connect() as connection:
        for name, value in TIME_LIMITS.items():
            connection.execute(text(f"SET {name} = '{value}'"))
        connection.commit()
        context.configure(connection=connection, **_OPTIONS)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
