"""Registration: an agent process says where it listens. Its key decides who it is; nothing in the body does."""

import ipaddress
from typing import Any, Literal

from pydantic import BaseModel, Field

from remit.agents.service import AGENT, COLUMNS, ACPType, Agent, enroll_agent, read_agent
from remit.audit import AuditEntry
from remit.authz.caller import Caller
from remit.authz.engine import Engine
from remit.authz.guard import authorize_tenant, judge, label_of, probe
from remit.authz.model import Resource, Subject
from remit.content import JsonObject, Text
from remit.db.pool import Connection, Database
from remit.errors import BadRequest, Forbidden, Invalid, Unauthenticated
from remit.settings import Settings

AGENT_NAME = r"^[a-z0-9-]+$"
LONGEST_NAME = 128


class RegisterAgentRequest(BaseModel):
    """What an agent process sends when it starts. `principal_context` is read by nobody: a body proves nothing."""

    name: str = Field(pattern=AGENT_NAME, max_length=LONGEST_NAME)
    description: Text = ""
    acp_url: Text
    acp_type: ACPType = "async"
    agent_id: str | None = None
    agent_input_type: Literal["text", "json"] | None = None
    registration_metadata: JsonObject | None = None


class RegisterAgentResponse(Agent):
    """The agent, and the key with which the process calls the server: the one it showed, or a first one."""

    agent_api_key: str | None = None


_REGISTER = f"""
WITH t AS (
  UPDATE agents SET description = $2, acp_url = $3, acp_type = $4, agent_input_type = coalesce($5, agent_input_type),
    registration_metadata = CASE WHEN $6::jsonb IS NULL THEN registration_metadata
                                 ELSE coalesce(registration_metadata, '{{}}'::jsonb) || $6::jsonb END,
    status = 'Ready', status_reason = NULL, registered_at = now(), updated_at = now()
  WHERE id = $1 AND status <> 'Deleted' RETURNING *
) SELECT {COLUMNS} FROM t
"""


async def _update_agent(connection: Connection, agent_id: str, url: str, body: RegisterAgentRequest) -> Agent:
    row = await connection.fetchrow(
        _REGISTER,
        agent_id,
        body.description,
        url,
        body.acp_type,
        body.agent_input_type,
        body.registration_metadata,
    )
    if row is None:
        raise Unauthenticated("The agent of this key has been deleted. Enrol it again.")
    return read_agent(row)


async def register_with_own_key(
    caller: Caller, shown_key: str, url: str, body: RegisterAgentRequest
) -> RegisterAgentResponse:
    """A process that shows its agent's key.

    Raises:
        Forbidden: the key belongs to another agent than the one named.
    """
    principal = caller.principal
    if body.name != principal.name or (body.agent_id is not None and body.agent_id.lower() != principal.id):
        caller.audit.record(caller.audit_entry("agent.register", "denied", detail={"name": body.name}))
        raise Forbidden(
            f"The key belongs to the agent '{principal.name}'. Set AGENT_NAME to that, or enrol an agent of this name."
        )
    async with caller.database.connection() as connection:
        agent = await _update_agent(connection, principal.id, url, body)
    return RegisterAgentResponse(**dict(agent), agent_api_key=shown_key)


async def register_by_subject(caller: Caller, url: str, body: RegisterAgentRequest) -> RegisterAgentResponse:
    """A user or service account registers: a new agent becomes his, an existing one needs his `update` on it.

    Raises:
        NotFound, Forbidden: he may not.
    """
    verdict = await probe(caller, AGENT, "update", name=body.name, columns="t.id")
    if verdict.row is not None:
        row = judge(caller, AGENT, "update", verdict, label_of(name=body.name))
        async with caller.database.connection() as connection:
            agent = await _update_agent(connection, row["id"], url, body)
        return RegisterAgentResponse(**dict(agent))
    await authorize_tenant(caller, "create_agent")
    registered = await _enroll_and_register(
        caller.database,
        caller.engine,
        tenant_id=caller.principal.tenant_id,
        owner=caller.subject,
        url=url,
        body=body,
        actor=caller.audit_entry("agent.enroll", "done"),
    )
    # What a repeat is shown, the agent's key among it, takes as much as the registration of an agent that is there.
    caller.questions.add((AGENT.type, "update", registered.id))
    await caller.tell(Resource(AGENT.type, registered.id))
    return registered


async def register_openly(
    database: Database,
    engine: Engine,
    settings: Settings,
    client_host: str,
    request_id: str,
    url: str,
    body: RegisterAgentRequest,
) -> RegisterAgentResponse:
    """The first registration of a new name without a key, where open enrolment allows it.

    Raises:
        Unauthenticated: enrolment is by key, the name is known, or the process is not on this machine.
        BadRequest: it is not clear which tenant the agent belongs to.
    """
    if settings.agent_enrollment != "open":
        raise Unauthenticated(
            "This agent has no key. `remit agents enroll NAME --tenant TENANT` prints the AGENT_API_KEY "
            "to start it with."
        )
    if not _is_loopback(client_host):
        raise Unauthenticated(
            "Open enrolment serves this machine only. Start the agent with the AGENT_API_KEY that enrolment gave it."
        )
    async with database.connection() as connection:
        tenant_id = await _find_default_tenant(connection, settings.default_tenant)
        taken = await connection.fetchval(
            "SELECT 1 FROM agents WHERE tenant_id = $1 AND name = $2 AND status <> 'Deleted'", tenant_id, body.name
        )
    if taken:
        raise _name_is_known()
    return await _enroll_and_register(
        database,
        engine,
        tenant_id=tenant_id,
        owner=None,
        url=url,
        body=body,
        actor=AuditEntry(
            tenant_id=tenant_id,
            actor_type="agent",
            actor_id=None,
            action="agent.enroll",
            outcome="done",
            request_id=request_id,
        ),
    )


async def _enroll_and_register(
    database: Database,
    engine: Engine,
    *,
    tenant_id: str,
    owner: Subject | None,
    url: str,
    body: RegisterAgentRequest,
    actor: AuditEntry,
) -> RegisterAgentResponse:
    async with database.transaction() as connection:
        enrolled = await enroll_agent(
            connection, engine, tenant_id=tenant_id, name=body.name, owner=owner, actor=actor, must_be_new=True
        )
        if enrolled is None:
            raise _name_is_known()
        agent_id, secret = enrolled
        agent = await _update_agent(connection, agent_id, url, body)
    return RegisterAgentResponse(**dict(agent), agent_api_key=secret)


def _name_is_known() -> Unauthenticated:
    return Unauthenticated(
        "An agent of this name is registered. Start the process with its AGENT_API_KEY; "
        "`remit agents enroll` makes another one."
    )


async def _find_default_tenant(connection: Connection, name: str | None) -> str:
    rows: list[Any] = await connection.fetch(
        "SELECT id FROM tenants WHERE disabled_at IS NULL AND ($1::text IS NULL OR name = $1) LIMIT 2", name
    )
    if len(rows) == 1:
        tenant_id: str = rows[0]["id"]
        return tenant_id
    raise BadRequest(
        "It is not clear which tenant this agent belongs to. Set REMIT_DEFAULT_TENANT, or enrol the agent with "
        "`remit agents enroll NAME --tenant TENANT`."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_address(reason: str) -> Invalid:
    """The answer to an address that the server will not call."""
    return Invalid([("body.acp_url", reason)])
