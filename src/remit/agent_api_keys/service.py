"""Keys of agents: read and listed here, made in `making.py`, deleted in `ending.py`. Their parent is the agent.

    type       what it does                                       kept
    internal   authenticates as its agent, and as nobody else     hashed
    external   opens the agent's forward routes                   hashed
    github     signs what GitHub sends to the forward routes      encrypted
    slack      signs what Slack sends to the forward routes       encrypted

A key is `pending` from its insertion until its relationships are where they are asked, and lets nobody in before. The
embedded engine has them in the transaction of the row, which so makes it `active` at once; an engine elsewhere is told
after that commit, and a second one makes it active, or removes it where it could not be told.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg
from pydantic import BaseModel

from remit.agents.service import AGENT
from remit.authz.caller import Caller
from remit.authz.guard import ResourceKind, authorize, judge, label_of, probe
from remit.authz.visible import Listed, list_visible
from remit.db.params import Params
from remit.errors import BadRequest
from remit.ids import NIL_ID
from remit.paging import Page

API_KEY = ResourceKind(type="api_key", table="agent_api_keys", alive="t.status = 'active'")

KeyType = Literal["internal", "external", "github", "slack"]
SIGNING: frozenset[KeyType] = frozenset({"github", "slack"})

COLUMNS = """t.id, t.agent_id, t.name, t.api_key_type, t.created_at, t.creator_agent_id,
(SELECT s.external_id FROM subjects s WHERE s.id = t.creator_user_id) AS creator_user_id,
(SELECT s.external_id FROM subjects s WHERE s.id = t.creator_service_account_id) AS creator_service_account_id"""


class AgentAPIKey(BaseModel):
    """A key of an agent, without its secret."""

    id: str
    agent_id: str
    created_at: datetime
    name: str | None
    api_key_type: KeyType
    creator_user_id: str | None = None
    creator_service_account_id: str | None = None
    creator_agent_id: str | None = None


@dataclass(frozen=True, slots=True)
class AgentRef:
    """How a request names an agent: by exactly one of its id and its name."""

    id: str | None
    name: str | None

    def __post_init__(self) -> None:
        if (self.id is None) == (self.name is None):
            raise BadRequest("Name the agent by exactly one of `agent_id` and `agent_name`.")


def read_key(row: asyncpg.Record) -> AgentAPIKey:
    """The wire shape of a row selected with `COLUMNS`."""
    return AgentAPIKey.model_validate(dict(row))


async def get_key(caller: Caller, key_id: str) -> AgentAPIKey:
    """A key that the caller may read."""
    return read_key(await authorize(caller, API_KEY, "read", id=key_id, columns=COLUMNS))


async def get_named_key(caller: Caller, agent: AgentRef, name: str, key_type: KeyType) -> AgentAPIKey:
    """A key by its name among its agent's keys of a type."""
    return read_key(await authorize_named(caller, "read", agent, name, key_type, COLUMNS))


async def authorize_named(
    caller: Caller, permission: str, agent: AgentRef, name: str, key_type: KeyType, columns: str
) -> asyncpg.Record:
    """As `guard.authorize`, of a key by its name among its agent's keys of a type."""
    async with caller.database.connection() as connection:
        key_id = await connection.fetchval(
            "SELECT k.id FROM agent_api_keys k JOIN agents a ON a.id = k.agent_id AND a.status <> 'Deleted' "
            "WHERE a.tenant_id = $1 AND (a.id = $2::uuid OR a.name = $3) AND k.name = $4 AND k.api_key_type = $5",
            caller.principal.tenant_id,
            agent.id,
            agent.name,
            name,
            key_type,
        )
    # An absent key asks the same question as one that is there.
    verdict = await probe(caller, API_KEY, permission, id=key_id or NIL_ID, columns=columns)
    return judge(caller, API_KEY, permission, verdict, label_of(name=name))


async def list_keys(caller: Caller, agent: AgentRef, page: Page) -> Listed:
    """The keys of an agent that the caller may read, newest first.

    Raises:
        NotFound: the agent is absent for him.
    """
    found = await authorize(caller, AGENT, "read", id=agent.id, name=agent.name, columns="t.id")
    params = Params()
    where = [f"t.agent_id = {params.add(found['id'], 'uuid')}"]
    return await list_visible(caller, API_KEY, page, columns=COLUMNS, where=where, params=params)
