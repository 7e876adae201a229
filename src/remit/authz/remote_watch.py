"""Whether an engine elsewhere can answer what this process asks: its schema written, its operations known to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import structlog

from remit.authz.errors import AuthzError
from remit.authz.remote import RemoteError
from remit.authz.schema_tree import Schema

if TYPE_CHECKING:
    from remit.authz.postgres import PostgresEngine
    from remit.authz.remote import Remote

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 30.0


class RemoteWatch:
    """Gives an engine elsewhere the schema that holds, and asks it once for every operation.

    An engine that has answered and is away afterwards is no problem of this kind: what is asked of it is refused then,
    and what it is to be told waits in the outbox.

    Args:
        engine: of this process, whose schema holds.
        remote: the engine elsewhere.
        questions: what this process asks, each as `type.permission`.
    """

    def __init__(self, engine: PostgresEngine, remote: Remote, questions: Callable[[], Iterable[str]]) -> None:
        self._engine = engine
        self._remote = remote
        self._questions = questions
        self._written: Schema | None = None
        self.problem: str | None = "it has not been asked yet"

    async def run(self) -> None:
        """Watch until cancelled: until there is no problem, after every change of the schema, and now and then."""
        while True:
            waited = 0.0
            while waited < AGAIN_SECONDS and self.problem is None and self._engine.schema is self._written:
                await asyncio.sleep(RETRY_SECONDS)
                waited += RETRY_SECONDS
            if not await self.prepare():
                await asyncio.sleep(RETRY_SECONDS)

    async def prepare(self) -> bool:
        """Write the schema where the engine has one, and ask for every operation; return whether all is well."""
        schema = self._engine.schema
        known, before = self._written is not None, self.problem
        try:
            await prepare(self._remote, schema, self._questions())
        except RemoteError as error:
            if known and before is None:
                return False
            self.problem = f"it gives no answer: {error}"
        except AuthzError as error:
            self.problem = str(error)
        else:
            self._written, self.problem = schema, None
            return True
        if self.problem != before:
            log.error("the engine elsewhere cannot answer what is asked; such requests fail", problem=self.problem)
        return False


async def prepare(remote: Remote, schema: Schema, questions: Iterable[str]) -> None:
    """Write the schema to an engine elsewhere that has one, and make sure that it knows every operation.

    Raises:
        SchemaError: it refuses the schema.
        PermissionUnknown: it lacks operations, which are named.
        RemoteError: no answer.
    """
    await remote.write_schema(schema)
    await probe(remote, questions)


async def probe(remote: Remote, questions: Iterable[str]) -> None:
    """Make sure that an engine elsewhere knows every operation.

    Raises:
        PermissionUnknown, RemoteError: as `prepare`.
    """
    pairs = (one.partition(".") for one in sorted(set(questions)))
    await remote.probe([(type, permission) for type, _, permission in pairs])
