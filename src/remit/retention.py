"""How long things are kept: what has had its time is removed in batches, so that no lock is held for long."""

from datetime import timedelta

from remit.db.pool import Database
from remit.idempotency import KEPT
from remit.ids import oldest_id
from remit.settings import Settings

BATCH = 1000

# Tables whose ids grow with time, with the setting that says how long: their primary key finds what is old.
_BY_ID = {"events": "event_retention", "audit": "audit_retention"}


async def remove_old(database: Database, settings: Settings) -> dict[str, int]:
    """Remove what is older than the settings say.

    Args:
        database: where it is.
        settings: None for a kind keeps it for ever.

    Returns:
        How many rows went, by table.
    """
    removed = {
        "stream_entries": await remove_older(database, "stream_entries", "created_at", settings.stream_retention),
        "task_turns": await remove_older(database, "task_turns", "expires_at", settings.stream_retention),
        "idempotent_requests": await remove_older(database, "idempotent_requests", "created_at", KEPT),
    }
    for table, setting in _BY_ID.items():
        age: timedelta | None = getattr(settings, setting)
        if age is not None:
            removed[table] = await _remove(database, table, "id < $1::uuid", oldest_id(age))
    if settings.outbox_retention is not None:
        # What was given up and takes something away stays: as long as it waits, it denies.
        given_up = "dead_at < now() - $1::interval AND revocation = 0"
        removed["outbox"] = await _remove(database, "outbox", given_up, settings.outbox_retention)
    if settings.span_retention is not None:
        removed["spans"] = await remove_older(database, "spans", "created_at", settings.span_retention)
    return removed


async def remove_older(database: Database, table: str, column: str, age: timedelta) -> int:
    """Delete rows whose `column` is older than an age; return how many."""
    return await _remove(database, table, f"{column} < now() - $1::interval", age)


async def _remove(database: Database, table: str, condition: str, value: object) -> int:
    statement = (
        f"DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {condition} LIMIT {BATCH}))"
    )
    total = 0
    while True:
        async with database.connection() as connection:
            count = int((await connection.execute(statement, value)).split()[-1])
        total += count
        if count < BATCH:
            return total
