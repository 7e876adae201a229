"""An async agent written with the published SDK: state, messages and a streamed answer through the server's API."""

import asyncio

from agentex.lib import adk
from agentex.lib.sdk.fastacp.fastacp import FastACP
from agentex.lib.types.fastacp import AsyncACPConfig
from agentex.types.task_message_update import StreamTaskMessageDelta
from agentex.types.text_content import TextContent
from agentex.types.text_delta import TextDelta

acp = FastACP.create(acp_type="async", config=AsyncACPConfig(type="base"))


@acp.on_task_create
async def created(params):
    await adk.state.create(task_id=params.task.id, agent_id=params.agent.id, state={"turns": 0})
    await adk.messages.create(task_id=params.task.id, content=TextContent(author="agent", content="ready"))


async def stream(task_id):
    first = TextContent(author="agent", content="")
    async with adk.streaming.streaming_task_message_context(task_id=task_id, initial_content=first) as message:
        for piece in ("one ", "two ", "three"):
            delta = TextDelta(type="text", text_delta=piece)
            await message.stream_update(
                StreamTaskMessageDelta(type="delta", parent_task_message=message.task_message, delta=delta)
            )
            await asyncio.sleep(0.1)  # longer than the SDK gathers deltas


@acp.on_task_event_send
async def event(params):
    state = await adk.state.get_by_task_and_agent(task_id=params.task.id, agent_id=params.agent.id)
    if params.event.content.content == "stream":
        await stream(params.task.id)
        return
    turns = state.state["turns"] + 1
    await adk.state.update(state_id=state.id, task_id=params.task.id, agent_id=params.agent.id, state={"turns": turns})
    content = TextContent(author="agent", content=f"turn {turns}: {params.event.content.content}")
    await adk.messages.create(task_id=params.task.id, content=content)


@acp.on_task_cancel
async def cancelled(params):
    await adk.messages.create(task_id=params.task.id, content=TextContent(author="agent", content="stopped"))
