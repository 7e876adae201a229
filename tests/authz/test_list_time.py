"""A list whose time is up says how far it came, or that it came nowhere; it never just comes out short."""

import uuid
from collections.abc import Iterator
from itertools import chain, repeat

import asyncpg
import pytest

from remit.authz.engine import RowPage
from remit.authz.errors import ListTooCostly
from remit.authz.load import load_engine
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.pages import Lister
from remit.authz.plan import describe_plan
from remit.authz.postgres import PostgresEngine
from remit.db.params import Params
from remit.settings import Settings

SCHEMA = """
definition user {}
definition doc {
    relation viewer: user
    relation member: user
    permission read = viewer & member
}
"""
DOCS = [str(uuid.UUID(int=(7 << 76) + (2 << 62) + number)) for number in range(30)]
USER = Subject("user", str(uuid.UUID(int=(7 << 76) + (2 << 62) + 99)))
TABLE = f"(SELECT unnest('{{{','.join(DOCS)}}}'::uuid[]) AS id)"


@pytest.fixture
async def engine(connection: asyncpg.Connection) -> PostgresEngine:
    """Everything can be seen, and only the two oldest may be read."""
    engine = await PostgresEngine.load(connection, SCHEMA, "test", replace=True)
    facts = [Relationship(Resource("doc", doc), "viewer", USER) for doc in DOCS]
    facts += [Relationship(Resource("doc", doc), "member", USER) for doc in DOCS[:2]]
    await engine.write(connection, touch=facts)
    return engine


async def test_the_time_is_a_setting_that_outlives_a_change_of_schema(connection: asyncpg.Connection) -> None:
    engine = await load_engine(connection, Settings(list_timeout=0.25))
    await PostgresEngine.load(connection, SCHEMA, "test", replace=True)
    assert await engine.refresh(connection)
    use_clock(engine, chain(repeat(0.0, 2), repeat(9.0)), seconds=engine.lister.seconds)
    with pytest.raises(ListTooCostly, match=r"longer than 0\.25 s"):
        await read(engine, connection)
    assert "0.125 s" in describe_plan(engine, "doc", "read").forms[-1]


def use_clock(engine: PostgresEngine, times: Iterator[float], seconds: float = 2) -> None:
    engine.lister = Lister(engine.compiler_for, seconds=seconds, now=lambda: next(times))


async def read(engine: PostgresEngine, connection: asyncpg.Connection, before: str | None = None) -> RowPage:
    return await engine.list_rows(
        connection, USER, "read", "doc", table=TABLE, columns="t.id", where="TRUE", params=Params(),
        before=before, limit=2,
    )  # fmt: skip


async def test_with_time_enough_the_page_is_full(engine: PostgresEngine, connection: asyncpg.Connection) -> None:
    use_clock(engine, repeat(0.0))
    page = await read(engine, connection)
    assert [str(row["id"]) for row in page.rows] == [DOCS[1], DOCS[0]]
    assert page.unfinished_after is None


async def test_what_was_settled_in_time_can_be_gone_on_from(
    engine: PostgresEngine, connection: asyncpg.Connection
) -> None:
    # The clock is looked at when the list begins, for what is remembered of the caller, and before each statement.
    use_clock(engine, chain(repeat(0.0, 3), repeat(9.0)))
    page = await read(engine, connection)
    assert (page.rows, page.unfinished_after) == ([], DOCS[28])
    use_clock(engine, repeat(0.0))
    rest = await read(engine, connection, before=page.unfinished_after)
    assert [str(row["id"]) for row in rest.rows] == [DOCS[1], DOCS[0]]


async def test_nothing_settled_is_an_error(engine: PostgresEngine, connection: asyncpg.Connection) -> None:
    use_clock(engine, chain(repeat(0.0, 2), repeat(9.0)))
    with pytest.raises(ListTooCostly, match="longer than 2 s"):
        await read(engine, connection)
