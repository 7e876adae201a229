"""SpiceDB beside the engine: the same relationships in the same PostgreSQL, and the same questions.

SpiceDB is the library of `scripts/get-spicedb`, called in this process. It has no command that makes its tables, so
they are made as those of its host in `tests/support` are.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
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

from graph.data import Data, warm_up
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
_KEY = "namespace, object_id, relation, userset_namespace, userset_object_id, userset_relation"
_HAS = CheckPermissionResponse.PERMISSIONSHIP_HAS_PERMISSION
_SUPPORT = Path(__file__).parents[2] / "tests" / "support"
# Dated back: SpiceDB answers as of the first transaction of the last five seconds, which is to be that of the schema.
_COPY = f"""
INSERT INTO relation_tuple ({_KEY})
SELECT rt.name, r.resource_id, rr.name, st.name, r.subject_id, coalesce(sr.name, '...')
  FROM public.relationships r JOIN public.authz_types rt ON rt.code = r.resource_type
  JOIN public.authz_relations rr ON rr.code = r.relation JOIN public.authz_types st ON st.code = r.subject_type
  LEFT JOIN public.authz_relations sr ON sr.code = r.subject_relation ORDER BY r.resource_type, r.resource_id;
INSERT INTO relation_tuple_transaction (timestamp) VALUES (now() AT TIME ZONE 'UTC' - interval '1 minute');
"""


async def copy_relationships(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Make SpiceDB's tables in a schema of their own and fill them, unless an earlier run did; warm them up."""
    if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", SCHEMA):
        tables, indexes = ((_SUPPORT / f"spicedb_{name}.sql").read_text() for name in ("tables", "indexes"))
        async with connection.transaction():
            await connection.execute(f"CREATE SCHEMA {SCHEMA}; SET LOCAL search_path = {SCHEMA}; {tables}")
            await connection.execute(_COPY)
            await connection.execute(f"SET LOCAL maintenance_work_mem = '512MB'; {indexes}")
        await connection.execute(f"VACUUM (ANALYZE, FREEZE) {SCHEMA}.relation_tuple")
    await warm_up(connection, SCHEMA)


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
