"""The API description against the server: generated requests of four callers get no 5xx, and no answer breaks it.

Made-up ids meet nothing, so some requests are given those of a task that is there, with its agent and its children.
What chance meets too seldom is tried one by one: each parameter and each member of a body, with each of some odd
values, in a request that otherwise fits.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance
from support.alternate import Alternating
from support.graph import Json, make_world, open_seeder, text
from support.processes import ServerProcess
from support.server import Server

from remit.authz.model import Resource
from remit.ids import new_id

EXAMPLES = {"member": 4, "admin": 4, "agent": 3, "nobody": 2}
"""How many requests of each caller meet each operation."""
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
# After these a task takes nothing more.
ENDING = ("/complete", "/fail", "/cancel", "/terminate", "/timeout", "/clean", "/rehydrate", "/delete-thread")
ABSENT = "0198c0de-0000-7000-8000-000000000000"
TEXTS = ["", "x", ABSENT, "\u0000", "'%_\\\U0001f4a9", "9" * 400]
JSON_TEXTS = ['{"a": 1}', "[1]", '{"content": 7}', '{"a": "\\ud800"}', "null"]
"""For what a query has as text and may be read as JSON."""
MOMENTS = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]
ODD: dict[str, list[Any]] = {
    "integer": [-1, 0, 2, 2**31, 2**63],
    "number": [-1, 1e308],
    "boolean": [True, False],
    "array": [[], [None], ["\ud800"]],
    "object": [{}, {"\u0000": 1}, {"a": "\ud800"}],
    "null": [None],
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
            ids["event_id"] = ids["last_processed_event_id"] = new_id()
            await seed.execute(
                "INSERT INTO events (id, tenant_id, task_id, agent_id, sequence_id) "
                "OVERRIDING SYSTEM VALUE SELECT $2, tenant_id, id, agent_id, 1 FROM tasks WHERE id = $1",
                *(task["id"], ids["event_id"]),
            )
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


@pytest.mark.parametrize("caller", EXAMPLES)
def test_generated_requests(server: Server, second_server: ServerProcess, known: Known, caller: str) -> None:
    urls = cycle([server.url, second_server.url])
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    asked, failures, succeeded = 0, list[str](), set[str]()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        asked += 1
        meets = not operation.path.endswith(ENDLESS) and (operation.method.upper(), operation.path) not in FINAL

        @hypothesis.settings(
            max_examples=EXAMPLES[caller],
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
            response = case.call(base_url=next(urls), headers=known.headers[caller], timeout=SECONDS)
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


def resolve(schema: Json, components: Json) -> list[Json]:
    """The schemas that a value may have, without references."""
    if "$ref" in schema:
        return resolve(components[schema["$ref"].rpartition("/")[2]], components)
    variants = schema.get("anyOf") or schema.get("oneOf")
    return [found for variant in variants for found in resolve(variant, components)] if variants else [schema]


def make_value(name: str, schema: Json, components: Json, ids: dict[str, str]) -> Any:
    """A value that fits: what is there, for a name that is known."""
    if name in ids:
        return ids[name]
    first = resolve(schema, components)[0]
    if "default" in first or "const" in first or "enum" in first:
        return first.get("default", first.get("const", first.get("enum", [None])[0]))
    match first.get("type"):
        case "string":
            return "2026-01-01T00:00:00Z" if first.get("format") == "date-time" else "odd"
        case "object":
            members = first.get("properties", {})
            return {key: make_value(key, members[key], components, ids) for key in first.get("required", ())}
        case kind:
            return {"integer": 1, "number": 1, "boolean": True, "array": []}.get(str(kind))


def list_odd(schema: Json, components: Json, ids: dict[str, str], texts: list[str]) -> Iterator[Any]:
    """Odd values for a place, each of those that it names, its bounds, and lists of one odd value."""
    for variant in resolve(schema, components):
        kind = variant.get("type", "object")
        if "enum" in variant or "const" in variant:
            yield from [*variant.get("enum", [variant.get("const")]), "x"]
        elif kind == "string":
            yield from [*texts, ids["task_id"]]
            yield from MOMENTS if "format" in variant else ()
        else:
            yield from ODD[kind]
            yield from (variant[bound] for bound in ("minimum", "maximum") if bound in variant)
        if kind == "array":
            yield from ([item] for item in list_odd(variant.get("items", {}), components, ids, texts))


def unique(values: Iterator[Any]) -> list[Any]:
    """Values of JSON, each once."""
    return list({json.dumps(value): value for value in values}.values())


def holds_half_a_pair(value: Any) -> bool:
    return any("\ud800" in text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))


def list_requests(operation: Any, components: Json, ids: dict[str, str]) -> Iterator[Json]:
    """One request that fits, and then each that is odd in one place."""
    definition = operation.definition.raw
    parameters = {(one["in"], one["name"]): one["schema"] for one in definition.get("parameters", ())}
    path = {name: make_value(name, {"type": "string"}, {}, ids) for place, name in parameters if place == "path"}
    query = {
        name: make_value(name, parameters[place, name], components, ids)
        for place, name in parameters
        if place == "query" and name in ("task_id", "agent_id", "operation", "type", "resource", "permission")
    }
    content = definition.get("requestBody", {}).get("content", {})
    body: Json = resolve(content["application/json"]["schema"], components)[0] if content else {}
    whole: Json = make_value("", body, components, ids) if content else {}
    fits: Json = {"path_parameters": path, "query": query}
    fits |= {"body": whole, "media_type": "application/json"} if content else {}
    yield fits
    for (place, name), schema in parameters.items():
        odd = unique(list_odd(schema, components, ids, TEXTS + JSON_TEXTS)) if place == "query" else []
        for value in odd:
            if not holds_half_a_pair(value):  # which no URL can hold
                yield {**fits, "query": {**query, name: "" if value is None else value}}
    for name, schema in body.get("properties", {}).items():
        for value in unique(list_odd(schema, components, ids, TEXTS)):
            yield {**fits, "body": {**whole, name: value}}


def test_each_place_of_each_request_with_odd_values(server: Server, second_server: ServerProcess, known: Known) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    components = schema.raw_schema["components"]["schemas"]
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    chosen = [one for one in operations if not one.path.endswith(ENDLESS) and one.method.upper() != "DELETE"]
    failures, succeeded = list[str](), set[str]()
    headers = {**known.headers["member"], "content-type": "application/json"}
    both = Alternating([server.url, second_server.url])
    with httpx.Client(base_url=server.url, headers=headers, timeout=SECONDS, transport=both) as client:
        for operation in sorted(chosen, key=lambda one: one.path.endswith(ENDING)):
            for request in list_requests(operation, components, known.ids):
                # The case sends nothing and has no body: it cannot hold half of a surrogate pair, as JSON can.
                case = operation.Case(path_parameters=request["path_parameters"])
                path = operation.path.format(**request["path_parameters"])
                content = json.dumps(request["body"]) if "body" in request else None
                response = client.request(operation.method, path, params=request["query"], content=content)
                if response.status_code < 300:
                    succeeded.add(operation.label)
                try:
                    case.validate_response(response, checks=CHECKS)
                except (FailureGroup, Failure) as failure:
                    failures.append(f"{operation.label} {request}: {failure}")
    assert not failures, "\n\n".join(failures)
    assert len(succeeded) >= LEAST_SUCCESSES, sorted(succeeded)
