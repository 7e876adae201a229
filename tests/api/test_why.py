"""`GET /authz/why`: full for those who share the resource, redacted for the caller himself, 404 for the rest."""

import pytest
from support.graph import Seeder, World, make_world
from support.server import Server

from remit.authz.model import Relationship, Resource


@pytest.fixture
async def task(world: World) -> str:
    agent = await world.make_agent(None)
    made = await world.alice.make_task(agent, "report")
    return str(made["id"])


async def test_an_owner_is_told_the_path_and_what_is_missing(world: World, task: str) -> None:
    answer = await world.alice.get("/authz/why", resource=f"task:{task}", permission="cancel")
    assert answer.status_code == 200, answer.text
    why = answer.json()
    assert (why["allowed"], why["form"], why["decided_by"]) == (True, "full", "relationships")
    assert f"task:{task}#owner@{world.alice.subject}" in [fact["relationship"] for fact in why["path"]]
    assert f"user {world.alice.name} is an owner of task report" in [fact["says"] for fact in why["path"]]
    assert why["tree"]["holds"] is True

    bob = f"user:{world.bob.name}"
    why = (await world.alice.get("/authz/why", resource="task:report", permission="cancel", subject=bob)).json()
    assert (why["allowed"], why["path"], why["tree"]["holds"]) == (False, [], False)
    assert [fact["relationship"] for fact in why["missing"]] == [f"task:{task}#owner@{world.bob.subject}"]
    assert str(world.alice.subject) in why["granters"]
    assert why["text"].startswith(f"user {world.bob.name} may not cancel task report. It would be allowed if:")


async def test_what_it_says_is_never_of_a_cache(world: World, seed: Seeder, task: str) -> None:
    bob = f"user:{world.bob.name}"
    for holds in (False, True, False):
        why = await world.alice.get("/authz/why", resource=f"task:{task}", permission="update", subject=bob)
        assert why.json()["allowed"] is holds
        fact = Relationship(Resource("task", task), "editor", world.bob.subject)
        async with seed.database.transaction() as connection:
            if holds:
                await seed.engine.write(connection, delete=[fact])
            else:
                await seed.engine.write(connection, touch=[fact])


async def test_a_reader_is_told_about_himself_alone_and_redacted(world: World, task: str) -> None:
    assert (await world.alice.share({"id": task}, world.bob, "viewer")).status_code == 200
    for permission, allowed in (("read", True), ("cancel", False)):
        why = await world.bob.get("/authz/why", resource=f"task:{task}", permission=permission)
        assert why.json()["allowed"] is allowed
        assert why.json()["form"] == "redacted"
        assert why.json()["path"] is why.json()["granters"] is why.json()["tree"] is None
        assert world.alice.id not in why.text
        assert world.alice.name not in why.text
    assert why.json()["needs"] == ["task#owner"]
    for other in (f"user:{world.alice.name}", "user:nobody-of-that-name", "agent:none"):
        refused = await world.bob.get("/authz/why", resource=f"task:{task}", permission="read", subject=other)
        assert refused.status_code == 403
    own = await world.bob.get(
        "/authz/why", resource=f"task:{task}", permission="read", subject=f"user:{world.bob.name}"
    )
    assert own.status_code == 200


async def test_what_may_not_be_read_is_absent(world: World, seed: Seeder, task: str, server: Server) -> None:
    other = await make_world(seed)
    absent = "0199b0a2-7c00-7000-8000-00000000dead"
    bodies = set()
    for party in (world.bob, other.alice):
        for id in (task, absent):
            hidden = await party.get("/authz/why", resource=f"task:{id}", permission="read")
            assert hidden.status_code == 404
            bodies.add(hidden.json()["detail"].replace(id, "ID"))
    assert len(bodies) == 1
    assert (await world.nobody.get("/authz/why", resource=f"task:{task}", permission="read")).status_code == 401
    described = (await world.alice.get("/openapi.json")).json()["paths"]["/authz/why"]["get"]
    assert described["x-remit-permission"]["asks"][0] == "task.read"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"resource": "task:report", "permission": "fly"}, "query.permission"),
        ({"resource": "planet:mars", "permission": "read"}, "query.resource"),
        ({"resource": "task:", "permission": "read"}, "query.resource"),
        ({"resource": "task:report", "permission": "read", "subject": "planet:mars"}, "query.subject"),
        ({"resource": "task:report", "permission": "read", "subject": "user:none-of-that-name"}, "query.subject"),
    ],
)
async def test_bad_questions_name_their_field(world: World, task: str, query: dict[str, str], field: str) -> None:
    refused = await world.alice.get("/authz/why", **query)
    assert refused.status_code == 422, refused.text
    assert field in refused.text
