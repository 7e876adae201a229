"""An async agent written with the published SDK that works on events in batches; its tracker says how far it is."""

import asyncio
from collections import defaultdict

from agentex.lib import adk
from agentex.lib.sdk.fastacp.fastacp import FastACP
from agentex.lib.types.fastacp import AsyncACPConfig
from agentex.types.text_content import TextContent

MOST = 4

acp = FastACP.create(acp_type="async", config=AsyncACPConfig(type="base"))
working = defaultdict(asyncio.Lock)


@acp.on_task_create
async def created(params):
    tracker = await adk.agent_task_tracker.get_by_task_and_agent(task_id=params.task.id, agent_id=params.agent.id)
    await adk.agent_task_tracker.update(tracker_id=tracker.id, status="READY")


@acp.on_task_event_send
async def event(params):
    ids = {"task_id": params.task.id, "agent_id": params.agent.id}
    async with working[params.task.id]:
        tracker = await adk.agent_task_tracker.get_by_task_and_agent(**ids)
        cursor = tracker.last_processed_event_id
        while batch := await adk.events.list_events(**ids, last_processed_event_id=cursor, limit=MOST):
            await adk.agent_task_tracker.update(
                tracker_id=tracker.id,
                last_processed_event_id=cursor,
                status="PROCESSING",
                status_reason=f"{len(batch)}",
            )
            await asyncio.sleep(0.2)  # the work, during which more may come
            said = ", ".join(one.content.content for one in batch)
            await adk.messages.create(task_id=params.task.id, content=TextContent(author="agent", content=said))
            cursor = batch[-1].id
            await adk.agent_task_tracker.update(tracker_id=tracker.id, last_processed_event_id=cursor, status="READY")


@acp.on_task_cancel
async def cancelled(params):
    pass
