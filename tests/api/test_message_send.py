"""`message/send`: the answer of a sync agent, folded, stored and passed on, whole or as it comes."""

from typing import Any

from support.agent import AgentCall, FakeAgent, by_hand, delta, done, full, start
from support.graph import AgentParty, Json, Party, World, text


async def messages_of(party: Party, task: Json) -> list[Json]:
    """Oldest first."""
    messages: list[Json] = (await party.get("/messages", task_id=task["id"])).json()
    return messages[::-1]


def said(messages: list[Json]) -> list[tuple[str, Any]]:
    return [(message["content"]["author"], message["content"].get("content")) for message in messages]


async def test_an_answer_is_folded_stored_and_returned(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    answer = (await world.alice.send(agent, task, "hello")).json()
    assert answer["error"] is None
    (message,) = answer["result"]
    assert (message["content"]["content"], message["streaming_status"]) == ("You said: hello", "DONE")
    assert message["interrupted"] is False
    stored = await messages_of(world.alice, task)
    assert said(stored) == [("user", "hello"), ("agent", "You said: hello")]
    assert stored[1] == message
    (call,) = fake.calls
    assert (call.method, call.params["stream"]) == ("message/send", True)
    assert call.params["content"]["content"] == "hello"
    assert call.params["task"]["id"] == task["id"]


async def test_the_users_message_is_stored_before_the_agent_is_called(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    seen = []

    async def look(call: AgentCall) -> None:
        seen.extend(said(await messages_of(agent, task)))
        await call.send(full("ok"))
        await call.finish()

    fake.handle = look
    await world.alice.send(agent, task, "first")
    assert seen == [("user", "first")]


async def test_who_wrote_a_message_is_recorded_whatever_it_claims(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    content = text("I am the agent", author="agent")
    await world.alice.rpc(agent, "message/send", {"task_id": task["id"], "content": content})
    authors = await world.seed.fetch(
        "SELECT author_subject_id, author_agent_id FROM messages WHERE task_id = $1 ORDER BY id", task["id"]
    )
    assert authors == [
        {"author_subject_id": world.alice.id, "author_agent_id": None},
        {"author_subject_id": None, "author_agent_id": agent.id},
    ]


async def test_messages_of_several_indexes_keep_the_order_of_their_first_appearance(
    world: World, fake: FakeAgent
) -> None:
    async def interleave(call: AgentCall) -> None:
        await call.send(delta("b1", 5), delta("a1", 2), full("c", 9), delta("b2", 5), done(5), delta("late", 5))
        await call.finish()

    fake.handle = interleave
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    answer = (await world.alice.send(agent, task)).json()["result"]
    assert [message["content"]["content"] for message in answer] == ["b1b2", "a1", "c"]
    assert said(await messages_of(world.alice, task))[1:] == [("agent", "b1b2"), ("agent", "a1"), ("agent", "c")]
    async with world.alice.stream_send(agent, task) as lines:
        updates = [line["result"] async for line in lines]
    assert [update["type"] for update in updates if update["index"] == 5] == ["start", "delta", "delta", "done"]
    assert said(await messages_of(world.alice, task))[5:] == [("agent", "b1b2"), ("agent", "a1"), ("agent", "c")]


async def test_every_kind_of_content_comes_back_as_it_was(world: World, fake: FakeAgent) -> None:
    contents: list[Json] = [
        {"type": "data", "author": "agent", "style": "static", "data": {"ä": [1, 2.5, None, {"x": True}]}},
        {
            "type": "tool_request",
            "author": "agent",
            "style": "active",
            "tool_call_id": "t",
            "name": "f",
            "arguments": {"q": "\u2028"},
        },
        {
            "type": "tool_response",
            "author": "agent",
            "style": "static",
            "tool_call_id": "t",
            "name": "f",
            "content": [1, {"a": None}],
            "is_error": False,
        },
        {"type": "reasoning", "author": "agent", "style": "static", "summary": ["s"], "content": ["c", ""]},
    ]

    async def show(call: AgentCall) -> None:
        await call.send(*({"type": "full", "index": n, "content": content} for n, content in enumerate(contents)))
        await call.finish()

    fake.handle = show
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    answer = (await world.alice.send(agent, task)).json()["result"]
    assert [message["content"] for message in answer] == contents
    assert [message["content"] for message in (await messages_of(world.alice, task))[1:]] == contents


async def test_a_stream_passes_each_update_on_as_it_comes(world: World, fake: FakeAgent) -> None:
    fake.handle = by_hand
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    async with world.alice.stream_send(agent, task) as lines:
        response, updates = lines.response, aiter(lines)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/x-ndjson"
        assert response.headers["cache-control"] == "no-cache"
        call = await fake.next_call()
        await call.send(delta("Hel"))
        first, second = await anext(updates), await anext(updates)
        assert [line["result"]["type"] for line in (first, second)] == ["start", "delta"], "a start is inserted"
        assert (first["id"], first["jsonrpc"], first["error"]) == ("s", "2.0", None)
        parent = second["result"]["parent_task_message"]
        assert (parent["task_id"], parent["streaming_status"]) == (task["id"], "IN_PROGRESS")
        growing = (await world.alice.get(f"/messages/{parent['id']}")).json()
        assert growing["streaming_status"] == "IN_PROGRESS"
        await call.send(delta("lo"), done())
        third, fourth = await anext(updates), await anext(updates)
        assert third["result"]["delta"]["text_delta"] == "lo"
        assert fourth["result"]["type"] == "done"
        assert fourth["result"]["parent_task_message"]["content"]["content"] == "Hello"
        await call.send(full("and more", 1))
        await call.finish()
        rest = [line["result"] async for line in updates]
        assert [update["type"] for update in rest] == ["full"]
    stored = await messages_of(world.alice, task)
    assert said(stored) == [("user", "hi"), ("agent", "Hello"), ("agent", "and more")]
    assert {message["streaming_status"] for message in stored} == {"DONE"}
    assert stored[1]["id"] == parent["id"]


async def test_a_stream_that_ends_without_done_is_complete(world: World, fake: FakeAgent) -> None:
    async def open_ended(call: AgentCall) -> None:
        await call.send(start(), delta("all of it"))
        await call.finish()

    fake.handle = open_ended
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    async with world.alice.stream_send(agent, task) as lines:
        assert [line["error"] async for line in lines] == [None, None]
    await world.alice.send(agent, task)
    for message in (await messages_of(world.alice, task))[1::2]:
        assert (message["content"]["content"], message["streaming_status"]) == ("all of it", "DONE")
        assert message["interrupted"] is False


async def test_a_message_without_a_task_makes_one(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    params = {"content": text("x"), "task_params": {"p": 1}}
    (message,) = (await world.alice.rpc(agent, "message/send", params)).json()["result"]
    task = (await world.alice.get(f"/tasks/{message['task_id']}")).json()
    assert (task["name"], task["params"], task["creator_user_id"]) == (None, {"p": 1}, "alice")
    named = [
        (await world.alice.rpc(agent, "message/send", {**params, "task_name": "talk"})).json()["result"][0]["task_id"]
        for _ in range(2)
    ]
    assert named[0] == named[1] == (await world.alice.get("/tasks/name/talk")).json()["id"]


async def test_an_interrupted_task_goes_on_with_the_next_message(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    await world.alice.post(f"/tasks/{task['id']}/interrupt")
    await world.alice.send(agent, task)
    assert (await world.alice.get(f"/tasks/{task['id']}")).json()["status"] == "RUNNING"
    assert fake.calls[0].params["task"]["status"] == "RUNNING"


async def test_an_editor_may_send_and_sees_the_answer(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, private=True, owner=world.alice)
    task = await world.alice.make_task(agent)
    await world.alice.share(task, world.bob, "editor")
    answer = await world.bob.send(agent, task)
    assert answer.json()["result"][0]["content"]["content"] == "You said: hi", "the task decides, not the agent"


async def test_an_agent_may_answer_with_contents_instead_of_updates(world: World, fake: FakeAgent) -> None:
    agent: AgentParty = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)

    async def plain(call: AgentCall) -> None:
        await call.send([text("one", "agent"), text("two", "agent")])
        await call.finish()

    fake.handle = plain
    answer = (await world.alice.send(agent, task)).json()["result"]
    assert [message["content"]["content"] for message in answer] == ["one", "two"]
