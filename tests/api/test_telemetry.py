"""What is written down: log lines and metrics without secrets or ids, and an audit trail that outlives trouble."""

import asyncio
import io
import itertools
import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog
from support.agent import AgentCall, FakeAgent, delta
from support.graph import World, make_world, open_seeder, text
from support.server import Server, serve

from remit.authz.model import Resource, Subject
from remit.identity.secrets import make_secret
from remit.telemetry.logging import configure_logging


@pytest.fixture(params=["json", "console"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Everything that a process logs at its most talkative, as `remit serve` would write it."""
    root, before, configure = logging.getLogger(), structlog.get_config(), structlog.configure
    handlers, level = root.handlers, root.level
    written = io.StringIO()
    # Loggers that keep their configuration would keep it for the tests that follow.
    monkeypatch.setattr(structlog, "configure", lambda **how: configure(**{**how, "cache_logger_on_first_use": False}))
    configure_logging(request.param, "debug")
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    try:
        yield written
    finally:
        root.handlers, root.level = handlers, level
        configure(**before)


async def fail_with_secret(call: AgentCall) -> None:
    await call.send(delta("half"))
    await call.fail("no")


def test_a_value_of_a_secret_name_is_hidden_and_a_count_is_not(log: io.StringIO) -> None:
    structlog.get_logger("test").info("cleaned", agent_api_keys=7, api_key="remit_user_x", tokens=["remit_user_y"])
    assert "7" in log.getvalue()
    assert "remit_user_" not in log.getvalue()


async def test_no_secret_is_logged(database: str, log: io.StringIO, fake: FakeAgent) -> None:
    """A run with every kind of credential, good and bad, and with the failures that log most."""
    fake.handle = fail_with_secret
    bad = make_secret("user")
    async with (
        serve(database, agent_enrollment="open", default_tenant="only") as server,
        open_seeder(database, server.url) as seed,
    ):
        world = await make_world(seed)
        await seed.make_tenant("only")
        agent = await world.make_agent(fake.url)
        enrolled = await world.nobody.post("/agents/register", {"name": "open", "acp_url": fake.url})
        task = await world.alice.make_task(agent, params={"password": "sesame-in-params"})
        await world.alice.send(agent, task, "sesame-in-message")
        async with world.alice.stream_send(agent, task) as lines:
            assert [line async for line in lines][-1]["error"]
        await world.alice.get("/tasks", task_metadata='{"sesame-in-query": 1}')
        await world.alice.put(f"/tasks/{task['id']}", {"task_metadata": "sesame-in-bad-body"})
        await world.alice.call("GET", "/me", headers={"x-api-key": world.bob.secret})
        await world.nobody.call("GET", "/me", headers={"authorization": f"Bearer {bad}"})
        await world.alice.get(f"/tasks/name/{bad}")
        broken = server.app.state.decider
        server.app.state.decider = None  # what nobody thought of
        assert (await world.alice.get("/me")).status_code == 500
        server.app.state.decider = broken
        keys = [party.secret for party in (world.alice, world.bob, world.root, world.bot, world.mallory, agent)]
    text_ = log.getvalue()
    assert "Traceback" in text_, "the log of a failure says where"
    assert text_.count("/tasks/{task_id}") >= 1
    for secret in (*keys, bad, enrolled.json()["agent_api_key"]):
        assert secret is not None
        assert secret not in text_
        assert secret.rpartition("_")[2][:20] not in text_
    assert "sesame" not in text_
    assert database not in text_


async def test_each_request_is_one_line_with_its_id(database: str, fake: FakeAgent) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        async with serve(database) as server, open_seeder(database, server.url) as seed:
            world = await make_world(seed)
            ids = [(await world.alice.get(path)).headers["x-request-id"] for path in ("/me", "/tasks/nothing", "/x")]
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["request_id"] for line in requests] == ids
    assert [(line["method"], line["route"], line["status"]) for line in requests] == [
        ("GET", "/me", 200),
        ("GET", "/tasks/{task_id}", 422),
        ("GET", "(none)", 404),
    ]


def series(metrics: str, name: str) -> dict[str, float]:
    return {
        labels: float(value) for labels, value in re.findall(rf"^{name}{{(.*)}} ([0-9.e+]+)$", metrics, re.MULTILINE)
    }


def of_request(route: str, operation: str, status: int, outcome: str, method: str = "GET") -> str:
    """The labels of `remit_requests_total`."""
    return f'method="{method}",operation="{operation}",outcome="{outcome}",route="{route}",status="{status}"'


async def test_metrics_count_by_route_operation_and_outcome_and_hold_no_ids(own_world: World, fake: FakeAgent) -> None:
    world = own_world
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent, "a-name")

    async def read() -> str:
        response = await world.nobody.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain")
        return response.text

    def questions_asked(metrics: str) -> float:
        found = re.search(r"^authorization_checks_per_request_sum ([0-9.e+]+)$", metrics, re.MULTILINE)
        assert found is not None
        return float(found[1])

    await world.alice.make_task(agent)
    rpc = "/agents/{agent_id}/rpc"
    expected = {
        of_request("/tasks/{task_id}", "get_task", 200, "ok"): 3,
        of_request("/tasks/{task_id}", "get_task", 404, "denied"): 1,
        of_request("/tasks/{task_id}", "get_task", 401, "denied"): 1,
        of_request("/tasks/name/{task_name}", "get_task_by_name", 200, "ok"): 1,
        of_request("/tasks", "list_tasks", 422, "invalid"): 1,
        of_request(rpc, "message/send", 200, "ok", "POST"): 1,
        of_request(rpc, "message/send", 200, "agent_error", "POST"): 1,
        of_request(rpc, "task/cancel", 404, "denied", "POST"): 1,
        of_request(rpc, "call_by_id", 422, "invalid", "POST"): 1,
    }
    before = series(await read(), "remit_requests_total")
    for _ in range(3):
        await world.alice.get(f"/tasks/{task['id']}")
    await world.bob.get(f"/tasks/{task['id']}")
    await world.nobody.get(f"/tasks/{task['id']}")
    await world.alice.get("/tasks/name/a-name")
    await world.alice.get("/tasks", order_by="colour")
    await world.alice.send(agent, task)
    fake.handle = fail_with_secret
    await world.alice.send(agent, task)
    await world.bob.rpc(agent, "task/cancel", {"task_id": task["id"]})
    await world.alice.rpc(agent, "task/colour")
    await world.alice.get("/no/such/route")
    metrics = await read()
    assert len((await world.alice.get("/tasks")).json()) == 2
    assert questions_asked(await read()) == questions_asked(metrics) + 1, "one question, however many are listed"
    after = series(metrics, "remit_requests_total")
    assert {labels: after[labels] - before.get(labels, 0) for labels in expected} == expected
    assert series(metrics, "remit_agent_calls_total")['method="message/send",outcome="ok"'] >= 1
    assert 'route="(none)"' in metrics
    for id in (task["id"], agent.id, agent.name, world.alice.id, world.tenant_id, "a-name", "no/such", "colour"):
        assert id not in metrics
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-7", metrics)


async def test_the_audit_trail_goes_on_after_the_database_refused_it(
    own_server: Server, own_world: World, fake: FakeAgent
) -> None:
    agent = await own_world.make_agent(fake.url)
    task = await own_world.alice.make_task(agent)
    await own_world.alice.share(task, own_world.bob, "viewer")
    await own_world.seed.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'disk full'; END$$"
    )
    await own_world.seed.execute("CREATE TRIGGER refuse BEFORE INSERT ON audit EXECUTE FUNCTION refuse()")
    assert (await own_world.bob.delete(f"/tasks/{task['id']}")).status_code == 403
    await asyncio.sleep(0.2)  # the entry is tried, and refused
    await own_world.seed.execute("DROP TRIGGER refuse ON audit")
    assert (await own_world.bob.post(f"/tasks/{task['id']}/cancel")).status_code == 403
    rows = await own_world.seed.wait_for_rows(2, "SELECT action FROM audit WHERE actor_id = $1", own_world.bob.id)
    assert {row["action"] for row in rows} == {"task.delete", "task.cancel"}


async def test_entries_that_wait_when_the_process_ends_are_written(database: str, fake: FakeAgent) -> None:
    async with open_seeder(database, "http://127.0.0.1:9") as seed:
        async with serve(database) as server, open_seeder(database, server.url) as running:
            world = await make_world(running)
            agent = await world.make_agent(fake.url)
            task = await world.alice.make_task(agent)
            await world.alice.share(task, world.bob, "viewer")
            answers = await asyncio.gather(*(world.bob.delete(f"/tasks/{task['id']}") for _ in range(20)))
            assert {answer.status_code for answer in answers} == {403}
        rows = await seed.fetch("SELECT 1 FROM audit WHERE actor_id = $1 AND outcome = 'denied'", world.bob.id)
    assert len(rows) == 20


async def test_live_updates_go_on_after_the_database_refused_one(own_server: Server, own_world: World) -> None:
    agent = await own_world.make_agent("http://127.0.0.1:9")
    task = await own_world.alice.make_task(agent)
    await own_world.seed.execute("ALTER TABLE stream_entries ADD CONSTRAINT refuse CHECK (data !~ 'refused')")
    for words in ("refused", "taken"):
        response = await own_world.alice.post("/messages", {"task_id": task["id"], "content": text(words)})
        assert response.status_code == 200
        await asyncio.sleep(0.2)  # each is a batch of its own
    rows = await own_world.seed.wait_for_rows(1, "SELECT data FROM stream_entries")
    assert [json.loads(row["data"])["content"]["content"] for row in rows] == ["taken"]


async def test_nesting_beyond_the_engines_limit_is_an_answer_and_no_allow(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    groups = [await world.seed.make_group(world.tenant_id, f"g{n}", []) for n in range(60)]
    async with world.seed.database.transaction() as connection:
        for outer, inner in itertools.pairwise(groups):
            await world.seed.grant(
                connection, Resource("group", outer.id), "member", Subject("group", inner.id, "member")
            )
        await world.seed.grant(connection, Resource("group", groups[-1].id), "member", world.bob.subject)
    assert (await world.alice.share(task, groups[0], "viewer")).status_code == 200
    for response in (await world.bob.get(f"/tasks/{task['id']}"), await world.bob.get("/tasks")):
        assert response.status_code == 503
        assert response.json()["type"] == "urn:remit:problem:authorization-unavailable"
