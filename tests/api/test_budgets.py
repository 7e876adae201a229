"""What a request costs: SQL statements, authorization questions, connections. Counted, never timed."""

import asyncio

from support.agent import AgentCall, FakeAgent, hang
from support.databases import make_database
from support.graph import World, make_world, open_seeder, text
from support.server import Server, record_statements, serve

from remit.db.embedded import EmbeddedPostgres
from remit.telemetry.metrics import CHECKS_PER_REQUEST

AUTHENTICATION = 0  # of a key that was seen lately: it is asked about in the statement that answers


async def test_statements_of_a_request(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    world = own_world
    agent = await world.make_agent(fake.url, "async")
    sync = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent, "known")
    talk = await world.alice.make_task(sync)
    group = await world.seed.make_group(world.tenant_id, "team", [world.bob])
    await world.alice.share(task, group, "viewer")
    await world.alice.post("/messages", {"task_id": task["id"], "content": text("x")})

    async def count(method: str, path: str, body: object = None) -> int:
        with record_statements(own_server) as statements:
            response = await world.alice.call(method, path, json=body)
        assert response.status_code == 200, response.text
        return len(statements) - AUTHENTICATION

    rpc = f"/agents/{agent.id}/rpc"
    assert await count("GET", f"/tasks/{task['id']}") == 1
    assert await count("GET", "/tasks/name/known") == 1
    assert await count("GET", f"/agents/{agent.id}") == 1
    assert await count("GET", "/tasks") == 1
    assert await count("GET", "/tasks?creator=me&agent_name=x&status=RUNNING&limit=7") == 2
    assert await count("GET", "/tasks?relationships=agents") == 2
    assert await count("GET", "/agents") == 1
    assert await count("GET", f"/messages?task_id={task['id']}") == 2
    assert await count("GET", "/me") == 1
    # task/create: at most 6 with authentication; an unnamed one needs no look-up of its name.
    assert await count("POST", rpc, {"method": "task/create", "params": {}}) == 1
    assert await count("POST", rpc, {"method": "task/create", "params": {"name": "new"}}) == 2
    assert await count("POST", rpc, {"method": "task/create", "params": {"name": "known"}}) == 1
    assert await count("POST", rpc, {"method": "event/send", "params": {"task_id": task["id"]}}) == 2
    assert await count("PUT", f"/tasks/{task['id']}", {"task_metadata": {"a": 1}}) == 2
    assert await count("POST", f"/tasks/{task['id']}/complete", {}) == 2
    send = {"method": "message/send", "params": {"task_id": talk["id"], "content": text("x")}}
    assert await count("POST", f"/agents/{sync.id}/rpc", send) <= 10


async def test_a_list_asks_no_question_per_row(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    agent = await own_world.make_agent(fake.url)
    for _ in range(30):
        await own_world.alice.make_task(agent)

    def asked() -> float:
        return next(s.value for m in CHECKS_PER_REQUEST.collect() for s in m.samples if s.name.endswith("_sum"))

    await own_world.alice.get("/tasks", relationships="agents")  # the driver looks types up once per connection
    before = asked()
    with record_statements(own_server) as statements:
        assert len((await own_world.alice.get("/tasks", relationships="agents")).json()) == 30
    assert asked() - before <= 2
    assert len(statements) == AUTHENTICATION + 2


async def test_slow_agents_take_no_database_connection(
    postgres: EmbeddedPostgres, template: str, fake: FakeAgent
) -> None:
    waiting: set[str] = set()
    all_there = asyncio.Event()

    async def wait(call: AgentCall) -> None:
        waiting.add(call.task_id)
        if len(waiting) == 50:
            all_there.set()
        await hang(call)

    fake.handle = wait
    with make_database(postgres, template) as dsn:
        async with serve(dsn, pool_size=2, pool_timeout=20) as server, open_seeder(dsn, server.url) as seed:
            world = await make_world(seed)
            sync, asynchronous = await world.make_agent(fake.url), await world.make_agent(fake.url, "async")
            sends = [
                {"method": "message/send", "params": {"content": text("x"), "stream": n % 2 == 0}} for n in range(25)
            ]
            creates = [{"method": "task/create", "params": {"name": f"n{n}"}} for n in range(25)]
            calls = [
                asyncio.create_task(world.alice.post(f"/agents/{agent.id}/rpc", body))
                for agent, bodies in ((sync, sends), (asynchronous, creates))
                for body in bodies
            ]
            try:
                async with asyncio.timeout(60):
                    await all_there.wait()
                for path in ("/tasks", "/tasks/name/n0", "/me", "/readyz"):
                    assert (await world.alice.get(path)).status_code == 200
                assert not any(call.done() for call in calls)
            finally:
                for call in calls:
                    call.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
