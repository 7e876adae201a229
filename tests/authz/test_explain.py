"""An explanation agrees with the check, and what it says can be tried out."""

from random import Random

import asyncpg
from authz.explained import try_explanation
from authz.generate import make_case
from authz.tally import Tally

from remit.authz.explain import explain
from remit.authz.explain_text import render_text
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine

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
    text = render_text(found, {"t-1": "report"})
    assert text.startswith("user alice may cancel task report, because:\n  ")
    assert "user alice is an owner of task report " in text


async def test_objects_at_one_distance_are_read_in_one_statement(connection: asyncpg.Connection) -> None:
    engine = await make(connection)
    counts = []
    for teams in (range(1), range(1, 21)):
        groups = [Relationship(TASK, "viewer", Subject("group", f"team-{n}", "member")) for n in teams]
        inside = [Relationship(Resource("group", f"team-{n}"), "member", ALICE) for n in teams]
        await engine.write(connection, touch=groups + inside)
        statements: list[str] = []
        with connection.query_logger(lambda query, said=statements: said.append(query.query)):
            await explain(engine, connection, ALICE, "read", TASK)
        counts.append(len(statements))
    assert counts[0] == counts[1]


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
    assert "Who could grant that: user alice." in render_text(found, {})
    assert "alice" not in render_text(found, {}, redacted=True)


async def test_what_is_missing_counts_what_it_would_lead_to(connection: asyncpg.Connection) -> None:
    schema = """
definition team {
    relation lead: team
    permission lead_or_self = lead + self
}

definition project {
    relation owner: team
    relation viewer: team
    permission read = (owner - owner->lead_or_self) + viewer
}
"""
    schema = "use self\n" + schema
    engine = await PostgresEngine.load(connection, schema, "test", replace=True)
    team = Subject("team", "red")
    # As an owner it would lead to itself, which the exclusion takes away again.
    found = await explain(engine, connection, team, "read", Resource("project", "p"))
    assert list(map(str, found.missing)) == ["project:p#viewer@team:red"]


async def test_a_search_that_is_out_of_time_says_so(connection: asyncpg.Connection) -> None:
    engine = await make(connection)
    found = await explain(engine, connection, BOB, "cancel", TASK, seconds=0)
    assert not found.allowed
    assert found.unfinished
    assert not found.missing
    for redacted in (False, True):
        text = render_text(found, {}, redacted=redacted)
        assert "was not found in the time" in text
        assert "no relationship" not in text


async def test_what_it_says_holds_in_random_worlds(authz_database: str) -> None:
    connection = await asyncpg.connect(authz_database)
    tally = Tally()
    try:
        for number in range(60):
            case = make_case(Random(f"explain/{number}"))
            transaction = connection.transaction()
            await transaction.start()
            engine = await PostgresEngine.load(connection, case.schema, "test", replace=True)
            await engine.write(connection, touch=case.relationships)
            for question in case.questions[:4] + case.questions[-6:]:
                assert await try_explanation(engine, connection, case, question, tally) == []
            await transaction.rollback()
    finally:
        await connection.close()
    assert tally.answers["explained edge needed"] > 10
    assert tally.answers["explained missing turned it"] > 5
