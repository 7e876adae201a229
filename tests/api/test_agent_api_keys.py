"""`/agent_api_keys`: who makes, sees and ends an agent's keys, what each type opens, and what is kept of its secret."""

import asyncio

from support.graph import AgentParty, Json, Party, World, make_world, open_seeder
from support.server import serve

from remit.agent_api_keys.ending import remove_pending_keys
from remit.ids import new_id

TYPES = ("internal", "external", "github", "slack")


async def make_key(party: Party, agent: AgentParty, name: str = "key", **more: object) -> Json:
    response = await party.post("/agent_api_keys", {"agent_id": agent.id, "name": name, **more})
    assert response.status_code == 200, response.text
    key: Json = response.json()
    return key


def holder_of(world: World, secret: str) -> Party:
    return Party(world.seed.http, "agent", "", "", world.tenant_id, secret, "x-agent-api-key")


async def test_a_key_is_shown_once_and_names_its_creator(world: World) -> None:
    agent = await world.make_agent(None, owner=world.alice)
    for number, key_type in enumerate(TYPES):
        made = await make_key(world.alice, agent, f"key {number}", api_key_type=key_type)
        secret = made.pop("api_key")
        assert len(secret) >= 32
        assert (made["agent_id"], made["api_key_type"], made["creator_user_id"]) == (agent.id, key_type, "alice")
        read = await world.alice.get(f"/agent_api_keys/{made['id']}")
        named = await world.alice.get(
            f"/agent_api_keys/name/key {number}", agent_name=agent.name, api_key_type=key_type
        )
        listed = await world.alice.get("/agent_api_keys", agent_id=agent.id, limit=1)
        assert read.json() == named.json() == listed.json()[0] == made
        stored = await world.seed.fetch(
            "SELECT to_jsonb(k)::text AS row FROM agent_api_keys k WHERE agent_id = $1", agent.id
        )
        for text in (read.text, named.text, listed.text, *(row["row"] for row in stored)):
            assert secret not in text
    signing = await world.seed.fetch("SELECT secret_hash FROM agent_api_keys WHERE agent_id = $1 ORDER BY id", agent.id)
    assert [row["secret_hash"] is None for row in signing] == [False, False, True, True]


async def test_only_an_internal_key_authenticates_and_only_as_its_agent(world: World) -> None:
    mine = await world.make_agent("http://127.0.0.1:9", owner=world.alice)
    other = await world.make_agent("http://127.0.0.1:9", owner=world.alice)
    task, foreign = await world.alice.make_task(mine), await world.alice.make_task(other)
    for key_type in TYPES:
        key = await make_key(world.alice, mine, "key", api_key_type=key_type)
        for header in ("x-agent-api-key", "authorization", "x-api-key"):
            holder = holder_of(world, key["api_key"])
            holder.header = header
            me = await holder.get("/me")
            if key_type != "internal":
                assert me.status_code == 401, (key_type, header)
                continue
            assert (me.json()["kind"], me.json()["id"]) == ("agent", mine.id)
            assert (await holder.get(f"/tasks/{task['id']}")).status_code == 200
            assert (await holder.get(f"/tasks/{foreign['id']}")).status_code == 404
            assert (await holder.get(f"/agent_api_keys/{key['id']}")).status_code == 404


async def test_a_secret_of_ones_own_authenticates_too(world: World) -> None:
    agent = await world.make_agent(None, owner=world.alice)
    chosen = f"chosen-by-somebody-{new_id()}"
    key = await make_key(world.alice, agent, api_key_type="internal", api_key=chosen)
    assert key["api_key"] == chosen
    assert (await holder_of(world, chosen).get("/me")).json()["id"] == agent.id
    again = {"agent_id": agent.id, "name": "other", "api_key_type": "internal", "api_key": chosen}
    assert (await world.alice.post("/agent_api_keys", again)).status_code == 409
    for secret in ("short", "x" * 31, "x" * 513, " " + "x" * 40, "remit_agent_" + "x" * 40, "é" * 40):
        response = await world.alice.post("/agent_api_keys", {**again, "api_key": secret})
        assert response.status_code == 422, secret
        assert secret not in response.text


async def test_a_deleted_key_is_dead_on_the_next_request_in_every_process(database: str) -> None:
    async with (
        serve(database) as first,
        serve(database) as second,
        open_seeder(database, first.url) as here,
        open_seeder(database, second.url) as there,
    ):
        world = await make_world(here)
        agent = await world.make_agent(None, owner=world.alice)
        for path in ("/agent_api_keys/{id}", f"/agent_api_keys/name/key?agent_id={agent.id}&api_key_type=internal"):
            key = await make_key(world.alice, agent, api_key_type="internal")
            elsewhere = Party(there.http, "agent", agent.id, agent.name, world.tenant_id, key["api_key"])
            for _ in range(3):
                assert (await elsewhere.get("/me")).status_code == 200
            deleted = await world.alice.delete(path.format(id=key["id"]))
            assert (deleted.status_code, deleted.json()) == (200, "API key deleted")
            assert (await elsewhere.get("/me")).status_code == 401
            assert await here.relationships_of("api_key", key["id"]) == []
            assert (await world.alice.get(f"/agent_api_keys/{key['id']}")).status_code == 404
            assert (await world.alice.delete(f"/agent_api_keys/{key['id']}")).status_code == 404


async def test_a_pending_key_lets_nobody_in_and_is_removed_in_time(world: World) -> None:
    agent = await world.make_agent(None, owner=world.alice)
    key, kept = await make_key(world.alice, agent, api_key_type="internal"), await make_key(world.alice, agent, "kept")
    await world.seed.execute("UPDATE agent_api_keys SET status = 'pending' WHERE id = $1", key["id"])
    assert (await holder_of(world, key["api_key"]).get("/me")).status_code == 401
    assert (await world.alice.get(f"/agent_api_keys/{key['id']}")).status_code == 404
    assert [row["id"] for row in (await world.alice.get("/agent_api_keys", agent_id=agent.id)).json()] == [kept["id"]]
    assert await remove_pending_keys(world.seed.database, world.seed.engine) == 0
    await world.seed.execute(
        "UPDATE agent_api_keys SET created_at = now() - interval '6 minutes' WHERE agent_id = $1", agent.id
    )
    assert await remove_pending_keys(world.seed.database, world.seed.engine) == 1
    assert await world.seed.relationships_of("api_key", key["id"]) == []
    assert [
        row["id"] for row in await world.seed.fetch("SELECT id FROM agent_api_keys WHERE agent_id = $1", agent.id)
    ] == [kept["id"]]


async def test_it_takes_a_role_on_the_key_and_update_on_its_agent(world: World) -> None:
    agent = await world.make_agent(None, owner=world.alice)
    key = await make_key(world.alice, agent)
    path = f"/agent_api_keys/{key['id']}"
    for party in (world.bob, world.viewer, world.bot, world.mallory, agent):
        assert (await party.get(path)).status_code == 404, party.name
        assert (await party.delete(path)).status_code == 404, party.name
        named = await party.get("/agent_api_keys/name/key", agent_id=agent.id)
        assert named.status_code == 404, party.name
        made = await party.post("/agent_api_keys", {"agent_id": agent.id, "name": "x"})
        assert made.status_code == (404 if party in (world.mallory, world.viewer) else 403), party.name
    assert (await world.nobody.get(path)).status_code == 401
    # An editor of the agent may make keys of his own, and sees no other's.
    shared = await world.alice.put(
        f"/agents/{agent.id}/access", {"subject_type": "user", "subject_id": "bob", "role": "editor"}
    )
    assert shared.status_code == 200, shared.text
    own = await make_key(world.bob, agent, "bob's")
    assert (await world.bob.get(path)).status_code == 404
    assert [row["id"] for row in (await world.bob.get("/agent_api_keys", agent_id=agent.id)).json()] == [own["id"]]
    assert {row["id"] for row in (await world.root.get("/agent_api_keys", agent_id=agent.id)).json()} == {
        key["id"],
        own["id"],
    }
    # Without `update` on the agent his own key is gone for him.
    await world.alice.delete(f"/agents/{agent.id}/access", subject_type="user", subject_id="bob")
    assert (await world.bob.get(f"/agent_api_keys/{own['id']}")).status_code == 404
    assert (await world.root.delete(path)).status_code == 200


async def test_absent_and_unreadable_are_answered_alike(world: World) -> None:
    agent = await world.make_agent(None, owner=world.alice)
    key = await make_key(world.alice, agent)

    def told(body: Json) -> Json:
        return {name: value for name, value in body.items() if name != "request_id"}

    absent_id = new_id()
    hidden, absent = (
        await world.bob.get(f"/agent_api_keys/{key['id']}"),
        await world.bob.get(f"/agent_api_keys/{absent_id}"),
    )
    assert hidden.text.replace(key["id"], absent_id).split("request_id")[0] == absent.text.split("request_id")[0]
    named = [await world.bob.get(f"/agent_api_keys/name/{name}", agent_id=agent.id) for name in ("key", "yek")]
    assert [answer.status_code for answer in named] == [404, 404]
    assert told(named[0].json()) == {
        name: value.replace("yek", "key") if isinstance(value, str) else value
        for name, value in told(named[1].json()).items()
    }
    private = await world.make_agent(None, owner=world.alice, private=True)
    for id in (private.id, new_id()):
        assert (await world.bob.get("/agent_api_keys", agent_id=id)).status_code == 404
    assert (await world.mallory.get("/agent_api_keys", agent_name=agent.name)).status_code == 404


async def test_a_name_is_free_once_per_agent_and_type(world: World) -> None:
    agent, other = [await world.make_agent(None, owner=world.alice) for _ in range(2)]
    body = {"agent_id": agent.id, "name": "acme/site"}
    answers = await asyncio.gather(*(world.alice.post("/agent_api_keys", body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert all(a.headers["x-should-retry"] == "false" for a in answers if a.status_code == 409)
    assert (await world.alice.post("/agent_api_keys", {**body, "api_key_type": "github"})).status_code == 200
    assert (await world.alice.post("/agent_api_keys", {**body, "agent_id": other.id})).status_code == 200
    named = await world.alice.get("/agent_api_keys/name/acme%2Fsite", agent_id=agent.id)
    assert named.json()["name"] == "acme/site"


async def test_the_agent_is_named_once(world: World) -> None:
    agent = await world.make_agent(None, owner=world.alice)
    both = {"agent_id": agent.id, "agent_name": agent.name}
    for named in ({}, both):
        assert (await world.alice.post("/agent_api_keys", {"name": "x", **named})).status_code == 400
        assert (await world.alice.get("/agent_api_keys", **named)).status_code == 400
        assert (await world.alice.get("/agent_api_keys/name/x", **named)).status_code == 400
        assert (await world.alice.delete("/agent_api_keys/name/x", **named)).status_code == 400


async def test_deleting_the_agent_deletes_its_keys(world: World) -> None:
    agent = await world.make_agent(None, owner=world.alice)
    keys = [await make_key(world.alice, agent, key_type, api_key_type=key_type) for key_type in TYPES]
    assert (await world.alice.delete(f"/agents/{agent.id}")).status_code == 200
    assert (await holder_of(world, keys[0]["api_key"]).get("/me")).status_code == 401
    assert await world.seed.fetch("SELECT 1 FROM agent_api_keys WHERE agent_id = $1", agent.id) == []
    for key in keys:
        assert await world.seed.relationships_of("api_key", key["id"]) == []
        assert (await world.alice.get(f"/agent_api_keys/{key['id']}")).status_code == 404
    assert (await world.alice.post("/agent_api_keys", {"agent_id": agent.id, "name": "x"})).status_code == 404


async def test_without_a_secret_key_no_signing_secret_is_kept(own_world: World) -> None:
    agent = await own_world.make_agent(None, owner=own_world.alice)
    body = {"agent_id": agent.id, "name": "acme/site", "api_key_type": "github"}
    response = await own_world.alice.post("/agent_api_keys", body)
    assert response.status_code == 503
    assert "REMIT_SECRET_KEY" in response.json()["message"]
    assert response.headers["x-should-retry"] == "false"
    assert await own_world.seed.fetch("SELECT 1 FROM agent_api_keys WHERE agent_id = $1", agent.id) == []


async def test_a_webhook_trigger_is_a_key_and_an_address(world: World) -> None:
    agent = await world.make_agent(None, owner=world.alice)
    body = {"agent_name": agent.name, "name": "acme/site", "forward_path": "github-pr/a b"}
    made = (await world.alice.post("/agent_api_keys/webhook-trigger", body)).json()
    path = f"/agents/forward/name/{agent.name}/github-pr/a%20b"
    assert (made["source"], made["webhook_path"], made["webhook_url"]) == (
        "github",
        path,
        "https://remit.example" + path,
    )
    assert len(made["secret"]) >= 32
    assert (await world.alice.post("/agent_api_keys/webhook-trigger", body)).status_code == 409
    for bad in ({"source": "slack", "name": "A1"}, {"forward_path": "a\nb", "name": "n"}):
        answer = await world.alice.post("/agent_api_keys/webhook-trigger", {**body, **bad})
        assert answer.status_code == 400, bad
    slack = {
        **body,
        "source": "slack",
        "name": "A1",
        "secret": "0123456789abcdef0123456789abcdef",
        "base_url": "http://x/",
    }
    answer = await world.alice.post("/agent_api_keys/webhook-trigger", slack)
    assert (answer.json()["secret"], answer.json()["webhook_url"]) == (slack["secret"], "http://x" + path)
    assert (await world.bob.post("/agent_api_keys/webhook-trigger", {**body, "name": "b"})).status_code == 403
    private = await world.make_agent(None, owner=world.alice, private=True)
    hidden = {**body, "agent_name": private.name}
    assert (await world.bob.post("/agent_api_keys/webhook-trigger", hidden)).status_code == 404


async def test_what_was_done_with_keys_is_in_the_trail(world: World) -> None:
    agent = await world.make_agent(None, owner=world.alice)
    key = await make_key(world.alice, agent)
    await world.alice.delete(f"/agent_api_keys/{key['id']}")
    rows = await world.seed.fetch(
        "SELECT action, actor_id, detail FROM audit WHERE resource_id = $1 ORDER BY id", key["id"]
    )
    assert [(row["action"], row["actor_id"]) for row in rows] == [
        ("api_key.create", world.alice.id),
        ("api_key.delete", world.alice.id),
    ]
    assert key["api_key"] not in str(rows)
