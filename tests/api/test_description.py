"""The API description against the server: generated requests of four callers get no 5xx, and no answer breaks it."""

import asyncio
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance
from support.graph import make_world, open_seeder
from support.server import Server

CALLERS = ("member", "admin", "agent", "nobody")
EXAMPLES = 3
SECONDS = 30
CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance]

# Streams end with their task; the matrix opens them.
ENDLESS = "/stream"


@pytest.fixture(scope="module")
def headers(server: Server) -> dict[str, dict[str, str]]:
    """What each caller sends; there is a task and an agent that they may meet."""

    async def make() -> dict[str, dict[str, str]]:
        async with open_seeder(server.dsn, server.url) as seed:
            world = await make_world(seed)
            agent = await world.make_agent(None)
            await world.alice.make_task(agent)
            return {
                "member": world.alice.headers,
                "admin": world.root.headers,
                "agent": agent.headers,
                "nobody": world.nobody.headers,
            }

    return asyncio.run(make())


@pytest.mark.parametrize("caller", CALLERS)
def test_generated_requests(server: Server, headers: dict[str, dict[str, str]], caller: str) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    asked, failures = 0, list[str]()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if operation.path.endswith(ENDLESS):
            continue
        asked += 1

        @hypothesis.settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: schemathesis.Case[Any]) -> None:
            response = case.call(base_url=server.url, headers=headers[caller], timeout=SECONDS)
            case.validate_response(response, checks=CHECKS)

        try:
            ask()
        except (FailureGroup, Failure) as failure:
            told = failure.exceptions if isinstance(failure, FailureGroup) else [failure]
            failures += [f"{operation.label}: {one}" for one in told]
    assert asked > 60
    assert not failures, "\n\n".join(failures)
