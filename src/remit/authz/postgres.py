"""The embedded engine: checks, lists and relationships in the PostgreSQL that holds the rows."""

from __future__ import annotations

from remit.authz.engine import Connection
from remit.authz.errors import SchemaError
from remit.authz.lookups import Lookups
from remit.authz.modes import ModePolicy
from remit.authz.pages import LIST_SECONDS
from remit.authz.reads import Reads
from remit.authz.schema_store import LoadedSchema, load_schema, newest_version, read_schema
from remit.authz.writes import Writes


class PostgresEngine(Lookups, Reads, Writes):
    """Answers from the table `relationships` (the port is `engine.Engine`).

    Attributes:
        mode_policy: decides what is registered.
        outboxed: an engine elsewhere keeps a projection, so that each change is recorded in the outbox as well.
        list_seconds: how long a list may take.
    """

    def __init__(
        self,
        loaded: LoadedSchema,
        mode_policy: ModePolicy | None = None,
        *,
        outboxed: bool = False,
        list_seconds: float = LIST_SECONDS,
    ) -> None:
        self.mode_policy = mode_policy or ModePolicy()
        self.outboxed = outboxed
        self.list_seconds = list_seconds
        super().__init__(loaded)
        self._version = loaded.version

    @classmethod
    async def load(
        cls,
        connection: Connection,
        schema_source: str,
        applied_by: str,
        file: str = "schema.zed",
        *,
        replace: bool = False,
        mode_policy: ModePolicy | None = None,
        outboxed: bool = False,
        list_seconds: float = LIST_SECONDS,
    ) -> PostgresEngine:
        """Load the database's schema, storing `schema_source` where it is due (see `schema_store.load_schema`).

        Raises:
            SchemaError: the schema is refused.
        """
        loaded = await load_schema(connection, schema_source, applied_by, file, replace=replace)
        return cls(loaded, mode_policy, outboxed=outboxed, list_seconds=list_seconds)

    async def refresh(self, connection: Connection) -> bool:
        """Take over a newer schema version, if there is one; return whether there was. One cheap statement if not.

        A version that this release does not understand is not passed over: whoever applied it may have taken rights
        away. Until there is one that can be read, every question and every write fails with `SchemaUnusable`.
        """
        version = await newest_version(connection)
        if version == self._version:
            return False
        try:
            loaded = await read_schema(connection)
        except SchemaError as error:
            self._unusable, self._version = f"schema version {version} cannot be used: {error}", version
            return True
        self._use(loaded)
        self._version = loaded.version
        return True
