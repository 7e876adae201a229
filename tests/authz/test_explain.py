"""An explanation agrees with the check, and what it says can be tried out."""

from random import Random

import asyncpg
from authz.generate import Case, make_case
from authz.oracle import Oracle

from remit.authz.errors import DepthExceeded
from remit.authz.explain import Explanation, explain
from remit.authz.explain_text import redact, render_text
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.schema import parse_schema

SCHEMA = """
definition user {}

definition group {
    relation member: user | group#member
}

definition tenant {
    relation admin: user
    relation member: user
    permission access = admin + member
}

definition task {
    relation tenant: tenant
    relation owner: user
    relation viewer: user | group#member
    permission read = (viewer + owner + tenant->admin) & tenant->access
    permission cancel = (owner + tenant->admin) & tenant->access
    permission share = owner + tenant->admin
}
"""
TENANT, TASK, GROUP = Resource("tenant", "acme"), Resource("task", "t-1"), Resource("group", "eng")
ALICE, BOB = Subject("user", "alice"), Subject("user", "bob")


async def make(connection: asyncpg.Connection) -> PostgresEngine:
    engine = await PostgresEngine.load(connection, SCHEMA, "test", replace=True)
    facts = [
        Relationship(TASK, "tenant", Subject("tenant", "acme")),
        Relationship(TASK, "owner", ALICE),
        Relationship(TENANT, "member", ALICE),
        Relationship(TASK, "viewer", Subject("group", "eng", "member")),
        Relationship(GROUP, "member", BOB),
    ]
    await engine.write(connection, touch=facts)
    return engine


async def test_an_allow_shows_the_shortest_path(connection: asyncpg.Connection) -> None:
    engine = await make(connection)
    found = await explain(engine, connection, ALICE, "cancel", TASK)
    assert found.allowed
    assert set(map(str, found.path)) == {
        "task:t-1#owner@user:alice",
        "task:t-1#tenant@tenant:acme",
        "tenant:acme#member@user:alice",
    }
    assert render_text(found).startswith("user:alice may cancel task:t-1.")


async def test_a_denial_names_the_nearest_missing_relationship_and_who_could_write_it(
    connection: asyncpg.Connection,
) -> None:
    engine = await make(connection)
    found = await explain(engine, connection, BOB, "read", TASK)
    assert not found.allowed
    assert list(map(str, found.missing)) == ["tenant:acme#admin@user:bob"]
    await engine.write(connection, touch=[Relationship(TENANT, "member", BOB)])
    assert (await explain(engine, connection, BOB, "read", TASK)).allowed
    found = await explain(engine, connection, BOB, "cancel", TASK)
    assert list(map(str, found.missing)) == ["task:t-1#owner@user:bob"]
    assert found.granters == (ALICE,)
    assert "alice" not in str(redact(found))


async def test_what_it_says_holds_in_random_worlds(authz_database: str) -> None:
    connection = await asyncpg.connect(authz_database)
    found: list[tuple[Case, Explanation]] = []
    try:
        for number in range(60):
            case = make_case(Random(f"explain/{number}"))
            transaction = connection.transaction()
            await transaction.start()
            engine = await PostgresEngine.load(connection, case.schema, "test", replace=True)
            await engine.write(connection, touch=case.relationships)
            for question in case.questions[:4] + case.questions[-6:]:
                await verify(engine, connection, case, question, found)
            await transaction.rollback()
    finally:
        await connection.close()
    assert sum(explanation.allowed and bool(explanation.path) for _, explanation in found) > 10
    assert sum(bool(explanation.missing) for _, explanation in found) > 5


async def verify(
    engine: PostgresEngine,
    connection: asyncpg.Connection,
    case: Case,
    question: Relationship,
    found: list[tuple[Case, Explanation]],
) -> None:
    subject, resource, name = question.subject, question.resource, question.relation
    try:
        async with connection.transaction():
            allowed = await engine.check(connection, subject, name, resource)
    except DepthExceeded:
        return
    explanation = await explain(engine, connection, subject, name, resource)
    assert explanation.allowed is allowed, str(question)
    found.append((case, explanation))
    if explanation.missing:
        async with connection.transaction():
            await engine.write(connection, touch=explanation.missing)
            try:
                assert await engine.check(connection, subject, name, resource), explanation.missing
            finally:
                await engine.write(connection, delete=explanation.missing)
    if explanation.path and "all(" not in case.schema and " - " not in case.schema:
        schema = parse_schema(case.schema)
        assert Oracle(schema, explanation.path).check(subject, name, resource)
        for edge in explanation.path:
            rest = [fact for fact in explanation.path if fact != edge]
            assert not Oracle(schema, rest).check(subject, name, resource), f"{question} does without {edge}"
