"""Roles that end by themselves, for an installation whose schema has them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.agent import FakeAgent
from support.graph import Json, World, make_world, open_seeder
from support.server import serve

from remit.authz.schema_source import find_schema
from remit.settings import Settings


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[World]:
    """A world under the shipped schema with roles for users that may end."""
    schema = find_schema(Settings()).text
    for role in ("viewer", "owner"):
        schema = schema.replace(f"relation {role}: user |", f"relation {role}: user | user with expiration |")
    file = tmp_path / "schema.zed"
    file.write_text(f"use expiration\n{schema}")
    async with serve(database, authz_schema=file) as server, open_seeder(database, server.url) as seed:
        yield await make_world(seed)


@pytest.fixture
async def task(world: World, fake: FakeAgent) -> Json:
    return await world.alice.make_task(await world.make_agent(fake.url))


async def test_a_role_ends_by_itself(world: World, task: Json) -> None:
    now = datetime.now(UTC)
    later = await world.alice.share(task, world.bob, "viewer", expires_at=(now + timedelta(hours=1)).isoformat())
    assert later.status_code == 200, later.text
    (grant,) = (grant for grant in later.json()["grants"] if grant["subject_id"] == "bob")
    assert datetime.fromisoformat(grant["expires_at"]) == now + timedelta(hours=1)
    assert (await world.bob.get(f"/tasks/{task['id']}")).status_code == 200
    assert len((await world.bob.get("/tasks")).json()) == 1
    await world.seed.execute(
        "UPDATE relationships SET expires_at = now() - interval '1 second' WHERE resource_id = $1 AND subject_id = $2",
        task["id"],
        world.bob.id,
    )
    assert (await world.bob.get(f"/tasks/{task['id']}")).status_code == 404
    assert (await world.bob.get("/tasks")).json() == []
    grants = (await world.alice.get(f"/tasks/{task['id']}/access")).json()["grants"]
    assert [grant["subject_id"] for grant in grants] == ["alice"]


async def test_an_owner_for_a_time_is_no_last_owner(world: World, task: Json) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert (await world.alice.share(task, world.alice, "owner", expires_at=soon)).status_code == 409
    assert (await world.alice.share(task, world.bob, "owner", expires_at=soon)).status_code == 200
    path = f"/tasks/{task['id']}/access"
    assert (await world.alice.delete(path, subject_type="user", subject_id="alice")).status_code == 409


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_moment_outside_of_time_is_refused(world: World, task: Json, moment: str) -> None:
    response = await world.alice.share(task, world.bob, "viewer", expires_at=moment)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "body.expires_at"
