"""Two server processes behind one database: what one of them is told holds in the other with its next request.

The API's tests have two processes behind them as well (`tests/api/conftest.py`); here are the parts that those run
with settings of their own. Consecutive requests of a client go to one process and the other.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from redis.asyncio import Redis
from support.agent import FakeAgent
from support.databases import make_database
from support.graph import Json, Seeder, World, open_seeder, text
from support.issuer import Issuer, run_issuer
from support.processes import run_remit
from support.redis_server import RedisServer, run_redis
from support.streams import kind, open_stream

from remit.db.embedded import EmbeddedPostgres

PROXY_SECRET = "s" * 40
REQUESTS, STREAMS = 100, 2
"""What a principal may: requests in an hour, and streams at once. Each process counts for itself."""


@dataclass(frozen=True)
class Site:
    """The two processes, and what is beside them."""

    urls: list[str]
    dsn: str
    issuer: Issuer
    redis: RedisServer


@contextmanager
def issuer_in_thread() -> Iterator[Issuer]:
    """An identity provider that answers while no test's event loop runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running = run_issuer()
    try:
        yield asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def site(postgres: EmbeddedPostgres, template: str) -> Iterator[Site]:
    with ExitStack() as stack:
        dsn = stack.enter_context(make_database(postgres, template))
        issuer, redis = stack.enter_context(issuer_in_thread()), stack.enter_context(run_redis())
        proxy = {"addresses": ["127.0.0.1/32"], "secret": PROXY_SECRET, "tenant_header": "x-forwarded-tenant"}
        settings: dict[str, Any] = {
            "REMIT_DATABASE_URL": dsn,
            "REMIT_SECRET_KEY": "k" * 40,
            "REMIT_REDIS_URL": redis.url,
            "REMIT_IDENTITY_PROVIDERS": json.dumps([issuer.provider()]),
            "REMIT_TRUSTED_PROXY": json.dumps(proxy),
            "REMIT_RATE_LIMIT": f"{REQUESTS}/hour",
            "REMIT_STREAMS_PER_PRINCIPAL": str(STREAMS),
            "REMIT_STREAM_PING": "0.2",
            "REMIT_EMBEDDED_WORKER": "false",
        }
        servers = [stack.enter_context(run_remit(None, **settings)) for _ in range(2)]
        yield Site([server.url for server in servers], dsn, issuer, redis)


@pytest.fixture
async def seed(site: Site) -> AsyncIterator[Seeder]:
    async with open_seeder(site.dsn, site.urls[0], others=site.urls[1:]) as seeder:
        yield seeder


async def test_an_identity_from_outside_is_one_subject_in_both(site: Site, seed: Seeder) -> None:
    acme = await seed.make_tenant()
    await seed.make_tenant("globex-of-two")
    token = site.issuer.token("alice", tenants=[acme, "globex-of-two"])
    headers = {"authorization": f"Bearer {token}", "x-selected-account-id": acme}
    answers = await asyncio.gather(*(seed.http.get("/me", headers=headers) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    for _ in range(2):
        assert (await seed.http.get("/me", headers={**headers, "x-selected-account-id": ""})).status_code == 400
    site.issuer.add_key("k2")
    rotated = {**headers, "authorization": f"Bearer {site.issuer.token('alice', kid='k2', tenants=acme)}"}
    proxy = {"x-forwarded-user": "bob", "x-forwarded-tenant": acme, "x-remit-proxy-secret": PROXY_SECRET}
    for shown in (rotated, proxy):
        assert len({(await seed.http.get("/me", headers=shown)).json()["id"] for _ in range(2)}) == 1
    await seed.execute("UPDATE subjects SET disabled_at = now() WHERE tenant_id = $1", acme)
    for shown in (headers, rotated, proxy):
        assert [(await seed.http.get("/me", headers=shown)).status_code for _ in range(2)] == [401, 401]


async def test_a_revocation_by_way_of_one_ends_streams_of_both(site: Site, world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    path = f"/tasks/{task['id']}/stream"
    for _ in range(2):
        await world.alice.share(task, world.bob, "viewer")
        async with open_stream(world.bob, path) as here, open_stream(world.bob, path) as there:
            for frames in (here, there):
                assert kind(await frames.next()) == "connected"
            await world.alice.delete(f"/tasks/{task['id']}/access", subject_type="user", subject_id="bob")
            assert [(await world.bob.get(f"/tasks/{task['id']}")).status_code for _ in range(2)] == [404, 404]
            await world.alice.post("/messages", {"task_id": task["id"], "content": text("secret")})
            for frames in (here, there):
                assert not any("secret" in str(event) for event in await frames.rest())
    # A key that one of them has ended is dead in both; so is one of the agent's own.
    body = {"agent_id": agent.id, "name": "k", "api_key_type": "internal"}
    key = (await world.root.post("/agent_api_keys", body)).json()
    shown = {"x-agent-api-key": key["api_key"]}
    assert [(await seed_get(world, shown)) for _ in range(2)] == [200, 200]
    assert (await world.root.delete(f"/agent_api_keys/{key['id']}")).status_code == 200
    assert [(await seed_get(world, shown)) for _ in range(2)] == [401, 401]


async def seed_get(world: World, headers: dict[str, str]) -> int:
    return (await world.seed.http.get("/me", headers=headers)).status_code


async def test_what_agents_publish_to_redis_reaches_readers_of_both_once(
    site: Site, world: World, fake: FakeAgent
) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    path = f"/tasks/{task['id']}/stream"
    client = Redis.from_url(site.redis.url)

    async def tell(type: str, message: Json, **more: object) -> None:
        event = {"type": type, "index": None, "parent_task_message": message, **more}
        await client.xadd(f"task:{task['id']}", {"data": json.dumps(event)}, maxlen=10_000)

    async with open_stream(world.alice, path) as here, open_stream(world.alice, path) as there:
        for frames in (here, there):
            assert kind(await frames.next()) == "connected"
        begun = {"task_id": task["id"], "content": text("", "agent"), "streaming_status": "IN_PROGRESS"}
        message = (await agent.post("/messages", begun)).json()
        await tell("start", message, content=message["content"])
        for piece in ("one ", "two"):
            await tell("delta", message, delta={"type": "text", "text_delta": piece})
        await tell("done", message)
        final = {"task_id": task["id"], "content": text("one two", "agent"), "streaming_status": "DONE"}
        assert (await agent.put(f"/messages/{message['id']}", final)).status_code == 200
        # One more, told by the server alone, so that what is awaited has an end.
        await world.alice.post("/messages", {"task_id": task["id"], "content": text("and then")})
        for frames in (here, there):
            events: list[Json] = []
            while "and then" not in str(events[-1:]):
                event = await frames.next()
                assert event is not None
                events.append(event)
            kinds = [kind(event) for event in events[:-1]]
            assert kinds.count("start") == 1
            assert kinds.count("delta") == 2
            assert kinds.count("done") <= 1
            assert kinds.count("done") + kinds.count("full") >= 1, "its end is told"
    # What the server itself tells is there for whoever else reads that Redis, once.
    entries: Any = await client.xrange(f"task:{task['id']}")
    stored = [json.loads(entry[b"data"]) for _, entry in entries]
    await client.aclose()
    assert sum("and then" in str(event) for event in stored) == 1


async def test_each_process_counts_for_itself(world: World, fake: FakeAgent) -> None:
    """As documented: a limit is one of a process, and with two of them a principal has twice as much."""
    statuses = [(await world.bot.get("/me")).status_code for _ in range(2 * REQUESTS + 6)]
    assert statuses.count(200) == 2 * REQUESTS
    assert statuses[2 * REQUESTS :] == [429] * 6
    assert (await world.alice.get("/me")).status_code == 200
    task = await world.alice.make_task(await world.make_agent(fake.url))
    path = f"/tasks/{task['id']}/stream"
    async with (
        open_stream(world.alice, path),
        open_stream(world.alice, path),
        open_stream(world.alice, path),
        open_stream(world.alice, path),
    ):
        for _ in range(2):
            assert (await world.alice.get(path)).status_code == 429
    async with open_stream(world.alice, path) as again:
        assert kind(await again.next()) == "connected"


async def test_what_is_sent_again_by_way_of_the_other_is_done_once(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    path, body = f"/agents/{agent.id}/rpc", {"method": "task/create", "params": {"params": {"a": 1}}}

    async def create(**headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await world.alice.call("POST", path, json=body, headers=named)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["result"]["id"])

    assert len({await create(idempotency_key="once") for _ in range(4)}) == 1
    first = await create(x_stainless_retry_count="0")
    assert {await create(x_stainless_retry_count="1") for _ in range(2)} == {first}
    other = {**body, "params": {"params": {"a": 2}}}
    for _ in range(2):
        refused = await world.alice.call("POST", path, json=other, headers={"idempotency-key": "once"})
        assert refused.status_code == 422
