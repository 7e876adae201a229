"""SpiceDB beside the engine: the same relationships in the same PostgreSQL, and the same questions.

SpiceDB is the library of `scripts/get-spicedb`, called in this process. It has no command that makes its tables, so
they are made here: as SpiceDB's own migrations leave them, up to the one named below.
"""

import asyncio
import random
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
from authzed.api.v1 import (
    CheckBulkPermissionsRequest,
    CheckBulkPermissionsRequestItem,
    CheckPermissionRequest,
    CheckPermissionResponse,
    Consistency,
    LookupResourcesRequest,
    WriteSchemaRequest,
)
from authzed.api.v1.permission_service_pb2_grpc import PermissionsServiceStub

from graph.data import Data
from graph.questions import BULK, PAGE, Questions
from graph.samples import Pair, Samples, endless
from graph.timing import Ask, Row
from remit.authz.model import Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.schema_print import print_schema
from remit.authz.spicedb_library import start_library
from remit.authz.spicedb_wire import to_object, to_subject
from remit.db.pool import Connection

SCHEMA = "spicedb"
_MIGRATION = "populate-schema-tables"
_ALIVE = "'9223372036854775807'::xid8"
_LIFE = f"created_xid xid8 NOT NULL DEFAULT pg_current_xact_id(), deleted_xid xid8 NOT NULL DEFAULT {_ALIVE}"
_KEY = "namespace, object_id, relation, userset_namespace, userset_object_id, userset_relation"
_HAS = CheckPermissionResponse.PERMISSIONSHIP_HAS_PERMISSION

_TABLES = f"""
CREATE TABLE alembic_version (version_num varchar NOT NULL);
INSERT INTO alembic_version VALUES ('{_MIGRATION}');
CREATE TABLE metadata (unique_id varchar PRIMARY KEY);
CREATE TABLE relation_tuple_transaction (
  xid xid8 CONSTRAINT pk_rttx PRIMARY KEY DEFAULT pg_current_xact_id(),
  timestamp timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
  snapshot pg_snapshot NOT NULL DEFAULT pg_current_snapshot(), metadata jsonb NOT NULL DEFAULT '{{}}');
CREATE INDEX ix_relation_tuple_transaction_by_timestamp ON relation_tuple_transaction (timestamp);
CREATE INDEX ix_relation_tuple_transaction_xid_desc_timestamp ON relation_tuple_transaction (xid DESC, timestamp);
CREATE TABLE namespace_config (namespace varchar NOT NULL, serialized_config bytea NOT NULL, {_LIFE},
  CONSTRAINT pk_namespace_config PRIMARY KEY (namespace, created_xid, deleted_xid),
  CONSTRAINT uq_namespace_living_xid UNIQUE (namespace, deleted_xid));
CREATE TABLE caveat (name varchar NOT NULL, definition bytea NOT NULL, {_LIFE},
  CONSTRAINT pk_caveat_v2 PRIMARY KEY (name, deleted_xid),
  CONSTRAINT uq_caveat_v2 UNIQUE (name, created_xid, deleted_xid));
CREATE TABLE relationship_counter (name varchar CONSTRAINT pk_relationship_counter PRIMARY KEY,
  serialized_filter bytea NOT NULL, current_count bigint NOT NULL DEFAULT 0, updated_revision_snapshot pg_snapshot,
  {_LIFE}, CONSTRAINT uq_relationship_counter_living UNIQUE (name, deleted_xid));
CREATE TABLE schema (name varchar NOT NULL, chunk_index int NOT NULL, chunk_data bytea NOT NULL, {_LIFE},
  CONSTRAINT pk_schema PRIMARY KEY (name, chunk_index, created_xid));
CREATE TABLE schema_revision (name varchar NOT NULL DEFAULT 'current', hash bytea NOT NULL, {_LIFE},
  CONSTRAINT pk_schema_revision PRIMARY KEY (name, created_xid));
CREATE TABLE relation_tuple (namespace varchar NOT NULL, object_id varchar NOT NULL, relation varchar NOT NULL,
  userset_namespace varchar NOT NULL, userset_object_id varchar NOT NULL, userset_relation varchar NOT NULL,
  caveat_name varchar, caveat_context jsonb, {_LIFE}, expiration timestamptz);
"""
_INDEXES = f"""
ALTER TABLE relation_tuple ADD CONSTRAINT pk_relation_tuple PRIMARY KEY ({_KEY}, created_xid, deleted_xid);
ALTER TABLE relation_tuple ADD CONSTRAINT uq_relation_tuple_living_xid UNIQUE ({_KEY}, deleted_xid);
CREATE INDEX ix_relation_tuple_by_subject ON relation_tuple
  (userset_object_id, userset_namespace, userset_relation, namespace, relation);
CREATE INDEX ix_relation_tuple_by_subject_relation ON relation_tuple
  (userset_namespace, userset_relation, namespace, relation);
CREATE INDEX ix_relation_tuple_alive_by_resource_rel_subject_covering ON relation_tuple
  (namespace, relation, userset_namespace) INCLUDE (userset_object_id, userset_relation, caveat_name, caveat_context)
  WHERE deleted_xid = {_ALIVE};
CREATE INDEX ix_gc_index ON relation_tuple (deleted_xid DESC) WHERE deleted_xid < {_ALIVE};
CREATE INDEX ix_watch_api_index ON relation_tuple (created_xid);
CREATE INDEX ix_relation_tuple_expired ON relation_tuple (expiration) WHERE expiration IS NOT NULL;
"""
_COPY = f"""
INSERT INTO relation_tuple ({_KEY})
SELECT rt.name, r.resource_id, rr.name, st.name, r.subject_id, coalesce(sr.name, '...')
  FROM public.relationships r JOIN public.authz_types rt ON rt.code = r.resource_type
  JOIN public.authz_relations rr ON rr.code = r.relation JOIN public.authz_types st ON st.code = r.subject_type
  LEFT JOIN public.authz_relations sr ON sr.code = r.subject_relation ORDER BY r.resource_type, r.resource_id;
INSERT INTO relation_tuple_transaction DEFAULT VALUES;
"""


async def copy_relationships(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Make SpiceDB's tables in a schema of their own and fill them, unless an earlier run did."""
    if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", SCHEMA):
        async with connection.transaction():
            await connection.execute(f"CREATE SCHEMA {SCHEMA}; SET LOCAL search_path = {SCHEMA}; {_TABLES}")
            await connection.execute(f"INSERT INTO {SCHEMA}.metadata VALUES ($1)", str(uuid.uuid4()))
            await connection.execute(_COPY)
            await connection.execute(f"SET LOCAL maintenance_work_mem = '512MB'; {_INDEXES}")
        await connection.execute(f"VACUUM (ANALYZE, FREEZE) {SCHEMA}.relation_tuple")
    await connection.execute(
        "SELECT bench.pg_prewarm(c.oid) FROM pg_class c WHERE c.relnamespace = to_regnamespace($1)"
        " AND c.relkind IN ('r', 'i')",
        SCHEMA,
    )


class SpiceDB:
    """The library on those tables, and rows that ask it what `Questions` asks the engine; `close` it when done.

    Attributes:
        threads: calls are made there when set; they block, and 16 at once need as many threads.
    """

    def __init__(self, dsn: str, engine: PostgresEngine) -> None:
        separator = "&" if "?" in dsn else "?"
        self._library = start_library(f"{dsn}{separator}search_path={SCHEMA}")
        self._library.schema().WriteSchema(WriteSchemaRequest(schema=print_schema(engine.schema)))
        self._permissions = self._library.permissions()
        # The library takes streams on its socket only.
        self._streams = PermissionsServiceStub(self._library.channel())
        self.threads: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """End the library."""
        self._library.close()

    def make_rows(self, questions: Questions, data: Data, samples: Samples) -> list[Row]:
        """Pairs of rows: the engine's, and SpiceDB's with the engine's as its reference."""
        rows = {row.name: row for row in questions.make_rows()}
        crowd, callers = data.callers["crowd"], data.callers
        asked: list[tuple[str, Ask, float]] = [
            ("check, depth 1 (owner)", self._check(endless(samples.owned)), 25),
            ("check, depth 2 (owner of the agent)", self._check(endless(samples.by_agent)), 25),
            ("check, depth 2 (admin of the tenant)", self._check(endless(samples.by_admin)), 25),
            ("check, nested groups", self._check(endless(samples.nested)), 25),
            ("check, caller in 1,000 groups", self._check((task, crowd) for task in endless(samples.crowd)), 25),
            ("check, denied", self._check(endless(samples.denied), expected=False), 25),
            ("bulk of 100, a member drawn at random", self._bulk(endless(samples.users), samples), 8),
            ("bulk of 100, who may read all", self._bulk(endless([callers["platform"]]), samples), 8),
            ("first page, a member drawn at random", self._page(endless(samples.users), 0), 40),
            ("first page, who may read 50", self._page(endless([callers["fifty"]]), PAGE), 40),
            (f"first page, who may read {data.many:,}, one by one", self._page(endless([callers["many"]]), PAGE), 40),
            (f"first page, who may read {data.many:,}, as admin", self._page(endless([callers["admin"]]), PAGE), 40),
            (f"first page, who may read {data.tasks:,}", self._page(endless([callers["platform"]]), PAGE), 40),
        ]
        found = []
        for name, ask, target in asked:
            found += [rows[name], Row(f"SpiceDB: {name}", ask, name, target)]
        return found

    async def _call(self, call: Callable[[Any], Any], request: Any) -> Any:
        if self.threads is None:
            return call(request)
        return await asyncio.get_running_loop().run_in_executor(self.threads, call, request)

    def _check(self, pairs: Iterator[Pair], *, expected: bool = True) -> Ask:
        async def ask(_: Connection) -> object:
            task, user = next(pairs)
            request = CheckPermissionRequest(
                consistency=Consistency(minimize_latency=True),
                resource=to_object("task", task),
                permission="read",
                subject=to_subject(Subject("user", user)),
            )
            answer = await self._call(self._permissions.CheckPermission, request)
            if (answer.permissionship == _HAS) is not expected:
                raise AssertionError(f"SpiceDB: {user} read {task}: {answer.permissionship}")
            return answer

        return ask

    def _bulk(self, users: Iterator[str], samples: Samples) -> Ask:
        randomly = random.Random(1)

        async def ask(_: Connection) -> object:
            subject = to_subject(Subject("user", next(users)))
            tasks = randomly.sample(samples.tasks, BULK)
            request = CheckBulkPermissionsRequest(
                consistency=Consistency(minimize_latency=True),
                items=[
                    CheckBulkPermissionsRequestItem(
                        resource=to_object("task", task), permission="read", subject=subject
                    )
                    for task in tasks
                ],
            )
            return await self._call(self._permissions.CheckBulkPermissions, request)

        return ask

    def _page(self, users: Iterator[str], least: int) -> Ask:
        def read(request: LookupResourcesRequest) -> int:
            return sum(1 for _ in self._streams.LookupResources(request))

        async def ask(_: Connection) -> object:
            request = LookupResourcesRequest(
                consistency=Consistency(minimize_latency=True),
                resource_object_type="task",
                permission="read",
                subject=to_subject(Subject("user", next(users))),
                optional_limit=PAGE,
            )
            count = await self._call(read, request)
            if count < least:
                raise AssertionError(f"SpiceDB: a page of {count}")
            return count

        return ask
