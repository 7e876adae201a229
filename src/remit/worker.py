"""Background work: jobs that procrastinate keeps in the same database, run by `remit worker` or inside `remit serve`.

Nobody is calling while a job runs, so what a job makes has no creator; it is registered to its tenant and its agent all
the same, never left out of the graph.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from procrastinate import App, JobContext, PsycopgConnector

from remit.agent_api_keys.ending import remove_pending_keys
from remit.authz.delivery import Deliverer
from remit.authz.engine import Engine
from remit.authz.http_contract import plain_principal
from remit.authz.load import load_engine, make_deliverer, open_remote
from remit.authz.model import Resource
from remit.authz.schema_watch import SchemaWatch
from remit.background import keep_running
from remit.db.pool import Database
from remit.identity.encryption import SecretBox
from remit.identity.provider_principals import ProviderPrincipals
from remit.ids import new_id
from remit.relay import run_relay
from remit.retention import BATCH, remove_old
from remit.rpc.answers import AgentError
from remit.rpc.call import agent_params
from remit.rpc.client import AgentClient
from remit.settings import Settings
from remit.tasks.service import change_status, insert_task, read_task

log = structlog.get_logger(__name__)

SCHEMA = "procrastinate"
FINISHED_JOBS_KEPT_HOURS = 72

CREATE_TASK = "remit:create_task"
CLEAN_UP_TIMES = "*/10 * * * *"


@dataclass(frozen=True, slots=True)
class Services:
    """What jobs work with, given to each as `additional_context`."""

    settings: Settings
    database: Database
    engine: Engine
    agents: AgentClient
    delivery: Deliverer | None = None


def make_job_app(dsn: str) -> App:
    """The queue of jobs in a database.

    Args:
        dsn: a libpq URL; the queue's tables are in a schema of their own.
    """
    connector = PsycopgConnector(conninfo=dsn, kwargs={"options": f"-c search_path={SCHEMA}"}, min_size=1, max_size=4)
    app = App(connector=connector)
    app.task(name=CREATE_TASK, pass_context=True)(create_task)
    clean = app.task(name="remit:clean_up", pass_context=True, queueing_lock="clean_up")(clean_up)
    app.periodic(cron=CLEAN_UP_TIMES)(clean)
    return app


@asynccontextmanager
async def open_services(settings: Settings, dsn: str) -> AsyncIterator[Services]:
    """Everything that jobs need, closed at the end."""
    database = await Database.open(dsn, size=4, timeout=settings.pool_timeout)
    try:
        async with database.connection() as connection:
            engine = await load_engine(connection, settings)
        kept = ProviderPrincipals(database, SecretBox(settings)) if settings.authz_engine == "http" else None
        remote = await open_remote(settings, engine, kept.find if kept else plain_principal)
        delivery = make_deliverer(settings, database, engine, remote)
        watch = asyncio.create_task(keep_running("schema", SchemaWatch(engine, database).run))
        try:
            async with AgentClient(settings) as agents:
                yield Services(settings, database, engine, agents, delivery)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            if delivery is not None:
                await delivery.aclose()
    finally:
        await database.close()


async def run_worker(settings: Settings, dsn: str, *, wait: bool = True, name: str = "remit") -> None:
    """Run jobs until cancelled.

    Args:
        settings: the process's settings.
        dsn: where the queue is.
        wait: go on when no job is left; False returns then.
        name: shown with the jobs that it runs.
    """
    async with open_services(settings, dsn) as services, make_job_app(dsn).open_async() as app:
        relay = None
        if services.delivery is not None and wait:
            deliver = partial(run_relay, services.database, services.agents, services.delivery)
            relay = asyncio.create_task(keep_running("relay", deliver))
        try:
            await app.run_worker_async(
                name=name,
                wait=wait,
                concurrency=4,
                install_signal_handlers=False,
                additional_context={"services": services},
            )
        finally:
            if relay is not None:
                relay.cancel()
                await asyncio.gather(relay, return_exceptions=True)


async def enqueue_task(dsn: str, *, tenant: str, agent: str, name: str | None, params: dict[str, Any] | None) -> int:
    """Queue the creation of a task.

    Args:
        dsn: where the queue is.
        tenant: the tenant's name.
        agent: the name of one of its agents.
        name: the task's name.
        params: for the agent.

    Returns:
        The job's id.
    """
    async with make_job_app(dsn).open_async() as app:
        return await app.configure_task(CREATE_TASK).defer_async(tenant=tenant, agent=agent, name=name, params=params)


def _services(context: JobContext) -> Services:
    services: Services = context.additional_context["services"]
    return services


class JobRefused(Exception):
    """A job that cannot be done however often it is tried."""


async def create_task(
    context: JobContext, tenant: str, agent: str, name: str | None = None, params: dict[str, Any] | None = None
) -> str:
    """Create a task outside a request, and tell its agent.

    Returns:
        The task's id; an existing task of the name is taken as it is.
    """
    services = _services(context)
    async with services.database.connection() as connection:
        found = await connection.fetchrow(
            "SELECT to_jsonb(a) AS agent FROM agents a JOIN tenants n ON n.id = a.tenant_id "
            "WHERE n.name = $1 AND n.disabled_at IS NULL AND a.name = $2 AND a.status <> 'Deleted'",
            tenant,
            agent,
        )
        if found is None:
            raise JobRefused(f"The tenant {tenant!r} has no agent {agent!r}.")
        row = await insert_task(
            connection,
            services.engine,
            tenant_id=found["agent"]["tenant_id"],
            agent_id=found["agent"]["id"],
            creator=None,
            name=name,
            params=params,
        )
        if row is None:
            existing: str = await connection.fetchval(
                "SELECT id FROM tasks WHERE tenant_id = $1 AND name = $2 AND status <> 'DELETED'",
                found["agent"]["tenant_id"],
                name,
            )
            return existing
    task = read_task(row)
    if found["agent"]["acp_type"] != "sync" and found["agent"]["acp_url"]:
        try:
            await services.agents.call(
                found["agent"]["acp_url"],
                "task/create",
                {**agent_params(task, found["agent"]), "params": task.params},
                request_id=new_id().replace("-", ""),
            )
        except AgentError as error:
            async with services.database.connection() as connection:
                await change_status(connection, task.id, "FAILED", str(error), only_from=("RUNNING",))
    log.info("task created by a job", task_id=task.id)
    return task.id


async def clean_up(context: JobContext, timestamp: int) -> None:  # noqa: ARG001 - periodic jobs are given their time
    """Remove what has had its time: live updates, expired relationships, dead turns, deleted rows, finished jobs."""
    services = _services(context)
    removed = {
        **await remove_old(services.database, services.settings),
        "tasks": await purge_deleted(services, "tasks", "task", "DELETED"),
        "agents": await purge_deleted(services, "agents", "agent", "Deleted"),
        "agent_api_keys": await remove_pending_keys(services.database, services.engine),
    }
    async with services.database.transaction() as connection:
        removed["relationships"] = await services.engine.remove_expired(connection, BATCH)
    await context.app.job_manager.delete_old_jobs(nb_hours=FINISHED_JOBS_KEPT_HOURS, include_failed=False)
    log.info("cleaned up", **removed)


async def purge_deleted(services: Services, table: str, resource_type: str, deleted: str) -> int:
    """Remove the rows of resources deleted long enough ago, with whatever relationship may still name them.

    An agent whose tasks are still kept is left for a later run.
    """
    has_tasks = "AND NOT EXISTS (SELECT 1 FROM tasks k WHERE k.agent_id = t.id)" if table == "agents" else ""
    total = 0
    while True:
        async with services.database.transaction() as connection:
            rows = await connection.fetch(
                f"SELECT t.id FROM {table} t WHERE t.status = $1 AND t.updated_at < now() - $2::interval {has_tasks} "
                f"LIMIT {BATCH} FOR UPDATE SKIP LOCKED",
                deleted,
                services.settings.purge_after,
            )
            for row in rows:
                await services.engine.remove_all(connection, Resource(resource_type, row["id"]), actor="purge")
            await connection.execute(f"DELETE FROM {table} WHERE id = ANY($1::uuid[])", [row["id"] for row in rows])
        total += len(rows)
        if len(rows) < BATCH:
            return total
