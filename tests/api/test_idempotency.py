"""What is sent twice is done once: with an Idempotency-Key, and by the published client's repeats without one."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import httpx
import pytest
from support.agent import FakeAgent
from support.graph import WAIT_SECONDS, AgentParty, Json, Party, World, text
from support.server import Server, serve

from remit.db.pool import Connection
from remit.errors import RemitError
from remit.idempotency import hash_request
from remit.retention import remove_older

CREATE: Json = {"id": 1, "jsonrpc": "2.0", "method": "task/create", "params": {"params": {"a": 1}}}


async def create(
    party: Party, agent: AgentParty, key: str | None = None, body: Json | None = None, *, retries: int | None = None
) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    if retries is not None:
        headers["x-stainless-retry-count"] = str(retries)
    return await party.call("POST", f"/agents/{agent.id}/rpc", json=body or CREATE, headers=headers)


async def count_tasks(world: World) -> int:
    rows = await world.seed.fetch("SELECT count(*) AS n FROM tasks WHERE tenant_id = $1", world.tenant_id)
    count: int = rows[0]["n"]
    return count


async def test_the_same_key_and_body_get_the_same_answer(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    first, again = [await create(world.alice, agent, "k1") for _ in range(2)]
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert await count_tasks(world) == 1


async def test_another_body_under_the_key_is_refused_and_makes_nothing(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    await create(world.alice, agent, "k1")
    other = await create(world.alice, agent, "k1", {**CREATE, "params": {"params": {"a": 2}}})
    assert other.status_code == 422
    assert other.json()["type"] == "urn:remit:problem:idempotency-key-reused"
    assert other.headers["x-should-retry"] == "false"
    elsewhere = await world.make_agent(fake.url)
    assert (await create(world.alice, elsewhere, "k1")).status_code == 422
    assert await count_tasks(world) == 1


async def test_a_key_is_its_principals_own(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    mine, his = await create(world.alice, agent, "k1"), await create(world.bob, agent, "k1")
    assert mine.json()["result"]["id"] != his.json()["result"]["id"]


async def test_a_key_serves_every_create(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    bodies = {
        "/messages": {"task_id": task["id"], "content": text("x")},
        "/messages/batch": {"task_id": task["id"], "contents": [text("x"), text("y")]},
        "/states": {"task_id": task["id"], "agent_id": agent.id, "state": {"a": 1}},
        "/spans": {"trace_id": "t", "task_id": task["id"], "name": "n", "start_time": "2026-01-01T00:00:00Z"},
    }
    for path, body in bodies.items():
        answers = [
            await world.alice.call("POST", path, json=body, headers={"idempotency-key": "one"})
            if path == "/messages"
            else await world.alice.call("POST", path, json=body, headers={"idempotency-key": f"key of {path}"})
            for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [200, 200], (path, answers[1].text)
        assert answers[0].json() == answers[1].json(), path
    owned = await world.make_agent(fake.url, owner=world.alice)
    made = {
        "/agents/register": {"name": "once", "acp_url": fake.url, "acp_type": "sync"},
        "/agents/register-build": {"name": "once-built", "description": "d"},
        "/agent_api_keys": {"agent_id": owned.id, "name": "k", "api_key_type": "internal"},
        "/agent_api_keys/webhook-trigger": {"agent_name": owned.name, "name": "a/b", "forward_path": "hook"},
        "/checkpoints/put": {"thread_id": task["id"], "checkpoint_id": "1", "checkpoint": {"channel_versions": {}}},
    }
    for path, body in made.items():
        first, again = [
            await world.alice.call("POST", path, json=body, headers={"idempotency-key": path}) for _ in range(2)
        ]
        assert (first.status_code, again.status_code) == (200, 200), (path, first.text, again.text)
        assert first.json() == again.json(), "a secret that got lost on the way is shown again"
        assert again.headers["idempotent-replayed"] == "true", path
    for table, expected in (("messages", 3), ("states", 1), ("spans", 1)):
        rows = await world.seed.fetch(f"SELECT 1 FROM {table} WHERE task_id = $1", task["id"])
        assert len(rows) == expected, table


async def test_a_replay_shows_nothing_that_may_not_be_read_any_more(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    await world.alice.share(task, world.bob, "editor")
    body = {"task_id": task["id"], "content": text("a secret of the task")}
    sent = {"json": body, "headers": {"idempotency-key": "k"}}
    assert (await world.bob.call("POST", "/messages", **sent)).status_code == 200
    await world.alice.delete(f"/tasks/{task['id']}/access", subject_type="user", subject_id=world.bob.name)
    replay = await world.bob.call("POST", "/messages", **sent)
    assert replay.status_code == 404
    assert "a secret of the task" not in replay.text
    registration = {"name": "given-away", "acp_url": fake.url, "acp_type": "sync"}
    sent = {"json": registration, "headers": {"idempotency-key": "r"}}
    registered = (await world.bob.call("POST", "/agents/register", **sent)).json()
    body = {"subject_type": "user", "subject_id": "alice", "role": "owner"}
    await world.bob.put(f"/agents/{registered['id']}/access", body)
    await world.alice.delete(f"/agents/{registered['id']}/access", subject_type="user", subject_id="bob")
    assert registered["agent_api_key"] not in (await world.bob.call("POST", "/agents/register", **sent)).text
    created = await create(world.alice, agent, "k2")
    await world.alice.delete(f"/tasks/{created.json()['result']['id']}")
    assert (await create(world.alice, agent, "k2")).status_code == 404


async def test_sixteen_at_once_on_two_servers_make_one_task(
    own_server: Server, own_world: World, fake: FakeAgent
) -> None:
    agent = await own_world.make_agent(fake.url)
    headers = {"idempotency-key": "once"}
    async with serve(own_server.dsn) as second:
        urls = [own_server.url, second.url] * 8

        async def ask(url: str) -> httpx.Response:
            while True:
                path = f"{url}/agents/{agent.id}/rpc"
                response = await own_world.alice.call("POST", path, json=CREATE, headers=headers)
                if response.status_code != 409:
                    return response
                assert response.headers["x-should-retry"] == "true"
                assert response.headers["retry-after"] == "1"
                await asyncio.sleep(0.05)

        answers = await asyncio.gather(*map(ask, urls))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["result"]["id"] for answer in answers}) == 1
    assert await count_tasks(own_world) == 1


async def test_a_failure_gives_the_key_back(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    sent = {"json": {"task_id": task["id"], "content": text("x")}, "headers": {"idempotency-key": "k"}}
    assert (await world.bob.call("POST", "/messages", **sent)).status_code == 404
    await world.alice.share(task, world.bob, "editor")
    assert (await world.bob.call("POST", "/messages", **sent)).status_code == 200


async def test_a_streamed_answer_is_not_kept_and_not_made_twice(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    params = {"task_id": task["id"], "content": text("x"), "stream": True}
    body = {"id": 1, "method": "message/send", "params": params}
    assert (await create(world.alice, agent, "k", body)).status_code == 200
    again = await create(world.alice, agent, "k", body)
    assert again.status_code == 409
    assert again.headers["x-should-retry"] == "false"
    assert len(fake.calls) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "naïve"])
async def test_a_bad_key_is_refused(world: World, fake: FakeAgent, key: str) -> None:
    agent = await world.make_agent(fake.url)
    path = f"/agents/{agent.id}/rpc"
    headers = {b"idempotency-key": key.encode(), **{k.encode(): v.encode() for k, v in world.alice.headers.items()}}
    response = await world.seed.http.request("POST", path, json=CREATE, headers=headers)
    assert response.status_code == 422
    assert await count_tasks(world) == 0


async def test_what_is_stored_is_neither_key_nor_answer_in_clear(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    await create(world.alice, agent, "recognisable-key", {**CREATE, "params": {"params": {"word": "recognisable"}}})
    rows = await world.seed.fetch("SELECT * FROM idempotent_requests WHERE tenant_id = $1", world.tenant_id)
    assert len(rows) == 1
    assert rows[0]["status"] == 200
    assert not any(b"recognisable" in value for value in rows[0].values() if isinstance(value, bytes))
    assert "recognisable" not in str({k: v for k, v in rows[0].items() if not isinstance(v, bytes)})


async def test_a_key_is_kept_for_a_day(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    agent = await own_world.make_agent(fake.url)
    first = await create(own_world.alice, agent, "k1")
    await own_world.seed.fetch("UPDATE idempotent_requests SET created_at = now() - interval '23 hours'")
    assert (await create(own_world.alice, agent, "k1")).json() == first.json()
    await own_world.seed.fetch("UPDATE idempotent_requests SET created_at = now() - interval '25 hours'")
    assert (await create(own_world.alice, agent, "k1")).json()["result"]["id"] != first.json()["result"]["id"]
    await own_world.seed.fetch("UPDATE idempotent_requests SET created_at = now() - interval '25 hours'")
    age = timedelta(days=1)
    assert await remove_older(own_server.database, "idempotent_requests", "created_at", age) == 1


async def test_a_repeat_of_the_client_gets_the_task_of_the_first(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    first = await create(world.alice, agent, retries=0)
    repeat = await create(world.alice, agent, retries=1)
    assert repeat.json()["result"]["id"] == first.json()["result"]["id"]
    fresh = await create(world.alice, agent, retries=0)
    assert fresh.json()["result"]["id"] != first.json()["result"]["id"]


async def test_a_repeat_by_another_or_with_another_body_makes_its_own(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    await create(world.alice, agent)
    await create(world.bob, agent, retries=1)
    other = {**CREATE, "params": {"params": {"a": 2}}}
    await create(world.alice, agent, body=other, retries=1)
    assert await count_tasks(world) == 3


async def test_a_repeat_with_another_key_makes_its_own(world: World, fake: FakeAgent) -> None:
    """Each of them may be the repeat of a first that made nothing."""
    agent = await world.make_agent(fake.url)
    made = [await create(world.alice, agent, "k1"), await create(world.alice, agent, "k2", retries=1)]
    made += [await create(world.alice, agent, retries=1)]
    assert len({answer.json()["result"]["id"] for answer in made}) == 3
    assert (await create(world.alice, agent, "k2", retries=2)).json() == made[1].json()


async def test_a_repeat_after_a_minute_makes_a_task(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    await create(world.alice, agent)
    await world.seed.fetch(
        "UPDATE tasks SET created_at = now() - interval '61 seconds' WHERE tenant_id = $1", world.tenant_id
    )
    await create(world.alice, agent, retries=2)
    assert await count_tasks(world) == 2


async def test_a_repeated_send_goes_on_in_the_task_of_the_first(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    body = {"id": 1, "method": "message/send", "params": {"content": text("x")}}
    await create(world.alice, agent, body=body)
    await create(world.alice, agent, body=body, retries=1)
    assert await count_tasks(world) == 1


async def waiting(world: World, count: int) -> None:
    """Wait until so many statements wait for a lock of a request."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            rows = await world.seed.fetch(
                "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            if rows[0]["n"] == count:
                return
            await asyncio.sleep(0.02)


async def hold_lock(world: World, connection: Connection, agent: AgentParty, body: Json, lock: str) -> None:
    """Take the lock of a request of Alice's until the transaction ends."""
    request = world.seed.http.build_request("POST", f"/agents/{agent.id}/rpc", json=body)
    request_hash = hash_request(request.url.path.encode(), request.read())
    await connection.execute(
        f"SELECT {lock}(hashtextextended($1::text || encode($2, 'hex'), 0))", world.alice.id, request_hash
    )


def test_each_error_that_the_client_would_repeat_says_whether_that_helps() -> None:
    """The published client repeats 409, 429 and all from 500 on, unless it is told not to."""
    classes, left = set[type[RemitError]](), [RemitError]
    while left:
        classes |= (found := set(left.pop().__subclasses__()))
        left += found
    repeated = {one for one in classes if one.status in (409, 429) or one.status >= 500}
    assert {one.__name__ for one in repeated if one.retry is None} == set()
    assert len(classes) > 15


SEND: Json = {"id": 1, "jsonrpc": "2.0", "method": "message/send", "params": {"content": text("x")}}


@pytest.mark.parametrize("body", [CREATE, SEND], ids=["create", "send"])
@pytest.mark.parametrize("retries", [(0, 1), (1, 0), (1, 2, 1, 2), (2, 0, 1)], ids=str)
async def test_a_repeat_and_its_first_make_one_task_in_each_order(
    world: World, fake: FakeAgent, retries: tuple[int, ...], body: Json
) -> None:
    """All are in the middle of their statements, in two processes, before the first of them may go on."""
    agent = await world.make_agent(fake.url)
    await create(world.alice, agent, body={**CREATE, "method": "task/cancel"})  # whose key it is is known then
    async with world.seed.database.transaction() as connection:
        await hold_lock(world, connection, agent, body, "pg_advisory_xact_lock")
        asked = []
        for number in retries:
            asked.append(asyncio.create_task(create(world.alice, agent, body=body, retries=number)))
            await waiting(world, len(asked))
    answers = await asyncio.gather(*asked)
    assert [answer.status_code for answer in answers] == [200] * len(retries)
    assert await count_tasks(world) == 1
    if body is CREATE:
        assert len({answer.json()["result"]["id"] for answer in answers}) == 1


async def test_requests_at_the_same_moment_make_one_task(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    for made, retries in enumerate([(0, 1), (1, 0), (0, 1, 1), (1, 1, 2, 2)] * 3):
        body = {**CREATE, "params": {"params": {"round": made}}}
        answers = await asyncio.gather(*(create(world.alice, agent, body=body, retries=number) for number in retries))
        assert len({answer.json()["result"]["id"] for answer in answers}) == 1, retries
        assert await count_tasks(world) == made + 1


async def test_a_create_after_the_answer_of_a_repeat_makes_its_own(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    repeat = await create(world.alice, agent, retries=1)
    fresh = [await create(world.alice, agent) for _ in range(2)]
    assert len({answer.json()["result"]["id"] for answer in [repeat, *fresh]}) == 3


async def test_a_first_that_waits_for_a_connection_gets_the_task_of_its_repeat(
    own_server: Server, own_world: World, fake: FakeAgent
) -> None:
    agent = await own_world.make_agent(fake.url)
    await create(own_world.alice, agent, body={**CREATE, "method": "task/cancel"})  # whose key it is is known then
    async with serve(own_server.dsn) as second:
        async with AsyncExitStack() as all_connections:
            for _ in range(own_server.app.state.settings.pool_size):
                await all_connections.enter_async_context(own_server.database.connection())
            first = asyncio.create_task(create(own_world.alice, agent))
            path, headers = f"{second.url}/agents/{agent.id}/rpc", {"x-stainless-retry-count": "1"}
            repeat = await own_world.alice.call("POST", path, json=CREATE, headers=headers)
            assert not first.done()
        assert (await first).json()["result"]["id"] == repeat.json()["result"]["id"]
    assert await count_tasks(own_world) == 1


async def test_firsts_neither_find_each_other_nor_wait_for_each_other(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    async with world.seed.database.transaction() as connection, asyncio.timeout(WAIT_SECONDS):
        await hold_lock(world, connection, agent, CREATE, "pg_advisory_xact_lock_shared")  # as a first that is slow
        answers = await asyncio.gather(*(create(world.alice, agent) for _ in range(8)))
    assert len({answer.json()["result"]["id"] for answer in answers}) == 8


async def test_a_repeat_of_a_first_that_was_refused_makes_the_task(world: World) -> None:
    agent = await world.make_agent(None, "async")
    assert (await create(world.alice, agent)).status_code == 400
    assert (await create(world.alice, agent, retries=1)).status_code == 400
    await world.seed.execute("UPDATE agents SET acp_type = 'sync' WHERE id = $1", agent.id)
    made = [await create(world.alice, agent, retries=number) for number in (1, 2)]
    assert [answer.status_code for answer in made] == [200, 200]
    assert await count_tasks(world) == 1
