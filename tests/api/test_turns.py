"""One message at a time on a task: others wait their turn, on any server, and no dead holder keeps it."""

import asyncio

from support.agent import AgentCall, FakeAgent, by_hand, echo, full
from support.graph import AgentParty, Json, Party, World, make_world, open_seeder, text
from support.server import Server, serve

from remit.ids import new_id


async def answer(call: AgentCall, words: str) -> None:
    await call.send(full(words))
    await call.finish()


async def contents(party: Party, task: Json) -> list[str]:
    messages = (await party.get("/messages", task_id=task["id"])).json()
    return [message["content"]["content"] for message in reversed(messages)]


async def check_queued(one: Party, other: Party, agent: AgentParty, task: Json, fake: FakeAgent) -> None:
    """Of two sends the second one reaches the agent when the first has its answer, and both have theirs."""
    fake.handle = by_hand
    first = asyncio.create_task(one.send(agent, task, "first"))
    call = await fake.next_call()
    second = asyncio.create_task(other.send(agent, task, "second"))
    # Were it not queued it would have called the agent long before this.
    await asyncio.sleep(0.3)
    assert len(fake.calls) == 1
    assert await contents(one, task) == ["first"]
    await answer(call, "one")
    await answer(await fake.next_call(), "two")
    for sent, words in ((await first, "one"), (await second, "two")):
        assert [message["content"]["content"] for message in sent.json()["result"]] == [words]
    assert await contents(one, task) == ["first", "one", "second", "two"]


async def test_two_sends_are_queued(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    await check_queued(world.alice, world.alice, agent, task, fake)


async def test_two_sends_are_queued_over_two_servers(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    agent = await own_world.make_agent(fake.url)
    task = await own_world.alice.make_task(agent)
    async with serve(own_server.dsn) as second, open_seeder(second.dsn, second.url) as seed:
        there = Party(**{**vars(own_world.alice), "http": seed.http})
        await check_queued(own_world.alice, there, agent, task, fake)


async def test_many_sends_all_get_their_answer(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    answers = await asyncio.gather(*(world.alice.send(agent, task, f"m{n}") for n in range(8)))
    for n, sent in enumerate(answers):
        assert sent.json()["result"][0]["content"]["content"] == f"You said: m{n}"
    said = await contents(world.alice, task)
    assert [f"You said: {words}" for words in said[::2]] == said[1::2]


async def test_sends_on_different_tasks_do_not_wait(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    tasks = [await world.alice.make_task(agent) for _ in range(3)]
    fake.handle = by_hand
    sending = [asyncio.create_task(world.alice.send(agent, task)) for task in tasks]
    for call in [await fake.next_call() for _ in tasks]:
        await answer(call, "ok")
    assert [sent.status_code for sent in await asyncio.gather(*sending)] == [200] * 3


async def test_a_dead_holders_turn_ends_by_itself(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    await world.seed.execute(
        "INSERT INTO task_turns (task_id, holder, expires_at) VALUES ($1, $2, now() + interval '0.5 s')",
        task["id"],
        new_id(),
    )
    assert (await world.alice.send(agent, task)).json()["error"] is None
    assert await world.seed.fetch("SELECT 1 FROM task_turns WHERE task_id = $1", task["id"]) == []


async def test_a_turn_is_kept_for_as_long_as_the_agent_thinks(database: str, fake: FakeAgent) -> None:
    async with (
        serve(database, turn_lease=0.3, turn_wait=0.0) as server,
        open_seeder(database, server.url) as seed,
    ):
        world = await make_world(seed)
        agent = await world.make_agent(fake.url)
        task = await world.alice.make_task(agent)
        fake.handle = by_hand
        first = asyncio.create_task(world.alice.send(agent, task))
        call = await fake.next_call()
        await asyncio.sleep(0.7)  # more than twice the lease
        busy = await world.alice.send(agent, task, id=1)
        assert busy.status_code == 409
        assert busy.headers["x-should-retry"] == "false"
        assert (busy.json()["error"]["code"], busy.json()["type"]) == (-32009, "urn:remit:problem:task-busy")
        await answer(call, "ok")
        assert (await first).json()["error"] is None
        assert await contents(world.alice, task) == ["hi", "ok"], "the refused message was not stored"


async def test_a_client_that_leaves_the_queue_is_out_of_it(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    fake.handle = by_hand
    first = asyncio.create_task(world.alice.send(agent, task, "first"))
    call = await fake.next_call()
    plain = asyncio.create_task(world.alice.send(agent, task, "gone"))
    streaming = asyncio.create_task(open_and_wait(world.alice, agent, task))
    await asyncio.sleep(0.2)
    for waiting in (plain, streaming):
        waiting.cancel()
    await asyncio.gather(plain, streaming, return_exceptions=True)
    fake.handle = echo
    await answer(call, "one")
    await first
    await asyncio.sleep(0.6)  # longer than the queue sleeps: who is still in it has its turn now
    assert (await world.alice.send(agent, task, "next")).json()["error"] is None
    assert await contents(world.alice, task) == ["first", "one", "next", "You said: next"]


async def open_and_wait(party: Party, agent: AgentParty, task: Json) -> None:
    params = {"task_id": task["id"], "content": text("gone"), "stream": True}
    await party.rpc(agent, "message/send", params)


async def test_the_turn_of_a_stream_that_is_cut_is_free_at_once(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    for _ in range(5):
        task = await world.alice.make_task(agent)
        fake.handle = by_hand
        async with world.alice.stream_send(agent, task):
            call = await fake.next_call()
        await call.wait_until_hung_up()
        fake.handle = echo
        assert (await world.alice.send(agent, task, "next")).json()["error"] is None
