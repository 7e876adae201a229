"""Agents: enrolment, registration, look-up, deletion."""

from datetime import datetime
from typing import Any, Literal

import asyncpg
from pydantic import BaseModel, ConfigDict

from remit.audit import AuditEntry, write_audit
from remit.authz.caller import Caller
from remit.authz.decide import Ask
from remit.authz.engine import Engine
from remit.authz.guard import ResourceKind, absent, authorize, label_of
from remit.authz.model import Resource, Subject
from remit.authz.registration import deregister, relationships_of_agent
from remit.db.params import Params
from remit.db.pool import Connection
from remit.identity.api_keys import insert_key
from remit.ids import new_id

AGENT = ResourceKind(type="agent", table="agents", alive="t.status <> 'Deleted'")

AgentStatus = Literal["Ready", "Failed", "Unknown", "Deleted", "Unhealthy", "BuildOnly"]
ACPType = Literal["sync", "async", "agentic"]

ENROLLED = "Enrolled; it has not registered yet."

COLUMNS = """t.id, t.name, t.description, t.status, t.status_reason, t.acp_type, t.agent_input_type,
t.registration_metadata, t.registered_at, t.created_at, t.updated_at,
(SELECT s.external_id FROM subjects s WHERE s.id = t.creator_user_id) AS creator_user_id,
(SELECT s.external_id FROM subjects s WHERE s.id = t.creator_service_account_id) AS creator_service_account_id,
t.creator_agent_id"""


class Agent(BaseModel):
    """An agent as the wire shows it. Where it listens is not shown."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    description: str
    status: AgentStatus
    acp_type: ACPType
    status_reason: str | None = None
    created_at: datetime
    updated_at: datetime
    registration_metadata: dict[str, Any] | None = None
    registered_at: datetime | None = None
    agent_input_type: Literal["text", "json"] | None = None
    production_deployment_id: str | None = None
    creator_user_id: str | None = None
    creator_service_account_id: str | None = None
    creator_agent_id: str | None = None


def read_agent(row: asyncpg.Record) -> Agent:
    """The wire shape of a row selected with `COLUMNS`."""
    return Agent.model_validate(dict(row))


_INSERT = """
INSERT INTO agents (id, tenant_id, name, description, status, status_reason, acp_type, acp_url, agent_input_type,
  registration_metadata, registered_at, creator_user_id, creator_service_account_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (tenant_id, name) WHERE status <> 'Deleted' DO NOTHING
"""


async def insert_agent(
    connection: Connection,
    engine: Engine,
    *,
    tenant_id: str,
    name: str,
    owner: Subject | None = None,
    private: bool = False,
    description: str = "",
    status: AgentStatus = "Unknown",
    status_reason: str | None = ENROLLED,
    acp_type: ACPType = "async",
    acp_url: str | None = None,
    agent_input_type: str | None = None,
    registration_metadata: dict[str, Any] | None = None,
    registered_at: datetime | None = None,
) -> str | None:
    """Insert an agent and register its relationships, in the caller's transaction.

    Returns:
        Its id, or None when the tenant has an agent of that name.
    """
    agent_id = new_id()
    result = await connection.execute(
        _INSERT,
        agent_id,
        tenant_id,
        name,
        description,
        status,
        status_reason,
        acp_type,
        acp_url,
        agent_input_type,
        registration_metadata,
        registered_at,
        owner.id if owner and owner.type == "user" else None,
        owner.id if owner and owner.type == "service_account" else None,
    )
    if result != "INSERT 0 1":
        return None
    relationships = relationships_of_agent(agent_id, tenant_id, owner, private=private)
    params = Params()
    registers = engine.mode_policy.registers_sql(params, tenant_id, "agent")
    if not await connection.fetchval(f"SELECT {registers}", *params.values):
        relationships = [fact for fact in relationships if fact.resource.type == "tenant"]
    token = await engine.write(connection, touch=relationships, actor=None)
    await connection.execute("UPDATE agents SET authz_zedtoken = $2 WHERE id = $1", agent_id, token)
    return agent_id


async def enroll_agent(
    connection: Connection,
    engine: Engine,
    *,
    tenant_id: str,
    name: str,
    owner: Subject | None = None,
    private: bool = False,
    must_be_new: bool = False,
    actor: AuditEntry,
) -> tuple[str, str] | None:
    """Make the agent unless it exists, and a new key with which it registers and calls; earlier keys stay good.

    Args:
        connection: in a transaction.
        engine: where its relationships go.
        tenant_id: the tenant.
        name: the agent's name.
        owner: who will own a new agent.
        private: as in `relationships_of_agent`.
        must_be_new: do nothing for an agent that exists.
        actor: an audit entry of who enrols; its resource is filled in.

    Returns:
        The agent's id and the secret, which is shown this once; None for an agent that had to be new and is not.
    """
    agent_id = await insert_agent(connection, engine, tenant_id=tenant_id, name=name, owner=owner, private=private)
    if agent_id is None and must_be_new:
        return None
    if agent_id is None:
        agent_id = await connection.fetchval(
            "SELECT id FROM agents WHERE tenant_id = $1 AND name = $2 AND status <> 'Deleted'", tenant_id, name
        )
        assert agent_id is not None, "the name was taken a statement ago"
    key = await insert_key(connection, tenant_id=tenant_id, holder=Subject("agent", agent_id), name="enrolment")
    await write_audit(
        connection,
        AuditEntry(
            tenant_id=tenant_id,
            actor_type=actor.actor_type,
            actor_id=actor.actor_id,
            action="agent.enroll",
            outcome="done",
            resource_type="agent",
            resource_id=agent_id,
            request_id=actor.request_id,
            detail={**(actor.detail or {}), "name": name, "key_id": key.id},
        ),
    )
    return agent_id, key.secret


async def get_agent(caller: Caller, *, id: str | None = None, name: str | None = None) -> Agent:
    """An agent that the caller may read."""
    return read_agent(await authorize(caller, AGENT, "read", id=id, name=name, columns=COLUMNS))


async def delete_agent(caller: Caller, *, id: str | None = None, name: str | None = None) -> tuple[str, str]:
    """Delete an agent softly: its keys die, its relationships go, its name is free again; its tasks stay.

    Returns:
        Its id and name.
    """
    found = await authorize(caller, AGENT, "delete", id=id, name=name, columns="t.id, t.name")
    async with caller.database.transaction() as connection:
        entry = caller.audit_entry("agent.delete", "done", Resource("agent", found["id"]))
        if not await end_agent(connection, caller.engine, found["id"], entry=entry, actor=caller.actor):
            raise absent(label_of(id=id, name=name))
    return found["id"], found["name"]


async def end_agent(connection: Connection, engine: Engine, agent_id: str, *, entry: AuditEntry, actor: str) -> bool:
    """Do what `delete_agent` describes, in the caller's transaction, for somebody who may.

    Args:
        connection: in a transaction.
        engine: where its relationships are.
        agent_id: the agent.
        entry: the audit entry to write.
        actor: who, for the history of its relationships.

    Returns:
        False when it was deleted before.
    """
    deleted = await connection.fetchval(
        "UPDATE agents SET status = 'Deleted', updated_at = now() WHERE id = $1 AND status <> 'Deleted' RETURNING id",
        agent_id,
    )
    if deleted is None:
        return False
    await connection.execute(
        "UPDATE api_keys SET revoked_at = now() WHERE agent_id = $1 AND revoked_at IS NULL", agent_id
    )
    for key in await connection.fetch("SELECT id FROM agent_api_keys WHERE agent_id = $1", agent_id):
        resource = Resource("api_key", key["id"])
        await deregister(engine, connection, resource, actor=actor, request_id=entry.request_id)
    await connection.execute("DELETE FROM agent_api_keys WHERE agent_id = $1", agent_id)
    await deregister(engine, connection, Resource("agent", agent_id), actor=actor, request_id=entry.request_id)
    await write_audit(connection, entry)
    return True


async def filter_by_task(caller: Caller, params: Params, task_id: str) -> str:
    """SQL over `t`: the agents of a task, none if the caller may not read it."""
    of_task = Ask("read", "task", "k.id", lambda asked: f"SELECT {asked.add(task_id, 'uuid')}")
    (readable,) = await caller.conditions(params, of_task)
    task = params.add(task_id, "uuid")
    return f"t.id IN (SELECT k.agent_id FROM tasks k WHERE k.id = {task} AND k.status <> 'DELETED' AND {readable})"
