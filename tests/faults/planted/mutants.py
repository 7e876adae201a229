"""Faults of the product, each planted by replacing functions: a campaign must find every one of them."""

import time
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


def _replace(owner: Any, name: str, new: Any) -> None:
    """Replace a name where it is used; one that is not there any more would plant nothing.

    Raises:
        AttributeError: it is not there.
    """
    getattr(owner, name)
    setattr(owner, name, new)


def _no_overlay() -> None:
    from remit.authz import decide

    _replace(decide, "overlay_sql", lambda *_, **__: "'ask'")


def _entry_outside() -> None:
    """The outbox learns of a change once its transaction has committed, in a transaction of its own."""
    from remit.authz import caller, writes

    async def forget(*_: Any, **__: Any) -> None:
        return None

    _replace(writes, "entry_sql", lambda *_, **__: None)
    _replace(writes, "add_entries", forget)
    tell = caller.Caller.tell

    async def enter_and_tell(self: caller.Caller, resource: Any) -> Any:
        async with self.database.connection() as connection:
            await connection.execute(
                "INSERT INTO outbox (tenant_id, resource_type, resource_id, version, revocation)"
                " VALUES ($1, $2, $3::uuid, pg_current_xact_id()::text::bigint, 1)",
                self.principal.tenant_id,
                resource.type,
                resource.id,
            )
        return await tell(self, resource)

    _replace(caller.Caller, "tell", enter_and_tell)


def _no_precondition() -> None:
    from remit.authz import spicedb_projection

    original = vars(spicedb_projection)["WriteRelationshipsRequest"]
    _replace(spicedb_projection, "WriteRelationshipsRequest", lambda updates, **_: original(updates=updates))


MUTANTS: dict[str, Callable[[], None]] = {
    "no-overlay": _no_overlay,
    "entry-outside": _entry_outside,
    "no-precondition": _no_precondition,
}


def plant(name: str) -> None:
    """Plant one in this process."""
    MUTANTS[name]()


def skew(seconds: float) -> None:
    """Have this process's clock go wrong by so much, wherever the product reads it: its ids, and what expires.

    The libraries keep the right time: one that asks the kernel and Python in turn would only fall out with itself.
    """
    import datetime as dt

    from remit import ids
    from remit.identity import members

    def now() -> int:
        return time.time_ns() + int(seconds * 1_000_000_000)

    def new_id() -> str:
        tail = uuid.uuid4().int & ((1 << 76) - 1) & ~(3 << 62) | (2 << 62)
        return str(uuid.UUID(int=(now() // 1_000_000 << 80) | (7 << 76) | tail))

    class Skewed(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "Skewed":
            return cls.fromtimestamp(time.time() + seconds, tz)

    _replace(ids, "new_id", new_id)
    _replace(ids, "time", SimpleNamespace(time_ns=now))
    _replace(members, "datetime", Skewed)
