"""What the engine refuses, with what to do; nothing is half written."""

from datetime import UTC, datetime

import asyncpg
import pytest
from authz.judge import Judge, JudgeRefuses

from remit.authz.errors import (
    DEPTH_MARK,
    DepthExceeded,
    PermissionUnknown,
    PreconditionFailed,
    RelationshipError,
    SchemaError,
    ZedtokenError,
    translate_database_errors,
)
from remit.authz.ids import check_id
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.schema import parse_schema
from remit.authz.schema_check import check_schema
from remit.authz.validation_files import parse_relationship

SCHEMA = """
use expiration

definition user {}

definition group {
    relation member: user | group#member
}

definition task {
    relation owner: user
    relation viewer: user | group#member | user with expiration
    permission read = viewer + owner
}
"""
# Each with what its message says.
ODD_IDS = {
    "": "is empty",
    "al!ce": "has '!'",
    "a b": "has ' '",
    "ä": "has 'ä'",
    "a@b": "has '@'",
    "a#b": "has '#'",
    "a:b": "has ':'",
    "a.b": "has '.'",
    "a*": "has '*'",
    "a\n": "has '\\n'",
    "a\0": "has '\\x00'",
    "x" * 1025: "at most 1024",
}
ALICE, TASK = Subject("user", "alice"), Resource("task", "t-1")


@pytest.fixture
async def engine(connection: asyncpg.Connection) -> PostgresEngine:
    return await PostgresEngine.load(connection, SCHEMA, "test", replace=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("taks:t-1#owner@user:alice", "did you mean 'task'?"),
        ("task:t-1#onwer@user:alice", "did you mean 'owner'?"),
        ("task:t-1#read@user:alice", "is a permission"),
        ("task:t-1#owner@group:eng#member", "takes user, not group#member"),
        ("task:t-1#owner@user:*", "not user:*"),
        ("task:t-1#owner@user:al!ce", "has '!'"),
        ("task:t-1#owner@user:" + "x" * 1025, "at most 1024"),
        ("task:t-1#owner@user:alice[expiration:2300-01-01T00:00:00Z]", "without expiration"),
    ],
)
async def test_a_refused_relationship_leaves_nothing_behind(
    text: str, words: str, engine: PostgresEngine, connection: asyncpg.Connection
) -> None:
    fine = Relationship(TASK, "owner", Subject("user", "bob"))
    with pytest.raises(RelationshipError) as caught:
        await engine.write(connection, touch=[fine, parse_relationship(text)])
    assert words in str(caught.value)
    assert await engine.read(connection, TASK) == []


@pytest.mark.parametrize(
    ("resource", "relation", "subject", "words"),
    [
        (TASK, "owner", Subject("usr", "alice"), "takes user, not usr"),
        (TASK, "owner", Subject("user", "alice", "member"), "takes user, not user#member"),
        (TASK, "viewer", Subject("group", "eng", "mamber"), "not group#mamber"),
        (TASK, "viewer", Subject("group", "eng"), "takes user | group#member"),
        (Resource("task", "*"), "owner", ALICE, "'*' stands for everyone"),
        (TASK, "viewer", Subject("group", "*", "member"), "('*') has no relation of its own"),
        (TASK, "owner", Subject("user", ""), "an id is empty; it needs letters, digits and / _ | - = +"),
    ],
)
async def test_refused_kinds_leave_nothing_behind(
    resource: Resource,
    relation: str,
    subject: Subject,
    words: str,
    engine: PostgresEngine,
    connection: asyncpg.Connection,
) -> None:
    fine = Relationship(TASK, "owner", Subject("user", "bob"))
    wrong = Relationship(resource, relation, subject)
    for touched, created in (([fine, wrong], []), ([], [fine, wrong])):
        with pytest.raises(RelationshipError) as caught:
            await engine.write(connection, touch=touched, create=created)
        assert words in str(caught.value)
    assert await engine.read(connection, TASK) == []
    assert await connection.fetchval("SELECT count(*) FROM relationship_history") == 0
    assert await connection.fetchval("SELECT count(*) FROM authz_ids") == 0
    await engine.write(connection, touch=[fine])
    with pytest.raises(RelationshipError) as caught:
        await engine.write(connection, delete=[fine, wrong])
    assert words in str(caught.value)
    assert await engine.read(connection, TASK) == [fine]


async def test_what_a_relation_takes_no_more_can_still_be_deleted(
    engine: PostgresEngine, connection: asyncpg.Connection
) -> None:
    once = Relationship(TASK, "viewer", Subject("group", "eng", "member"))
    await engine.write(connection, touch=[once])
    narrower = SCHEMA.replace("user | group#member | user with", "user | user with")
    engine = await PostgresEngine.load(connection, narrower, "test", replace=True)
    await engine.write(connection, delete=[once])
    assert await engine.read(connection, TASK) == []
    with pytest.raises(RelationshipError, match="not group#member; name a subject that it takes, or let the schema's"):
        await engine.write(connection, delete=[once])


def test_ids_are_refused_exactly_where_spicedb_refuses_them() -> None:
    judge, asked = Judge(), Relationship(TASK, "read", ALICE)
    try:
        for id in ("x", "=", "-a", "/|_-=+", "x" * 1024, *ODD_IDS):
            try:
                judge.ask(SCHEMA, [Relationship(TASK, "owner", Subject("user", id))], [asked])
                accepted = True
            except JudgeRefuses:
                accepted = False
            assert accepted is (id not in ODD_IDS), id
            if accepted:
                check_id(id)
                continue
            with pytest.raises(RelationshipError) as caught:
                check_id(id)
            assert ODD_IDS[id] in str(caught.value)
    finally:
        judge.close()


@pytest.mark.parametrize(
    ("permissions", "line", "words"),
    [
        ("permission loop = loop", 13, ("with no way out: loop -> loop", "by an arrow")),
        ("permission loop = loop & owner", 13, ("with no way out: loop -> loop", "by an arrow")),
        (
            "permission one = owner & two\n    permission two = one - viewer",
            13,
            ("with no way out: one -> two -> one", "by an arrow"),
        ),
        (
            "permission one = owner & two\n    permission two = owner - one",
            14,
            ("'two' excludes itself by 'one'", "does not lead back to 'two'"),
        ),
    ],
)
async def test_a_permission_that_refers_to_itself_is_refused_with_its_way(
    permissions: str, line: int, words: tuple[str, str], connection: asyncpg.Connection
) -> None:
    engine = await PostgresEngine.load(connection, SCHEMA, "test", replace=True)
    with pytest.raises(SchemaError) as caught:
        await PostgresEngine.load(
            connection, SCHEMA.replace("permission read", f"{permissions}\n    permission read"), "test", replace=True
        )
    assert all(word in str(caught.value) for word in words)
    assert caught.value.line == line
    assert not await engine.refresh(connection)


async def test_deep_nesting_is_an_error_and_not_an_answer(
    engine: PostgresEngine, connection: asyncpg.Connection
) -> None:
    chain = [
        Relationship(Resource("group", f"g{level}"), "member", Subject("group", f"g{level + 1}", "member"))
        for level in range(1000)
    ]
    await engine.write(connection, touch=[*chain, Relationship(Resource("group", "g1000"), "member", ALICE)])
    assert await engine.check(connection, ALICE, "member", Resource("group", "g960"))
    for ask in (
        engine.check(connection, ALICE, "member", Resource("group", "g0")),
        engine.lookup_resources(connection, ALICE, "member", "group", after=None, limit=5),
    ):
        with pytest.raises(DepthExceeded):
            async with connection.transaction():
                await ask


async def test_the_error_of_a_row_that_quotes_the_limit_is_not_taken_for_it(connection: asyncpg.Connection) -> None:
    name = f"{DEPTH_MARK} 7"
    await connection.execute("CREATE TEMPORARY TABLE named (name text UNIQUE)")
    await connection.execute("INSERT INTO named VALUES ($1)", name)
    with pytest.raises(asyncpg.UniqueViolationError, match=DEPTH_MARK), translate_database_errors():
        await connection.execute("INSERT INTO named VALUES ($1)", name)


async def test_unknown_names_in_questions(engine: PostgresEngine, connection: asyncpg.Connection) -> None:
    with pytest.raises(PermissionUnknown, match="did you mean 'read'"):
        await engine.check(connection, ALICE, "raed", TASK)
    with pytest.raises(PermissionUnknown, match="no type 'usr'"):
        await engine.check(connection, Subject("usr", "alice"), "read", TASK)
    with pytest.raises(RelationshipError, match="everyone"):
        await engine.check(connection, Subject("user", "*"), "read", TASK)


async def test_writes_create_touch_and_keep_what_was(engine: PostgresEngine, connection: asyncpg.Connection) -> None:
    owner = Relationship(TASK, "owner", ALICE)
    until = Relationship(TASK, "viewer", ALICE, datetime(2300, 1, 1, tzinfo=UTC))
    await engine.write(connection, create=[owner], must_be_absent=[until])
    with pytest.raises(PreconditionFailed):
        await engine.write(connection, create=[owner])
    with pytest.raises(PreconditionFailed):
        await engine.write(connection, touch=[until], must_exist=[until])
    await engine.write(connection, touch=[until])
    await engine.write(connection, touch=[Relationship(TASK, "viewer", ALICE)], actor="alice", request_id="r-1")
    await engine.write(connection, delete=[owner], actor="bob")
    assert list(map(str, await engine.read(connection, TASK))) == ["task:t-1#viewer@user:alice"]
    history = await connection.fetch("SELECT expires_at, actor, request_id FROM relationship_history ORDER BY id")
    assert [tuple(row) for row in history] == [(until.expires_at, "alice", "r-1"), (None, "bob", None)]


async def test_an_expired_relationship_counts_for_nothing_and_is_swept(
    engine: PostgresEngine, connection: asyncpg.Connection
) -> None:
    past = Relationship(TASK, "viewer", ALICE, datetime(2020, 1, 1, tzinfo=UTC))
    await engine.write(connection, touch=[past])
    assert not await engine.check(connection, ALICE, "read", TASK)
    assert await engine.read(connection, TASK) == []
    assert await engine.remove_expired(connection) == 1
    assert await connection.fetchval("SELECT actor FROM relationship_history") == "expiry"


async def test_a_token_of_another_database_is_an_error(engine: PostgresEngine, connection: asyncpg.Connection) -> None:
    token = await engine.write(connection, touch=[Relationship(TASK, "owner", ALICE)])
    assert engine.read_zedtoken(token) > 0
    version, _, number = token.split(".")
    for wrong in (f"{version}.abc.{number}", "rubbish", ""):
        with pytest.raises(ZedtokenError):
            engine.read_zedtoken(wrong)


async def test_subjects_of_a_resource_agree_with_checks(engine: PostgresEngine, connection: asyncpg.Connection) -> None:
    names = [f"u{number}" for number in range(7)]
    group = Resource("group", "eng")
    await engine.write(
        connection,
        touch=[
            Relationship(TASK, "viewer", Subject("group", "eng", "member")),
            *[Relationship(group, "member", Subject("user", name)) for name in names],
        ],
    )
    found: list[str] = []
    while page := await engine.lookup_subjects(
        connection, TASK, "read", "user", after=found[-1] if found else None, limit=3
    ):
        found += page
    assert sorted(found) == names


async def test_a_schema_of_a_megabyte_is_read_or_refused_with_its_place() -> None:
    many = "".join(f"definition type_{number} {{\n    relation owner: type_{number}\n}}\n" for number in range(15_000))
    assert len(check_schema(parse_schema(many)).definitions) == 15_000
    with pytest.raises(SchemaError) as caught:
        parse_schema(many + "definition {}")
    assert caught.value.line == 45_001
