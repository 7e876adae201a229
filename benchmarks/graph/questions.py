"""What the table asks: each row draws another caller or another task every time."""

import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

from graph.data import Data
from graph.inserts import insert_rows
from graph.samples import Pair, Samples, endless
from graph.timing import Ask, Row
from remit.audit import AuditTrail
from remit.authz.caller import Caller
from remit.authz.decide import Decider
from remit.authz.guard import probe
from remit.authz.model import Resource, Subject
from remit.authz.modes import ModeBook
from remit.authz.postgres import PostgresEngine
from remit.db.params import Params
from remit.db.pool import Connection, Database
from remit.identity.principal import Principal
from remit.tasks.service import COLUMNS, TASK

PAGE = 50
BULK = 100
BY_KEY = "a row by its primary key"
UNFILTERED = "a page of 50, unfiltered"
UNFILTERED_DEEP = "a deep page of 50, unfiltered"
UNFILTERED_STATUS = "a page of 50 of one status, unfiltered"
FETCH_100 = "100 rows by their ids"


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
        return [*self._checks(), *self._pages(), *self._bulk(), *insert_rows(self._engine, self._data, self._samples)]

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
            Row("bulk of 100, in 1,000 groups", bulk(endless([callers["crowd"]])), FETCH_100, 4),
        ]
