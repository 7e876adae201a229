"""The engine of a process, as its settings say."""

import structlog

from remit.authz.delivery import Deliverer
from remit.authz.delivery_counters import DeliveryCounters
from remit.authz.engine import Connection
from remit.authz.flags import read_policy
from remit.authz.http import HttpRemote
from remit.authz.http_contract import PrincipalSource, plain_principal
from remit.authz.postgres import PostgresEngine
from remit.authz.remote import Remote, RemoteError
from remit.authz.schema_source import find_schema
from remit.authz.subject_names import SubjectNames
from remit.db.pool import Database
from remit.settings import Settings

log = structlog.get_logger(__name__)


async def load_engine(connection: Connection, settings: Settings) -> PostgresEngine:
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
        mode_policy=read_policy(settings),
        outboxed=settings.authz_engine != "embedded",
        list_seconds=settings.list_timeout,
    )


def connect_remote(settings: Settings, principal_of: PrincipalSource = plain_principal) -> Remote | None:
    """The engine elsewhere that the settings name, None for `embedded`. Nothing is sent yet.

    Args:
        settings: name it.
        principal_of: makes the principals that an auth provider is asked about.

    Raises:
        RuntimeError: a setting or the extra that it needs is missing.
        NotOffered: the address of an auth provider is missing.
    """
    if settings.authz_engine == "embedded":
        return None
    if settings.authz_engine == "http":
        return HttpRemote.open(settings, principal_of)
    try:
        from remit.authz.spicedb import SpiceDB
    except ImportError as error:
        raise RuntimeError('REMIT_AUTHZ_ENGINE=spicedb needs the extra: pip install "remit[spicedb]"') from error
    return SpiceDB.open(settings)


async def open_remote(
    settings: Settings, engine: PostgresEngine, principal_of: PrincipalSource = plain_principal
) -> Remote | None:
    """The engine elsewhere that the settings name, with its schema written; None for `embedded`.

    One that does not answer now is no reason not to start: whatever is asked of it is refused until it does, and what
    it is to be told waits in the outbox.

    Raises:
        RuntimeError, NotOffered: as `connect_remote`.
        SchemaError: SpiceDB refuses the schema.
    """
    remote = connect_remote(settings, principal_of)
    if remote is not None:
        try:
            await remote.write_schema(engine.schema)
        except RemoteError as error:
            log.warning("the engine elsewhere does not answer; its schema is not written", cause=repr(error))
    return remote


def make_deliverer(
    settings: Settings, database: Database, engine: PostgresEngine, remote: Remote | None
) -> Deliverer | None:
    """What delivers to the engine elsewhere, None where there is none."""
    if remote is None:
        return None
    names = SubjectNames(settings.authz_subject_ids)
    return Deliverer(database, engine, remote, names, DeliveryCounters(settings.statsd))
