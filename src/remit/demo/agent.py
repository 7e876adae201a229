"""A small agent, written without any SDK: what a process must do to be one.

    python -m remit.demo.agent --server http://127.0.0.1:5003 --name echo

It registers under its name (with the key in `AGENT_API_KEY`, if there is one), then answers `message/send` with a
stream of updates. Each thing worth knowing is one line of JSON on standard output: `ready` with the port, and `task`
with the id of the task that `--create-task` makes.
"""

import argparse
import asyncio
import json
import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

OLDEST_SERVER = (0, 1, 0)
PAUSE = 0.05  # seconds between two words, so that one can watch the answer stream
METHOD_NOT_FOUND = -32601


@dataclass
class Agent:
    """The process: its name and, once it has registered, its id and key."""

    name: str
    server: httpx.AsyncClient
    id: str | None = None
    key: str | None = None

    async def check_server(self) -> None:
        """Raises `SystemExit` if the server is too old for this agent."""
        description = (await self.server.get("/openapi.json")).raise_for_status().json()
        version = description["info"]["version"]
        if tuple(int(part) for part in version.split("-")[0].split(".")) < OLDEST_SERVER:
            raise SystemExit(f"The server's API is {version}; this agent needs {'.'.join(map(str, OLDEST_SERVER))}.")

    async def register(self, port: int) -> None:
        """Tells the server where this process listens. The answer has the key for calls of its own."""
        response = await self.server.post(
            "/agents/register",
            headers={"x-agent-api-key": self.key} if self.key else {},
            json={
                "name": self.name,
                "description": "Says back what it was told.",
                "acp_url": f"http://127.0.0.1:{port}",
                "acp_type": "sync",
            },
        )
        if response.status_code != 200:
            raise SystemExit(f"The server refused to register {self.name}: {response.text}")
        registered = response.json()
        self.id = registered["id"]
        self.key = registered.get("agent_api_key") or self.key

    async def create_task(self, name: str) -> str:
        """Makes a task of its own, as any caller would, and returns its id."""
        response = await self.server.post(
            f"/agents/{self.id}/rpc",
            headers={"x-agent-api-key": self.key or ""},
            json={"jsonrpc": "2.0", "id": 1, "method": "task/create", "params": {"name": name}},
        )
        answer = response.json()
        if response.status_code != 200 or answer.get("error"):
            raise SystemExit(f"The server refused to create the task {name}: {response.text}")
        return str(answer["result"]["id"])

    async def tell_health(self, _: Request) -> Response:
        return JSONResponse({"status": "healthy", "agent_id": self.id})

    async def answer_call(self, request: Request) -> Response:
        call = await request.json()
        if call["method"] != "message/send":
            error = {"code": METHOD_NOT_FOUND, "message": f"This agent has no method {call['method']}."}
            return JSONResponse({"jsonrpc": "2.0", "id": call["id"], "error": error})
        return StreamingResponse(stream_answer(call), media_type="application/x-ndjson")


async def stream_answer(call: dict[str, Any]) -> AsyncIterator[str]:
    """The answer to a message: one JSON-RPC response a line, each with one update of the message with index 0."""

    def line(update: dict[str, Any]) -> str:
        return json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": {"index": 0, **update}}) + "\n"

    said = call["params"]["content"].get("content", "something that is not text")
    yield line({"type": "start", "content": {"type": "text", "author": "agent", "content": ""}})
    for word in re.findall(r"\S+\s*", f"You said: {said}"):
        yield line({"type": "delta", "delta": {"type": "text", "text_delta": word}})
        await asyncio.sleep(PAUSE)
    yield line({"type": "done"})


def report(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


async def run(server_url: str, name: str, port: int, create_task: str | None) -> None:
    """Registers, serves until it is told to stop, and makes a task of its own if asked to."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        port = listener.getsockname()[1]
        async with httpx.AsyncClient(base_url=server_url, trust_env=False, timeout=30) as server:
            agent = Agent(name, server, key=os.environ.get("AGENT_API_KEY"))
            await agent.check_server()
            await agent.register(port)
            routes = [
                Route("/healthz", agent.tell_health),
                Route("/api", agent.answer_call, methods=["POST"]),
            ]
            serving = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="warning"))
            async with asyncio.TaskGroup() as group:
                group.create_task(serving.serve(sockets=[listener]))
                report("ready", name=name, agent_id=agent.id, port=port)
                if create_task is not None:
                    report("task", task_id=await agent.create_task(create_task))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m remit.demo.agent", description="A small agent that says things back."
    )
    parser.add_argument("--server", required=True, help="URL of the Remit server")
    parser.add_argument("--name", required=True, help="name to register under")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--create-task", metavar="NAME", help="make one task of its own under this name")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(run(options.server, options.name, options.port, options.create_task))


if __name__ == "__main__":
    main()
