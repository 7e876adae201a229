"""What the table asks: each row draws another caller or another task every time."""

import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from graph.data import GROUPS_PER_TENANT, Data
from graph.timing import Ask, Row
from remit.audit import AuditTrail
from remit.authz.caller import Caller
from remit.authz.decide import Decider
from remit.authz.guard import probe
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.modes import ModeBook
from remit.authz.postgres import PostgresEngine
from remit.db.params import Params
from remit.db.pool import Connection, Database
from remit.identity.principal import Principal
from remit.ids import new_id
from remit.tasks.service import COLUMNS, TASK

PAGE = 50
BULK = 100
BY_KEY = "a row by its primary key"
UNFILTERED = "a page of 50, unfiltered"
UNFILTERED_DEEP = "a deep page of 50, unfiltered"
UNFILTERED_STATUS = "a page of 50 of one status, unfiltered"
FETCH_100 = "100 rows by their ids"
ALONE = "insert a task alone"
Pair = tuple[str, str]


@dataclass(slots=True)
class Samples:
    """Callers and tasks drawn at random, as ids."""

    tasks: list[str]
    users: list[str]
    tenants: dict[str, str]
    owned: list[Pair]
    by_agent: list[Pair]
    by_admin: list[Pair]
    nested: list[Pair]
    denied: list[Pair]
    crowd: list[str]
    deep: str
    tenant: str
    agent: str


async def draw_samples(connection: "asyncpg.Connection[asyncpg.Record]", data: Data, seed: int) -> Samples:
    """Draw what the rows ask about."""
    tenants, half = data.tenants, GROUPS_PER_TENANT // 2
    numbers = random.Random(seed).sample(range(data.tasks), min(20_000, data.tasks))

    async def pairs(user: str, where: str = "TRUE") -> list[Pair]:
        found = await connection.fetch(
            f"SELECT t.id, s.id FROM bench.tasks t JOIN subjects s ON s.external_id = {user} AND s.kind = 'user'"
            f" WHERE t.n = ANY ($1::bigint[]) AND {where} LIMIT 2000",
            numbers,
        )
        drawn = [(str(task), str(user)) for task, user in found]
        random.Random(seed).shuffle(drawn)
        return drawn

    async def ids(statement: str, *values: object) -> list[str]:
        drawn = [str(row[0]) for row in await connection.fetch(statement, *values)]
        random.Random(seed).shuffle(drawn)
        return drawn

    types = "resource_type = (SELECT code FROM authz_types WHERE name = 'task')"
    # A group of the first half has one subgroup: a member of that, who is not in the group itself.
    member = (
        f"(SELECT 'user' || min(u.n) FROM generate_series(t.tenant, {tenants * 20 - 1}, {tenants}) u(n) WHERE {{0}})"
    )
    groups = f"(ARRAY[bench.draw(u.n, 11, {GROUPS_PER_TENANT}), bench.draw(u.n, 12, {GROUPS_PER_TENANT})])"
    place = "t.viewers / " + str(tenants)
    inside = (
        f"{place} + {half} = ANY ({groups}) AND NOT {place} = ANY ({groups}) AND u.n <> t.owner AND u.n <> t.tenant"
    )
    outside = (
        f"NOT {place} = ANY ({groups}) AND NOT {place} + {half} = ANY ({groups}) AND u.n NOT IN (t.owner, t.tenant,"
        " t.viewer, t.agent)"
    )
    return Samples(
        tasks=await ids("SELECT id FROM bench.tasks WHERE n = ANY ($1::bigint[])", numbers),
        users=await ids("SELECT id FROM subjects WHERE external_id LIKE 'user%'"),
        tenants={
            str(task): str(tenant)
            for task, tenant in await connection.fetch(
                "SELECT t.id, t.tenant_id FROM tasks t JOIN bench.tasks b ON b.id = t.id WHERE b.n = ANY ($1)", numbers
            )
        },
        owned=await pairs("'user' || t.owner"),
        by_agent=await pairs("'user' || t.agent", "t.agent <> t.owner"),
        by_admin=await pairs("'user' || t.tenant", "t.tenant <> t.owner"),
        nested=await pairs(member.format(inside), f"t.n % 2 = 1 AND {place} < {half}"),
        denied=await pairs(member.format(outside)),
        crowd=await ids(
            f"SELECT resource_id FROM relationships WHERE {types} AND subject_id IN"
            " (SELECT bench.id(n, 'crowd' || n) FROM generate_series(1, 1000) n)"
        ),
        deep=str(await connection.fetchval("SELECT id FROM bench.tasks WHERE n = $1", data.tasks // 2)),
        tenant=str(await connection.fetchval("SELECT id FROM tenants WHERE name = 'tenant 1'")),
        agent=str(await connection.fetchval("SELECT id FROM agents WHERE name = 'agent-1'")),
    )


def endless(items: Sequence[Any]) -> Iterator[Any]:
    """The items over and over."""
    if not items:
        raise SystemExit("a sample is empty; load more tasks")
    return itertools.cycle(items)


class _Held(Database):
    """One connection that is held already: taking one from the pool is no part of any other row either."""

    def __init__(self, connection: Connection) -> None:
        self._held = connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        yield self._held


class Questions:
    """Makes the rows."""

    def __init__(self, database: Database, engine: PostgresEngine, data: Data, samples: Samples) -> None:
        self._database = database
        self._engine = engine
        self._data = data
        self._samples = samples

    def make_rows(self) -> list[Row]:
        """Every row of the table, references first in each block."""
        return [*self._checks(), *self._pages(), *self._bulk(), *self._inserts()]

    def _checks(self) -> list[Row]:
        samples = self._samples
        tasks, crowd = endless(samples.tasks), endless(samples.crowd)
        caller = self._data.callers["crowd"]

        async def by_key(connection: Connection) -> object:
            return await connection.fetchrow("SELECT t.id, t.name, t.status FROM tasks t WHERE t.id = $1", next(tasks))

        def check(pairs: Iterator[Pair], expected: bool = True) -> Ask:
            async def ask(connection: Connection) -> object:
                task, user = next(pairs)
                answer = await self._engine.check(connection, Subject("user", user), "read", Resource("task", task))
                if answer is not expected:
                    raise AssertionError(f"{user} read {task}: {answer}")
                return answer

            return ask

        owned = endless(samples.owned)
        audit = AuditTrail(self._database)
        decider = Decider(self._engine, ModeBook(self._engine.mode_policy, self._database))

        async def get(connection: Connection) -> object:
            task, user = next(owned)
            principal = Principal("user", user, samples.tenants[task], "tenant", "user", "key")
            asker = Caller(principal, _Held(connection), decider, audit, "request")
            verdict = await probe(asker, TASK, "read", id=task, columns=COLUMNS)
            if not verdict.allowed:
                raise AssertionError(f"{user} read {task}")
            return verdict

        async def row_by_key(connection: Connection) -> object:
            return await connection.fetchrow(f"SELECT {COLUMNS} FROM tasks t WHERE t.id = $1", next(tasks))

        return [
            Row(BY_KEY, by_key),
            Row("check, depth 1 (owner)", check(endless(samples.owned)), BY_KEY, 4),
            Row("check, depth 2 (owner of the agent)", check(endless(samples.by_agent)), BY_KEY, 4),
            Row("check, depth 2 (admin of the tenant)", check(endless(samples.by_admin)), BY_KEY, 4),
            Row("check, nested groups", check(endless(samples.nested)), BY_KEY, 5),
            Row("check, caller in 1,000 groups", check((task, caller) for task in crowd), BY_KEY, 5),
            Row("check, denied", check(endless(samples.denied), expected=False), BY_KEY, 5),
            Row("get of a task, unauthorized", row_by_key, BY_KEY),
            Row("get of a task with its check", get, BY_KEY, 5),
        ]

    def _pages(self) -> list[Row]:
        samples, engine = self._samples, self._engine

        def unfiltered(where: str, *values: object) -> Ask:
            async def ask(connection: Connection) -> object:
                return await connection.fetch(
                    f"SELECT {COLUMNS} FROM tasks t WHERE {where} ORDER BY t.id DESC LIMIT {PAGE}", *values
                )

            return ask

        def page(users: Iterator[str], before: str | None = None, where: str = TASK.alive, least: int = 0) -> Ask:
            async def ask(connection: Connection) -> object:
                page = await engine.list_rows(
                    connection, Subject("user", next(users)), "read", "task",
                    table="tasks", columns=COLUMNS, where=where, params=Params(), before=before, limit=PAGE,
                )  # fmt: skip
                found = page.rows
                if len(found) < least:
                    raise AssertionError(f"a page of {len(found)} rows")
                return found

            return ask

        rows = [
            Row(UNFILTERED, unfiltered(TASK.alive)),
            Row(UNFILTERED_DEEP, unfiltered(f"{TASK.alive} AND t.id < $1", samples.deep)),
            Row(UNFILTERED_STATUS, unfiltered("t.status = 'COMPLETED'")),
        ]
        least = {"one": 1, "fifty": PAGE, "many": PAGE, "admin": PAGE, "platform": PAGE, "crowd": PAGE}
        shown = {
            "random": "a member drawn at random",
            "none": "who may read 0",
            "one": "who may read 1",
            "fifty": "who may read 50",
            "many": f"who may read {self._data.many:,}, one by one",
            "admin": f"who may read {self._data.many:,}, as admin",
            "platform": f"who may read {self._data.tasks:,}",
            "crowd": "in 1,000 groups, who may read 50",
        }

        def users(name: str) -> Callable[[], Iterator[str]]:
            drawn = samples.users if name == "random" else [self._data.callers[name]]
            return lambda: endless(drawn)

        for name, text in shown.items():
            target, draw = 30 if name == "crowd" else 5, users(name)
            rows += [
                Row(f"first page, {text}", page(draw(), least=least.get(name, 0)), UNFILTERED, target),
                Row(f"deep page, {text}", page(draw(), before=samples.deep), UNFILTERED_DEEP, target),
                Row(f"filtered page, {text}", page(draw(), where="t.status = 'COMPLETED'"), UNFILTERED_STATUS, target),
            ]
        return rows

    def _bulk(self) -> list[Row]:
        samples, engine = self._samples, self._engine
        randomly = random.Random(1)

        def draw() -> list[str]:
            return randomly.sample(samples.tasks, BULK)

        async def fetch(connection: Connection) -> object:
            return await connection.fetch("SELECT t.id, t.name, t.status FROM tasks t WHERE t.id = ANY ($1)", draw())

        def bulk(users: Iterator[str]) -> Ask:
            async def ask(connection: Connection) -> object:
                asked = [Resource("task", task) for task in draw()]
                return await engine.check_many(connection, Subject("user", next(users)), "read", asked)

            return ask

        callers = self._data.callers
        return [
            Row(FETCH_100, fetch),
            Row("bulk of 100, a member drawn at random", bulk(endless(samples.users)), FETCH_100, 4),
            Row("bulk of 100, who may read all", bulk(endless([callers["platform"]])), FETCH_100, 4),
            Row("bulk of 100, in 1,000 groups", bulk(endless([callers["crowd"]])), FETCH_100),
        ]

    def _inserts(self) -> list[Row]:
        samples, engine = self._samples, self._engine
        users = endless(samples.users)
        insert = "INSERT INTO tasks (id, tenant_id, agent_id, status) VALUES ($1, $2, $3, 'RUNNING')"

        async def alone(connection: Connection) -> object:
            return await connection.execute(insert, new_id(), samples.tenant, samples.agent)

        async def related(connection: Connection) -> object:
            params, user, id_ = Params(), next(users), new_id()
            task = Resource("task", id_)
            values = [params.add(value, "uuid") for value in (id_, samples.tenant, samples.agent)]
            relationships = engine.insert_sql(
                params,
                [
                    Relationship(task, "tenant", Subject("tenant", samples.tenant)),
                    Relationship(task, "parent_agent", Subject("agent", samples.agent)),
                    Relationship(task, "owner", Subject("user", user)),
                    Relationship(task, "viewer", Subject("user", self._data.callers["none"])),
                ],
            )
            return await connection.execute(
                "WITH row AS (INSERT INTO tasks (id, tenant_id, agent_id, status)"
                f" VALUES ({', '.join(values)}, 'RUNNING')) {relationships}",
                *params.values,
            )

        return [
            Row(ALONE, alone, writes=True),
            Row("insert a task with its four relationships", related, ALONE, 1.5, writes=True),
        ]
