"""Random requests to every route, as somebody who may do everything: never a 5xx, and an answer that is JSON."""

import json
import random
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute
from support.agent import FakeAgent
from support.graph import AgentParty, Json, World, text

from remit.app import ROUTERS
from remit.ids import new_id

REQUESTS_PER_ROUTE = 28
TEXTS = [
    "",
    "x",
    "\u0000",
    "\ud800",
    "\U0001f4a9",
    "a" * 3000,
    "'; DROP TABLE tasks; --",
    "../..",
    "%00",
    "null",
    "user",
]
NUMBERS = [0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 1.5, 1e308, float("nan"), float("inf")]
WORDS = [
    "id", "name", "task_id", "task_name", "agent_id", "content", "type", "text", "author", "params", "state", "reason",
    "subject_type", "subject_id", "role", "expires_at", "created_at", "task_metadata", "merge_params", "acp_url",
    "acp_type", "method", "jsonrpc", "stream", "data", "style", "format", "attachments", "streaming_status", "limit",
    "page_number", "cursor", "order_by", "status", "relationships", "creator", "registration_metadata", "task_params",
]  # fmt: skip
ROUTES = sorted(
    (
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and not route.path.endswith("/stream")
        for method in route.methods or ()
    ),
)


class Maker:
    """Makes random input, some of it near to what fits."""

    def __init__(self, seed: str, known: Json) -> None:
        self.random = random.Random(seed)
        self.known = known

    def pick(self, values: list[Any]) -> Any:
        return self.random.choice(values)

    def value(self, depth: int = 0) -> Any:
        kind = self.random.randrange(9 if depth < 4 else 6)
        if kind == 0:
            return self.pick(TEXTS)
        if kind == 1:
            return self.pick(NUMBERS)
        if kind == 2:
            return self.pick([None, True, False])
        if kind in (3, 4):
            return self.pick([*self.known.values(), new_id(), "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00"])
        if kind == 5:
            return self.pick([text("x"), {"type": "data", "author": "agent", "data": {}}, {}, []])
        if kind == 6:
            return [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        return {self.pick([*WORDS, *TEXTS]): self.value(depth + 1) for _ in range(self.random.randrange(6))}

    def near(self) -> Json:
        """A body that fits some route, with up to two members changed."""
        body: Json = dict(
            self.pick(
                [
                    {"task_id": self.known["task"], "content": text("x"), "streaming_status": "DONE"},
                    {"task_id": self.known["task"], "agent_id": self.known["agent"], "state": {"a": 1}},
                    {"state": {}},
                    {"task_metadata": {"a": 1}, "merge_params": {"b": 1}},
                    {"reason": "x"},
                    {"subject_type": "user", "subject_id": "bob", "role": "viewer", "expires_at": None},
                    {"name": "fuzz", "acp_url": "http://127.0.0.1:9", "acp_type": "sync", "description": ""},
                    {"method": "task/create", "id": 1, "params": {"name": "n", "params": {"a": 1}}},
                    {"method": "event/send", "params": {"task_id": self.known["task"], "content": text("x")}},
                    {"method": "message/send", "params": {"task_id": self.known["task"], "content": text("x")}},
                    {"method": "task/cancel", "params": {"task_name": "known"}},
                ]
            )
        )
        for _ in range(self.random.randrange(3)):
            target = body["params"] if isinstance(body.get("params"), dict) and self.random.random() < 0.5 else body
            target[self.pick([*target, *WORDS])] = self.value(1)
        return body

    def body(self) -> bytes:
        kind = self.random.randrange(10)
        if kind == 0:
            return self.random.randbytes(self.random.randrange(40))
        raw = json.dumps(self.near() if kind < 7 else self.value()).encode()
        if kind == 1:
            return raw[: self.random.randrange(len(raw) + 1)]
        return raw

    def piece(self) -> str:
        value = self.value(4)
        shown = value if isinstance(value, str) else json.dumps(value)
        return quote(shown.encode("utf-8", "replace"), safe="")

    def path(self, template: str) -> str:
        names = {"task_id": "task", "agent_id": "agent", "message_id": "message", "state_id": "state"}
        pieces = []
        for part in template.split("/"):
            if not part.startswith("{"):
                pieces.append(part)
            elif self.random.random() < 0.7:
                pieces.append(self.known.get(names.get(part[1:-1], ""), "known"))
            else:
                pieces.append(self.piece() or "x")
        query = "&".join(f"{self.pick(WORDS)}={self.piece()}" for _ in range(self.random.randrange(4)))
        return "/".join(pieces) + (f"?{query}" if query else "")


async def make_known(world: World, agent: AgentParty) -> Json:
    task = await world.root.make_task(agent, "known")
    message = await world.root.post("/messages", {"task_id": task["id"], "content": text("x")})
    state = await world.root.post("/states", {"task_id": task["id"], "agent_id": agent.id, "state": {}})
    return {"task": task["id"], "agent": agent.id, "message": message.json()["id"], "state": state.json()["id"]}


@pytest.mark.parametrize(("method", "route"), ROUTES)
async def test_no_input_makes_a_5xx(world: World, fake: FakeAgent, method: str, route: str) -> None:
    agent = await world.make_agent(fake.url, "async" if "name" in route else "sync")
    known = await make_known(world, agent)
    maker = Maker(f"{method} {route}", known)
    headers = {"content-type": "application/json"}
    for _ in range(REQUESTS_PER_ROUTE):
        path, body = maker.path(route), maker.body() if method in ("POST", "PUT") else None
        response = await world.root.call(method, path, content=body, headers=headers)
        assert response.status_code < 500, f"{method} {path} {body!r}: {response.text}"
        if "ndjson" not in response.headers["content-type"] and route != "/metrics":
            response.json()
    assert (await world.root.get("/me")).status_code == 200
