"""The engine of a process, as its settings say."""

from remit.authz.engine import Connection, Engine
from remit.authz.modes import ModePolicy
from remit.authz.postgres import PostgresEngine
from remit.authz.schema_source import find_schema
from remit.settings import Settings


async def load_engine(connection: Connection, settings: Settings) -> Engine:
    """Make the engine, with the schema of the settings.

    Raises:
        SchemaError: the schema is refused.
    """
    source = find_schema(settings)
    return await PostgresEngine.load(
        connection,
        source.text,
        source.applied_by,
        source.file,
        replace=source.chosen,
        mode_policy=ModePolicy.read(settings),
    )
