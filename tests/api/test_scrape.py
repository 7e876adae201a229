"""What a Prometheus gets of a running server: every counter and gauge by its name and labels, and true."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.agent import FakeAgent
from support.graph import make_world, open_seeder
from support.outbox import spicedb_settings
from support.server import serve
from support.spicedb_host import SpiceProcess, run_spicedb

from remit.authz.remote import Delivery, RemoteError
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


@pytest.fixture
def spice() -> Iterator[SpiceProcess]:
    with run_spicedb() as running:
        yield running


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
    settings = spicedb_settings(spice)
    async with (
        serve(database, **settings) as server,
        open_seeder(database, server.url, Settings(**settings)) as seeder,
    ):
        world = await make_world(seeder)
        task = await world.alice.make_task(await world.make_agent(fake.url))
        before = await scrape(seeder.http)
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
        seen = await scrape(seeder.http)
        async with asyncio.timeout(WAIT_SECONDS):
            while ("remit_drift", frozenset({("type", "task"), ("class", "not_delivered")})) not in seen:
                seen = await scrape(seeder.http)

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
