"""Registration at build time: an agent that does not run yet, so that it can be shared before it is deployed."""

from typing import Literal

from pydantic import BaseModel, Field

from remit.agents.registration import AGENT_NAME, LONGEST_NAME
from remit.agents.service import AGENT, COLUMNS, Agent, insert_agent, read_agent
from remit.audit import write_audit
from remit.authz.caller import Caller
from remit.authz.guard import authorize, authorize_tenant
from remit.authz.model import Resource
from remit.content import JsonObject, Text

BUILT = "Built; no process of it has registered yet."


class RegisterBuildRequest(BaseModel):
    """An agent that is built and not deployed: it has no address, and its type is `async` until its process says."""

    name: str = Field(pattern=AGENT_NAME, max_length=LONGEST_NAME)
    description: Text
    registration_metadata: JsonObject | None = None
    agent_input_type: Literal["text", "json"] | None = None


async def register_build(caller: Caller, body: RegisterBuildRequest) -> Agent:
    """Make the agent in the status `BuildOnly`, owned by the caller; one of that name is answered as it is.

    Its process needs a key: `POST /agent_api_keys` with the type `internal`, or `remit agents enroll`, makes one.

    Raises:
        Forbidden: the caller may not make agents.
        NotFound: the name is taken by an agent that he may not read.
    """
    await authorize_tenant(caller, "create_agent")
    caller.questions.add(("tenant", "create_agent", caller.principal.tenant_id))
    async with caller.database.transaction() as connection:
        agent_id = await insert_agent(
            connection,
            caller.engine,
            tenant_id=caller.principal.tenant_id,
            name=body.name,
            owner=caller.subject,
            description=body.description,
            status="BuildOnly",
            status_reason=BUILT,
            agent_input_type=body.agent_input_type,
            registration_metadata=body.registration_metadata,
        )
        if agent_id is not None:
            made = Resource(AGENT.type, agent_id)
            await write_audit(connection, caller.audit_entry("agent.build", "done", made, {"name": body.name}))
            row = await connection.fetchrow(f"SELECT {COLUMNS} FROM agents t WHERE t.id = $1", agent_id)
    if agent_id is None:
        return read_agent(await authorize(caller, AGENT, "read", name=body.name, columns=COLUMNS))
    caller.questions.add((AGENT.type, "read", agent_id))
    await caller.tell(made)
    return read_agent(row)
