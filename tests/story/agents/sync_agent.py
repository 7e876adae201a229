"""A sync agent written with the published SDK."""

from agentex.lib.sdk.fastacp.fastacp import FastACP
from agentex.types.task_message_delta import TextDelta
from agentex.types.task_message_update import (
    StreamTaskMessageDelta,
    StreamTaskMessageDone,
    StreamTaskMessageFull,
    StreamTaskMessageStart,
)
from agentex.types.text_content import TextContent

acp = FastACP.create(acp_type="sync")


@acp.on_message_send
async def answer(params):
    said = params.content.content
    if said == "stream":
        yield StreamTaskMessageStart(type="start", index=0, content=TextContent(author="agent", content=""))
        for piece in ("one ", "two ", "three"):
            yield StreamTaskMessageDelta(type="delta", index=0, delta=TextDelta(type="text", text_delta=piece))
        yield StreamTaskMessageDone(type="done", index=0)
    else:
        yield StreamTaskMessageFull(type="full", index=0, content=TextContent(author="agent", content=f"echo: {said}"))
