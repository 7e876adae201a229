"""Every method of the published client, sync and async, with its own types: an answer that does not fit is an error."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from agentex import Agentex, AsyncAgentex, NotFoundError
from support.agent import FakeAgent
from support.alternate import Alternating, AsyncAlternating
from support.graph import Seeder, text
from support.matrix import NOW, Ask, Ids, MatrixWorld
from support.processes import ServerProcess
from support.server import Server

Arguments = Callable[[Ids], dict[str, Any]]

_SAID = text("new")
_WRITE = {"task_id": "s", "idx": 0, "channel": "a", "blob": "eA=="}
_PUT = {"checkpoint_id": "2", "checkpoint": {"channel_versions": {}}}


@dataclass(frozen=True)
class Use:
    """One method: its arguments, made of a target's ids, and what the target is."""

    arguments: Arguments
    on: Ask = field(default_factory=lambda: Ask(""))


_AGENT, _SYNC = Ask("", on="agent"), Ask("", agent="sync")
_NO_STATE = Ask("", without=frozenset({"state"}))


def _task(**more: Any) -> Arguments:
    return lambda ids: {"task_id": ids["task"], **more}


def _named(**more: Any) -> Arguments:
    return lambda ids: {"task_name": ids["name"], **more}


def _agent(**more: Any) -> Arguments:
    return lambda ids: {"agent_id": ids["agent"], **more}


def _call(**more: Any) -> Arguments:
    return lambda ids: {"agent_id": ids["agent"], "params": {"task_id": ids["task"], **more}}


USES: dict[str, Use] = {
    "agents.list": Use(lambda _: {}),
    "agents.retrieve": Use(_agent()),
    "agents.retrieve_by_name": Use(lambda ids: {"agent_name": ids["agent_name"]}),
    "agents.delete": Use(_agent(), _AGENT),
    "agents.delete_by_name": Use(lambda ids: {"agent_name": ids["agent_name"]}, _AGENT),
    "agents.register_build": Use(lambda ids: {"name": ids["agent_name"], "description": "built"}),
    "agents.create_task": Use(_agent(params={})),
    "agents.cancel_task": Use(_call()),
    "agents.send_event": Use(_call(content=_SAID)),
    "agents.send_message": Use(_call(content=_SAID), _SYNC),
    "agents.send_message_stream": Use(_call(content=_SAID), _SYNC),
    "agents.rpc": Use(_agent(method="task/create", params={})),
    "agents.rpc_by_name": Use(lambda ids: {"agent_name": ids["agent_name"], "method": "task/create", "params": {}}),
    "tasks.list": Use(lambda _: {}),
    "tasks.retrieve": Use(_task(relationships=["agents"])),
    "tasks.retrieve_by_name": Use(_named(relationships=["agents"])),
    "tasks.update_by_id": Use(_task(task_metadata={"a": 1})),
    "tasks.update_by_name": Use(_named(task_metadata={"a": 1})),
    "tasks.delete": Use(_task()),
    "tasks.delete_by_name": Use(_named()),
    **{
        f"tasks.{verb}": Use(_task(reason="why"))
        for verb in ("cancel", "complete", "fail", "interrupt", "terminate", "timeout")
    },
    "tasks.stream_events": Use(_task()),
    "tasks.stream_events_by_name": Use(_named()),
    "messages.create": Use(_task(content=_SAID)),
    "messages.list": Use(_task()),
    "messages.list_paginated": Use(_task()),
    "messages.retrieve": Use(lambda ids: {"message_id": ids["message"]}),
    "messages.update": Use(lambda ids: {"message_id": ids["message"], "task_id": ids["task"], "content": _SAID}),
    "messages.batch.create": Use(_task(contents=[_SAID])),
    "messages.batch.update": Use(lambda ids: {"task_id": ids["task"], "updates": {ids["message"]: _SAID}}),
    "states.create": Use(lambda ids: {"task_id": ids["task"], "agent_id": ids["agent"], "state": {}}, _NO_STATE),
    "states.list": Use(_task()),
    "states.retrieve": Use(lambda ids: {"state_id": ids["state"]}),
    "states.update": Use(lambda ids: {"state_id": ids["state"], "state": {"a": 1}}),
    "states.delete": Use(lambda ids: {"state_id": ids["state"]}),
    "events.list": Use(lambda ids: {"task_id": ids["task"], "agent_id": ids["agent"]}),
    "events.retrieve": Use(lambda ids: {"event_id": ids["event"]}),
    "tracker.list": Use(_task()),
    "tracker.retrieve": Use(lambda ids: {"tracker_id": ids["tracker"]}),
    "tracker.update": Use(lambda ids: {"tracker_id": ids["tracker"], "last_processed_event_id": ids["event"]}),
    "spans.create": Use(_task(name="n", start_time=NOW, trace_id="t")),
    "spans.list": Use(_task()),
    "spans.retrieve": Use(lambda ids: {"span_id": ids["span"]}),
    "spans.update": Use(lambda ids: {"span_id": ids["span"], "name": "other"}),
    "checkpoints.put": Use(lambda ids: {"thread_id": ids["task"], **_PUT}),
    "checkpoints.put_writes": Use(lambda ids: {"thread_id": ids["task"], "checkpoint_id": "1", "writes": [_WRITE]}),
    "checkpoints.get_tuple": Use(lambda ids: {"thread_id": ids["task"]}),
    "checkpoints.list": Use(lambda ids: {"thread_id": ids["task"]}),
    "checkpoints.delete_thread": Use(lambda ids: {"thread_id": ids["task"]}),
    "webhooks.create_webhook_trigger": Use(
        lambda ids: {"agent_name": ids["agent_name"], "name": "acme/repository", "forward_path": "hook"}, _AGENT
    ),
}

# Methods whose operations are not built. One that is built fails here, and gets its arguments above.
_SCHEDULED = {"scheduled_time": NOW}
NOT_BUILT: dict[str, dict[str, Any]] = {
    "tasks.query_workflow": {},
    "deployment_history.list": {},
    "deployment_history.retrieve": {},
    **{
        f"agents.deployments.{name}": {}
        for name in ("create", "delete", "list", "preview_rpc", "promote", "retrieve")
    },
    **{
        f"agents.schedules.{name}": _SCHEDULED if name in ("skip", "unskip") else {}
        for name in (
            "create", "delete", "delete_by_name", "list", "pause", "pause_by_name", "resume", "resume_by_name",
            "retrieve", "retrieve_by_name", "skip", "trigger", "trigger_by_name", "unskip", "update", "update_by_name",
        )
    },
}  # fmt: skip


def find_methods(owner: object, path: str = "") -> dict[str, Callable[..., Any]]:
    """The methods of a client's resources, by their path."""
    found: dict[str, Callable[..., Any]] = {}
    for name in dir(type(owner)):
        if name.startswith(("_", "with_")):
            continue
        member = inspect.getattr_static(type(owner), name)
        if inspect.isfunction(member):
            if path:
                found[f"{path}{name}"] = getattr(owner, name)
        elif ".resources." in type(value := getattr(owner, name)).__module__:
            found |= find_methods(value, f"{path}{name}.")
    return found


def test_every_method_of_both_clients_is_used() -> None:
    for client in (Agentex(base_url="http://x", api_key="k"), AsyncAgentex(base_url="http://x", api_key="k")):
        assert set(find_methods(client)) == set(USES) | set(NOT_BUILT)
    assert not set(USES) & set(NOT_BUILT)


def _fill(method: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Something for each argument that a method cannot do without."""
    needed = [
        name
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.default is inspect.Parameter.empty
    ]
    return {name: {} if name in ("params", "initial_input") else "x" for name in needed} | given


def _use_blocking(method: Callable[..., Any], arguments: dict[str, Any]) -> list[Any]:
    result = method(**arguments)
    if inspect.isgenerator(result):
        return list(result)
    if hasattr(result, "response"):
        with result as stream:
            return [next(iter(stream))]
    return [result]


async def _use(method: Callable[..., Any], arguments: dict[str, Any]) -> list[Any]:
    result = method(**arguments)
    if inspect.isawaitable(result):
        result = await result
    if inspect.isasyncgen(result):
        return [item async for item in result]
    if hasattr(result, "response"):
        async with result as stream:
            return [await anext(aiter(stream))]
    return [result]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_every_method_works(
    server: Server, second_server: ServerProcess, seed: Seeder, fake: FakeAgent, kind: str
) -> None:
    """One request goes to one process, the next to the other."""
    urls = [server.url, second_server.url]
    world = MatrixWorld(seed, fake.url)
    await world.make_callers()
    targets = {name: await world.make_target(use.on, "present") for name, use in USES.items()}
    await world.write()
    options: dict[str, Any] = {
        "base_url": urls[0],
        "api_key": world.home.callers["owner"].secret,
        "max_retries": 0,
        "_strict_response_validation": True,
    }
    http, blocking_http = httpx.AsyncClient(transport=AsyncAlternating(urls)), httpx.Client(transport=Alternating(urls))
    async with AsyncAgentex(**options, http_client=http) as asynchronous:
        with Agentex(**options, http_client=blocking_http) as blocking:
            methods = find_methods(blocking if kind == "sync" else asynchronous)

            async def use(name: str, arguments: dict[str, Any]) -> list[Any]:
                if kind == "async":
                    return await _use(methods[name], arguments)
                return await asyncio.to_thread(_use_blocking, methods[name], arguments)

            for name, one in USES.items():
                try:
                    results = await use(name, one.arguments(targets[name].ids))
                except Exception as error:
                    raise AssertionError(f"{name} did not work") from error
                assert results, name
                assert not any(getattr(result, "error", None) for result in results), (name, results)
            for name, given in NOT_BUILT.items():
                with pytest.raises(NotFoundError) as refused:
                    await use(name, _fill(methods[name], given))
                assert isinstance(refused.value.body, dict)
                assert refused.value.body["type"] == "urn:remit:problem:not-implemented", name
