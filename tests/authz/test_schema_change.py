"""Schema changes: shown, refused where they would orphan relationships, kept with who and when, taken over."""

import asyncpg
import pytest

from remit.authz.errors import SchemaError, SchemaInUse
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.schema import parse_schema
from remit.authz.schema_change import apply_schema
from remit.authz.schema_check import check_schema

BEFORE = """
definition user {}

definition task {
    relation owner: user
    relation viewer: user
    permission read = viewer + owner
    permission cancel = owner
}
"""
VIEWER_MAY_CANCEL = BEFORE.replace("cancel = owner", "cancel = owner + viewer")
TASK, BOB = Resource("task", "t-1"), Subject("user", "bob")


async def test_a_viewer_may_cancel_once_the_schema_says_so(connection: asyncpg.Connection) -> None:
    engine = await PostgresEngine.load(connection, BEFORE, "test", replace=True)
    other = await PostgresEngine.load(connection, BEFORE, "test", replace=True)
    await engine.write(connection, touch=[Relationship(TASK, "viewer", BOB)])
    assert not await other.check(connection, BOB, "cancel", TASK)
    change = await apply_schema(connection, VIEWER_MAY_CANCEL, "cli:alice")
    assert change.lines == ("~ permission task#cancel: owner  ->  owner + viewer",)
    assert await other.refresh(connection)
    assert not await other.refresh(connection)
    assert await other.check(connection, BOB, "cancel", TASK)
    kept = await connection.fetch("SELECT source, applied_by FROM authz_schemas ORDER BY version DESC LIMIT 2")
    assert [tuple(row) for row in kept] == [(VIEWER_MAY_CANCEL, "cli:alice"), (BEFORE, "test")]


async def test_a_relation_that_is_in_use_cannot_go(connection: asyncpg.Connection) -> None:
    engine = await PostgresEngine.load(connection, BEFORE, "test", replace=True)
    await engine.write(connection, touch=[Relationship(TASK, "viewer", BOB)])
    without = BEFORE.replace("    relation viewer: user\n", "").replace("viewer + ", "")
    with pytest.raises(SchemaInUse, match=r"    1 relationship task#viewer@user on task:t-1\n"):
        await apply_schema(connection, without, "cli:alice")
    more = [Relationship(Resource("task", f"t-{number}"), "viewer", BOB) for number in range(2, 9)]
    await engine.write(connection, touch=more)
    with pytest.raises(SchemaInUse, match=r"8 relationships task#viewer@user on (task:t-\d, ){4}task:t-\d and 3 more"):
        await apply_schema(connection, without, "cli:alice")
    await engine.write(connection, delete=[Relationship(TASK, "viewer", BOB), *more])
    assert (await apply_schema(connection, without, "cli:alice")).version is not None


async def test_codes_are_never_given_again(connection: asyncpg.Connection) -> None:
    await PostgresEngine.load(connection, BEFORE, "test", replace=True)
    before = {name: code for code, name in await connection.fetch("SELECT code, name FROM authz_relations")}
    renamed = BEFORE.replace("viewer", "reader")
    await apply_schema(connection, renamed, "cli:alice")
    after = {name: code for code, name in await connection.fetch("SELECT code, name FROM authz_relations")}
    assert after == before | {"reader": max(before.values()) + 1}


async def test_a_schema_that_another_applied_survives_a_restart(connection: asyncpg.Connection) -> None:
    await PostgresEngine.load(connection, BEFORE, "remit", replace=True)
    await apply_schema(connection, VIEWER_MAY_CANCEL, "cli:alice")
    engine = await PostgresEngine.load(connection, BEFORE, "remit")
    assert engine.schema.source == VIEWER_MAY_CANCEL


@pytest.mark.parametrize(
    ("source", "line", "column", "words"),
    [
        ("definition user {}\ndefinition task {\n  relation owner: usr\n}", 3, 19, "did you mean 'user'?"),
        (
            "definition user {}\ndefinition task {\n  permission foo = ownr\n  relation owner: user\n}",
            3,
            20,
            "'owner'?",
        ),
        ("definition user {}\ndefinition task {\n  permission foo = (\n}", 4, 1, "unexpected '}'"),
        ("caveat foo(a int) {\n  a > 1\n}", 1, 1, "caveats are not supported"),
        ("definition user {}\ndefinition task {\n  relation owner: user with tuesday\n}", 3, 29, "caveats are not"),
        ("definition task {\n  permission foo = bar\n  permission bar = foo\n}", 2, 14, "no way out"),
        ("definition user {}\ndefinition user {}", 2, 12, "given twice"),
        (
            "definition user {}\ndefinition task {\n  relation all: user:*\n  permission foo = all->foo\n}",
            4,
            20,
            "arrow",
        ),
        ("definition task {\n  permission foo = " + "(" * 60 + "nil" + ")" * 60 + "\n}", 2, 70, "nested"),
    ],
)
async def test_errors_point_at_the_place(source: str, line: int, column: int, words: str) -> None:
    with pytest.raises(SchemaError) as caught:
        check_schema(parse_schema(source))
    assert (caught.value.line, caught.value.column) == (line, column)
    assert words in str(caught.value)
