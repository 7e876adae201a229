"""A running server beside a SpiceDB: what Prometheus gets of it, deliveries in bulk, and a schema applied meanwhile."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs
from support.agent import FakeAgent
from support.commands import remit
from support.graph import World, make_world, open_seeder
from support.outbox import relay, spicedb_settings
from support.server import Server, serve
from support.spicedb_host import SpiceProcess, run_spicedb

from remit.authz.measure import Measures
from remit.authz.model import Relationship, Resource
from remit.authz.remote import Delivery, RemoteError
from remit.authz.schema_print import print_schema
from remit.ids import new_id
from remit.settings import Settings

# As Prometheus 3 asks.
ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
WAIT_SECONDS = 20
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def spice() -> Iterator[SpiceProcess]:
    with run_spicedb() as running:
        yield running


@asynccontextmanager
async def installation(database: str, spice: SpiceProcess) -> AsyncIterator[tuple[Server, World]]:
    settings = spicedb_settings(spice)
    async with (
        serve(database, **settings) as server,
        open_seeder(database, server.url, Settings(**settings)) as seeder,
    ):
        yield server, await make_world(seeder)


async def scrape(http: httpx.AsyncClient) -> Samples:
    answer = await http.get("/metrics", headers={"accept": ACCEPT})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def plant(dsn: str) -> None:
    """A revocation that has waited for a minute, one change given up, and a reconciliation that left something."""
    tenant = new_id()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO tenants (id, name) VALUES (%s, 'planted')", (tenant,))
        for dead, revocation in ((False, 1), (True, 0)):
            connection.execute(
                "INSERT INTO outbox (tenant_id, resource_type, resource_id, version, revocation, created_at, dead_at)"
                " VALUES (%s, 'task', %s, 1, %s, now() - interval '1 minute', CASE WHEN %s THEN now() END)",
                (tenant, new_id(), revocation, dead),
            )
        connection.execute(
            "INSERT INTO authz_reconciliations (id, tenant_id, resource_type, started_at, clean, drift)"
            " VALUES (%s, %s, 'task', now() - interval '1 hour', FALSE, '{\"not_delivered\": 3}')",
            (new_id(), tenant),
        )


async def test_a_scrape_has_what_was_designed(database: str, spice: SpiceProcess, fake: FakeAgent) -> None:
    plant(database)
    async with installation(database, spice) as (server, world):
        http = world.seed.http
        task = await world.alice.make_task(await world.make_agent(fake.url))
        before = await scrape(http)
        remote: Any = server.app.state.remote
        deliver, troubles = remote.deliver, iter([True, True, False])

        async def fail(delivery: Delivery) -> str | None:
            if (transient := next(troubles, None)) is None:
                answer: str | None = await deliver(delivery)
                return answer
            name = "Unavailable" if transient else "PermissionDenied"
            raise RemoteError("made to fail", transient=transient, exception_class=name)

        remote.deliver = fail
        await world.alice.delete(f"/tasks/{task['id']}")
        seen = await scrape(http)
        async with asyncio.timeout(WAIT_SECONDS):
            while ("remit_drift", frozenset({("type", "task"), ("class", "not_delivered")})) not in seen:
                seen = await scrape(http)

    def value(name: str, **labels: str) -> float:
        return found(seen, name, **labels)

    def found(samples: Samples, name: str, **labels: str) -> float:
        return samples.get((name, frozenset(labels.items())), 0.0)

    def grown(name: str, **labels: str) -> float:
        return value(name, **labels) - found(before, name, **labels)

    by = {"op": "deregister", "by": "request"}
    assert grown("task_fgac_dual_write_attempt_total", **by) == 1
    assert grown("task_fgac_dual_write_retry_total", **by) == 2
    assert grown("task_fgac_dual_write_failure_total", **by, exception_class="PermissionDenied") == 1
    assert grown("task_fgac_dual_write_success_total", **by) == 0
    assert value("task_fgac_dual_write_success_total", op="register", by="request") >= 1
    assert value("agent_fgac_dual_write_success_total", op="register", by="request") >= 0
    assert value("remit_outbox_lag_seconds_count", type="task") >= 1
    assert value("remit_outbox_oldest_seconds", kind="revocation") >= 60
    assert value("remit_outbox_oldest_seconds", kind="any") >= 60
    assert value("remit_outbox_pending", kind="revocation") >= 1
    assert value("remit_outbox_dead") >= 1
    assert value("remit_drift", type="task", **{"class": "not_delivered"}) == 3
    assert value("remit_reconciliation_oldest_seconds", type="task") >= 3600
    secrets = [*(label for _, labels in seen for label in labels if task["id"] in label[1])]
    assert secrets == [], "no ids in labels"


async def test_a_revocation_that_waits_is_told_and_told_louder(world: World) -> None:
    measures = Measures(world.seed.database)
    told = []
    for age in (10, 20, 50):
        await world.seed.fetch(
            "INSERT INTO outbox (tenant_id, resource_type, resource_id, version, revocation, created_at)"
            " VALUES ($1, 'task', $2, 1, 1, now() - $3 * interval '1 second')",
            world.tenant_id,
            new_id(),
            age,
        )
        with capture_logs() as lines:
            await measures.measure_outbox()
        told.append([line["log_level"] for line in lines])
    assert told == [[], ["warning"], ["critical"]]


async def test_one_bad_resource_among_many_keeps_none_back(database: str, spice: SpiceProcess, fake: FakeAgent) -> None:
    async with installation(database, spice) as (server, world):
        agent, remote = await world.make_agent(fake.url), server.app.state.remote
        tasks = [(await world.alice.make_task(agent))["id"] for _ in range(12)]
        await relay(server)
        writes: list[int] = []
        deliver_all: Callable[[Sequence[Delivery]], Any] = remote.deliver_all

        async def note(deliveries: Sequence[Delivery]) -> str:
            writes.append(len(deliveries))
            token: str = await deliver_all(deliveries)
            return token

        remote.deliver_all = note

        async def share_all(world: World, relation: str) -> None:
            async with world.seed.database.transaction() as connection:
                facts = [Relationship(Resource("task", id), relation, world.bob.subject) for id in tasks]
                await world.seed.engine.write(connection, touch=facts)

        async def having(relation: str) -> set[str]:
            held = {id: (await remote.read_resource(Resource("task", id)))[0] for id in tasks}
            return {id for id, facts in held.items() if any(one.relation == relation for one in facts)}

        await share_all(world, "viewer")
        await relay(server)
        assert writes == [12], "all in one write"
        assert await having("viewer") == set(tasks)

        # SpiceDB refuses a relationship of the first, and has another version of the second than is known here.
        bad, behind, *_ = tasks
        await world.seed.execute(
            "INSERT INTO relationships (resource_type, resource_id, relation, subject_type, subject_id)"
            " SELECT t.code, $1::uuid, r.code, s.code, $1::uuid FROM authz_types t, authz_relations r, authz_types s"
            " WHERE t.name = 'task' AND r.name = 'viewer' AND s.name = 'api_key'",
            bad,
        )
        await world.seed.execute("UPDATE projections SET delivered_version = 1 WHERE resource_id = $1::uuid", behind)
        await share_all(world, "editor")
        await relay(server)
        assert writes[1] == 12
        assert await having("editor") == {*tasks} - {bad}
        waiting = await world.seed.fetch("SELECT resource_id::text AS id, dead_at FROM outbox")
        assert [(row["id"], row["dead_at"] is not None) for row in waiting] == [(bad, True)]


async def test_a_schema_applied_meanwhile_is_written_to_spicedb(
    database: str, spice: SpiceProcess, fake: FakeAgent, tmp_path: Path
) -> None:
    async with installation(database, spice) as (server, world):
        agent = await world.make_agent(fake.url)
        task = await world.alice.make_task(agent)
        await world.alice.share(task, world.bob, "viewer")
        await relay(server)  # while something waits, what is known here counts
        assert (await world.bob.delete(f"/tasks/{task['id']}")).status_code == 403
        shown = print_schema(server.app.state.engine.schema)
        (tmp_path / "mine.zed").write_text(
            shown.replace("permission delete = (owner", "permission delete = (viewer + owner")
        )
        applied = await asyncio.to_thread(
            remit, "authz", "schema", "apply", str(tmp_path / "mine.zed"), REMIT_DATABASE_URL=database
        )
        assert applied.returncode == 0, applied.stderr
        async with asyncio.timeout(WAIT_SECONDS):
            while (await world.bob.delete(f"/tasks/{task['id']}")).status_code == 403:  # noqa: ASYNC110 - its own time
                await asyncio.sleep(0.1)
        (row,) = await world.seed.fetch("SELECT status FROM tasks WHERE id = $1", task["id"])
        assert row["status"] == "DELETED"
        there = await server.app.state.remote._read_schema()
        assert re.search(r"permission delete = .*viewer", print_schema(there))
