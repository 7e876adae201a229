"""Keeps the engine of a running process at the schema that holds, and says when that one cannot serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from remit.authz.errors import AuthzError
from remit.db.pool import UNREACHABLE
from remit.errors import Unavailable

if TYPE_CHECKING:
    from remit.authz.engine import Engine
    from remit.db.pool import Database

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 0.4


class SchemaWatch:
    """Takes newer schema versions over, within a second of their commit.

    Args:
        engine: of this process.
        database: where schema versions are stored.
        check: raises an `AuthzError` if the engine's schema lacks what this process asks.
    """

    def __init__(self, engine: Engine, database: Database, check: Callable[[Engine], None] = lambda _: None) -> None:
        self._engine = engine
        self._database = database
        self._check = check
        self.problem: str | None = None
        self._examine()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                async with self._database.connection() as connection:
                    changed = await self._engine.refresh(connection)
            except (Unavailable, *UNREACHABLE) as error:
                log.warning("the schema cannot be confirmed", cause=repr(error))
                continue
            if changed:
                log.info("a newer schema holds")
                self._examine()

    def _examine(self) -> None:
        try:
            self._check(self._engine)
            self.problem = None
        except AuthzError as error:
            # Whatever asks for the missing operation is refused, by the engine itself; the rest still works.
            self.problem = str(error)
            log.error("the schema does not answer what is asked; such requests fail", problem=self.problem)
