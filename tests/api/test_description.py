"""The API description against the server: generated requests of four callers get no 5xx, and no answer breaks it.

Made-up ids meet nothing, so some requests are given those of a task that is there, with its agent and its children.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance
from support.graph import Json, make_world, open_seeder, text
from support.server import Server

from remit.authz.model import Resource

CALLERS = ("member", "admin", "agent", "nobody")
EXAMPLES = 4
SECONDS = 30
CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance]

# A stream ends with its task, so one of a task that is there is not asked for; the matrix opens those.
ENDLESS = "/stream"
# What would take away what the other requests are to meet.
FINAL = {
    ("DELETE", path)
    for path in (
        "/agents/{agent_id}",
        "/agents/name/{agent_name}",
        "/agents/{agent_id}/access",
        "/tasks/{task_id}",
        "/tasks/name/{task_name}",
        "/tasks/{task_id}/access",
    )
}
LEAST_SUCCESSES = 40
"""Operations, of some 75, that must have succeeded for who may: else what they answer is not looked at."""


@dataclass(frozen=True)
class Known:
    """What there is: the headers of each caller, and ids by the names that requests have for them."""

    headers: dict[str, dict[str, str]]
    ids: dict[str, str]


@pytest.fixture
def known(server: Server) -> Known:
    async def make() -> Known:
        async with open_seeder(server.dsn, server.url) as seed:
            world = await make_world(seed)
            agent = await world.make_agent(None, "async", owner=world.alice)
            task = await world.alice.make_task(await world.make_agent(None), "met")
            await seed.execute("UPDATE tasks SET agent_id = $2 WHERE id = $1", task["id"], agent.id)
            await seed.execute("UPDATE agent_task_trackers SET agent_id = $2 WHERE task_id = $1", task["id"], agent.id)
            async with seed.database.transaction() as connection:
                await seed.grant(connection, Resource("task", task["id"]), "parent_agent", agent.subject)
            of_task = {"task_id": task["id"]}
            bodies: dict[str, tuple[str, Json]] = {
                "message_id": ("/messages", {**of_task, "content": text("x")}),
                "state_id": ("/states", {**of_task, "agent_id": agent.id, "state": {}}),
                "span_id": ("/spans", {**of_task, "trace_id": "t", "name": "n", "start_time": "2026-01-01T00:00:00Z"}),
                "id": ("/agent_api_keys", {"agent_id": agent.id, "name": "met"}),
            }
            ids = {"task_id": task["id"], "thread_id": task["id"], "task_name": "met"}
            ids |= {"agent_id": agent.id, "agent_name": agent.name}
            for name, (path, body) in bodies.items():
                made = await world.alice.post(path, body)
                assert made.status_code == 200, made.text
                ids[name] = made.json()["id"]
            ids["tracker_id"] = (await world.alice.get("/tracker", task_id=task["id"])).json()[0]["id"]
            ids["api_key_name"] = "met"
            return Known(
                {
                    "member": world.alice.headers,
                    "admin": world.root.headers,
                    "agent": agent.headers,
                    "nobody": world.nobody.headers,
                },
                ids,
            )

    return asyncio.run(make())


def give_ids(case: schemathesis.Case[Any], ids: dict[str, str]) -> None:
    """Put what there is in the place of what was made up: in the path, in the query and at the top of a JSON body."""
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            part.update({name: ids[name] for name in part if name in ids})
    if isinstance(case.body, dict) and "method" in case.body:
        case.body["params"] = {"task_id": ids["task_id"]}


@pytest.mark.parametrize("caller", CALLERS)
def test_generated_requests(server: Server, known: Known, caller: str) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    asked, failures, succeeded = 0, list[str](), set[str]()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        asked += 1
        meets = not operation.path.endswith(ENDLESS) and (operation.method.upper(), operation.path) not in FINAL

        @hypothesis.settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(
            case=operation.as_strategy(), meeting=st.sampled_from([True, False]) if meets else st.just(False)
        )
        def ask(case: schemathesis.Case[Any], meeting: bool) -> None:
            if meeting:
                give_ids(case, known.ids)
            response = case.call(base_url=server.url, headers=known.headers[caller], timeout=SECONDS)
            case.validate_response(response, checks=CHECKS)
            if response.status_code < 300:
                succeeded.add(f"{case.operation.method.upper()} {case.operation.path}")

        try:
            ask()
        except (FailureGroup, Failure) as failure:
            told = failure.exceptions if isinstance(failure, FailureGroup) else [failure]
            failures += [f"{operation.label}: {one}" for one in told]
    assert asked > 60
    assert not failures, "\n\n".join(failures)
    if caller in ("member", "admin"):
        assert len(succeeded) >= LEAST_SUCCESSES, sorted(succeeded)
