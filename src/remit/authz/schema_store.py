"""Schema versions and the codes of types and relations, in the database.

Codes are given once and never used again: relationships hold them for ever. Every version of the schema stays, with
who applied it and when.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from remit.authz.engine import Connection
from remit.authz.errors import SchemaError
from remit.authz.relationship_sql import Codes
from remit.authz.schema import parse_schema
from remit.authz.schema_check import check_schema
from remit.authz.schema_tree import Schema

_LOCK: Final = 0x52656D6974_01  # "Remit", then one number per purpose
_MAX_CODE: Final = 32_767


@dataclass(frozen=True, slots=True)
class LoadedSchema:
    """A schema version with its codes and the name of the database cluster that holds it."""

    version: int
    schema: Schema
    codes: Codes
    cluster: str


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version of the schema that holds or held, with who applied it and when."""

    version: int
    applied_at: datetime
    applied_by: str
    source: str


def names_of(schema: Schema) -> tuple[list[str], list[str]]:
    """The type names and the relation names of a schema, in the order written."""
    types = [definition.name for definition in schema.definitions]
    relations = dict.fromkeys(member.name for definition in schema.definitions for member in definition.members)
    return types, list(relations)


async def load_schema(
    connection: Connection, source: str, applied_by: str, file: str = "schema.zed", *, replace: bool = False
) -> LoadedSchema:
    """Load the schema that holds in this database, storing `source` first where it is due.

    `source` is stored when the database has no schema yet, or when its newest version was stored under the same
    `applied_by` and differs: a new release brings its own. A version that somebody else applied is left in place,
    unless `replace` says that this source was chosen on purpose.
    Several processes may start at once; nothing is locked when nothing changes.

    Raises:
        SchemaError: the schema is refused.
    """
    schema = check_schema(parse_schema(source, file))
    newest = await _read_newest(connection)
    if newest is None or ((replace or newest["applied_by"] == applied_by) and newest["source"] != source):
        async with connection.transaction():
            await lock_schema(connection)
            newest = await _read_newest(connection)
            if newest is None or ((replace or newest["applied_by"] == applied_by) and newest["source"] != source):
                await store_version(connection, schema, applied_by)
        newest = await _read_newest(connection)
        assert newest is not None
    return await read_schema(connection, newest)


async def lock_schema(connection: Connection) -> None:
    """Let one transaction at a time change the schema."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)


async def newest_version(connection: Connection) -> int:
    """The number of the newest schema version, 0 for none."""
    return int(await connection.fetchval("SELECT coalesce(max(version), 0) FROM authz_schemas"))


async def read_history(connection: Connection) -> list[StoredVersion]:
    """Every version that was ever applied, the newest first."""
    rows = await connection.fetch(
        "SELECT version, applied_at, applied_by, source FROM authz_schemas ORDER BY version DESC"
    )
    return [StoredVersion(*row) for row in rows]


async def read_schema(connection: Connection, row: asyncpg.Record | None = None) -> LoadedSchema:
    """Load the newest stored schema.

    Raises:
        SchemaError: none is stored, or the stored one is not understood by this release.
    """
    row = row or await _read_newest(connection)
    if row is None:
        raise SchemaError("the database holds no schema", suggestion="start the server once, or apply a schema")
    schema = check_schema(parse_schema(row["source"], f"schema version {row['version']}"))
    types = {name: code for code, name in await connection.fetch("SELECT code, name FROM authz_types")}
    relations = {name: code for code, name in await connection.fetch("SELECT code, name FROM authz_relations")}
    cluster = await connection.fetchval("SELECT to_hex(system_identifier) FROM pg_control_system()")
    return LoadedSchema(row["version"], schema, Codes(types, relations), cluster)


async def store_version(connection: Connection, schema: Schema, applied_by: str) -> int:
    """Give codes to new names and store the schema as the newest version, in the caller's transaction.

    Raises:
        SchemaError: there are more names than codes.
    """
    types, relations = names_of(schema)
    for table, names in (("authz_types", types), ("authz_relations", relations)):
        rows = await connection.fetch(f"SELECT code, name FROM {table}")
        known = {row["name"] for row in rows}
        code = max((row["code"] for row in rows), default=0)
        new = [name for name in names if name not in known]
        if code + len(new) > _MAX_CODE:
            raise SchemaError(f"more than {_MAX_CODE} names have been used in this database")
        await connection.executemany(
            f"INSERT INTO {table} (code, name) VALUES ($1, $2)",
            [(code + offset, name) for offset, name in enumerate(new, 1)],
        )
    digest = hashlib.sha256(schema.source.encode()).digest()
    return int(
        await connection.fetchval(
            "INSERT INTO authz_schemas (source, sha256, applied_by) VALUES ($1, $2, $3) RETURNING version",
            schema.source,
            digest,
            applied_by,
        )
    )


async def _read_newest(connection: Connection) -> asyncpg.Record | None:
    return await connection.fetchrow(
        "SELECT version, source, applied_by FROM authz_schemas ORDER BY version DESC LIMIT 1"
    )
