"""Keys of agents with a real SpiceDB beside the rows: shown only once they are registered there."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from support.graph import World, make_world, open_seeder
from support.server import Server, serve
from support.spicedb_host import SpiceProcess, run_spicedb

from remit.authz.model import Resource
from remit.authz.remote import RemoteError
from remit.authz.spicedb import SpiceDB
from remit.settings import Settings


@pytest.fixture
async def spiced(database: str) -> AsyncIterator[tuple[Server, World, SpiceDB]]:
    with run_spicedb() as spice:
        settings = spicedb_settings(spice)
        graph = SpiceDB(grpc.aio.insecure_channel(spice.endpoint), spice.token)
        async with (
            serve(database, **settings) as server,
            open_seeder(database, server.url, Settings(**settings)) as seeder,
        ):
            yield server, await make_world(seeder), graph
        await graph.aclose()


def spicedb_settings(spice: SpiceProcess) -> dict[str, Any]:
    return {
        "authz_engine": "spicedb",
        "spicedb_endpoint": spice.endpoint,
        "spicedb_token": spice.token,
        "spicedb_tls": False,
    }


async def test_a_key_is_active_once_it_is_registered_elsewhere(spiced: tuple[Server, World, SpiceDB]) -> None:
    server, world, graph = spiced
    agent = await world.make_agent(None, owner=world.alice)
    statuses: list[str] = []
    deliver = server.app.state.remote.deliver

    async def look_before(delivery: Any) -> Any:
        if delivery.resource.type == "api_key":
            rows = await world.seed.fetch("SELECT status FROM agent_api_keys WHERE id = $1", delivery.resource.id)
            statuses.extend(row["status"] for row in rows)
        return await deliver(delivery)

    server.app.state.remote.deliver = look_before
    made = await world.alice.post("/agent_api_keys", {"agent_id": agent.id, "name": "k", "api_key_type": "internal"})
    assert made.status_code == 200, made.text
    assert statuses == ["pending"]
    there, _ = await graph.read_resource(Resource("api_key", made.json()["id"]))
    assert {f"{one.relation}@{one.subject}" for one in there} == {
        f"tenant@tenant:{world.tenant_id}",
        f"parent_agent@agent:{agent.id}",
        "owner@user:alice",
    }
    rows = await world.seed.fetch("SELECT status, authz_zedtoken FROM agent_api_keys")
    assert [row["status"] for row in rows] == ["active"]
    assert rows[0]["authz_zedtoken"]


@pytest.mark.parametrize(("transient", "status"), [(True, 503), (False, 403)])
async def test_a_key_that_cannot_be_registered_is_not_there(
    spiced: tuple[Server, World, SpiceDB], transient: bool, status: int
) -> None:
    server, world, graph = spiced
    agent = await world.make_agent(None, owner=world.alice)
    deliver = server.app.state.remote.deliver

    async def fail(delivery: Any) -> Any:
        raise RemoteError("away", transient=transient, exception_class="Unavailable")

    server.app.state.remote.deliver = fail
    body = {"agent_id": agent.id, "name": "k", "api_key_type": "internal"}
    refused = await world.alice.post("/agent_api_keys", body)
    assert refused.status_code == status, refused.text
    assert "remit_agent_" not in refused.text
    assert await world.seed.fetch("SELECT 1 FROM agent_api_keys") == []
    # Its deregistration is owed, in case the registration has got through after all.
    owed = await world.seed.fetch("SELECT resource_id, revocation FROM outbox WHERE resource_type = 'api_key'")
    assert 1 in {row["revocation"] for row in owed}
    assert await world.seed.relationships_of("api_key", owed[0]["resource_id"]) == []
    server.app.state.remote.deliver = deliver
    again = await world.alice.post("/agent_api_keys", body)
    assert again.status_code == 200, again.text
    there, _ = await graph.read_resource(Resource("api_key", again.json()["id"]))
    assert len(there) == 3
