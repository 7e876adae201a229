"""Keys of agents: made, read, listed, deleted. A resource of the graph whose parent is the agent.

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
from datetime import datetime, timedelta
from typing import Literal

import asyncpg
from pydantic import BaseModel

from remit.agents.service import AGENT
from remit.audit import AuditEntry, write_audit
from remit.authz.caller import Caller
from remit.authz.delivery import Outcome
from remit.authz.engine import Engine
from remit.authz.guard import ResourceKind, absent, authorize, judge, label_of, probe
from remit.authz.model import Resource, Subject
from remit.authz.registration import deregister, relationships_of_api_key
from remit.authz.visible import Listed, list_visible
from remit.db.params import Params
from remit.db.pool import Connection, Database
from remit.errors import BadRequest, Conflict, Forbidden, Invalid, Unavailable
from remit.identity.encryption import SecretBox
from remit.identity.secrets import (
    LONGEST_CHOSEN,
    OWN_PREFIX,
    SHORTEST_CHOSEN,
    can_be_chosen,
    hash_secret,
    make_secret,
)
from remit.ids import NIL_ID, new_id
from remit.paging import Page
from remit.settings import Settings

API_KEY = ResourceKind(type="api_key", table="agent_api_keys", alive="t.status = 'active'")

KeyType = Literal["internal", "external", "github", "slack"]
SIGNING: frozenset[KeyType] = frozenset({"github", "slack"})

PENDING_AT_MOST = timedelta(minutes=5)
# Slack's signing secrets have 32 characters, GitHub's are whatever people have typed in there.
SHORTEST_SIGNING_SECRET = 16

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


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be made.

    Attributes:
        id: of its row.
        agent_id: whose key it is.
        name: unique among the agent's keys of the type.
        type: see the top of this module.
        secret: shown once.
        sealed: the secret encrypted, for types that sign.
    """

    id: str
    agent_id: str
    name: str
    type: KeyType
    secret: str
    sealed: bytes | None

    @classmethod
    def make(cls, settings: Settings, agent_id: str, name: str, type: KeyType, secret: str | None) -> "NewKey":
        """A key with a secret that exists already, or with one that is made now.

        Raises:
            Invalid: the secret is too short, too long, or looks like one of Remit's own.
            SecretKeyMissing: as `SecretBox`.
        """
        if secret is not None:
            _check_secret(secret, type)
        shown = secret if secret is not None else make_secret("agent" if type == "internal" else "external")
        sealed = SecretBox(settings).encrypt(shown) if type in SIGNING else None
        return cls(new_id(), agent_id, name, type, shown, sealed)

    @property
    def resource(self) -> Resource:
        """The key in the graph."""
        return Resource("api_key", self.id)


def read_key(row: asyncpg.Record) -> AgentAPIKey:
    """The wire shape of a row selected with `COLUMNS`."""
    return AgentAPIKey.model_validate(dict(row))


async def create_key(
    caller: Caller, settings: Settings, agent: AgentRef, *, name: str, key_type: KeyType, secret: str | None
) -> tuple[AgentAPIKey, str, str]:
    """Make a key of an agent that the caller may update.

    Args:
        caller: who makes it, and so owns it.
        settings: for the key that signing secrets are encrypted with.
        agent: whose key it is.
        name: unique among the agent's keys of the type; for signing secrets what the sender calls itself.
        key_type: see the top of this module.
        secret: one that exists already; None makes one.

    Returns:
        The key, its agent's name, and the secret, which is shown this once.

    Raises:
        NotFound, Forbidden: the agent is absent for the caller, or he may not update it.
        Invalid: the secret is too short, too long, or looks like one of Remit's own.
        Conflict: the name is taken, or the secret is another key's.
        SecretKeyMissing: as `SecretBox`.
    """
    found = await authorize(caller, AGENT, "update", id=agent.id, name=agent.name, columns="t.id, t.name")
    new = NewKey.make(settings, found["id"], name, key_type, secret)
    detail: dict[str, object] = {"agent_id": found["id"], "name": name, "type": key_type}
    async with caller.database.transaction() as connection:
        row = await insert_pending(connection, caller.engine, caller.principal.tenant_id, new, caller.subject)
        if caller.delivery is None:
            await activate(connection, caller.audit_entry("api_key.create", "done", new.resource, detail))
    if caller.delivery is not None:
        await _register_elsewhere(caller, row["id"], detail)
    return read_key(row), found["name"], new.secret


async def _register_elsewhere(caller: Caller, key_id: str, detail: dict[str, object]) -> None:
    """Tell the engine elsewhere of a pending key and make it active; where that fails, nothing of the key stays.

    Raises:
        Forbidden: the engine refuses the key.
        Unavailable: it could not be told; the same request may be sent again.
    """
    result = await caller.tell(Resource("api_key", key_id))
    if result.outcome is Outcome.DELIVERED:
        entry = caller.audit_entry("api_key.create", "done", Resource("api_key", key_id), detail)
        async with caller.database.transaction() as connection:
            if await activate(connection, entry):
                return
    else:
        async with caller.database.transaction() as connection:
            await remove(connection, caller.engine, key_id, actor=caller.actor, request_id=caller.request_id)
    if result.outcome is Outcome.REFUSED:
        raise Forbidden("The authorization engine refuses to register the key, so there is none. An operator sees why.")
    raise Unavailable("The authorization engine could not be told of the key, so there is none. Try again.")


async def insert_pending(
    connection: Connection, engine: Engine, tenant_id: str, new: NewKey, creator: Subject | None
) -> asyncpg.Record:
    """Insert a key that lets nobody in yet, with its relationships, in the caller's transaction: one statement.

    Args:
        connection: in a transaction.
        engine: where its relationships go.
        tenant_id: the agent's tenant.
        new: the key.
        creator: who will own it; None for an operator.

    Returns:
        The row, with `COLUMNS`.

    Raises:
        NotFound: the agent is gone.
        Conflict: the name is taken, or the secret is another key's.
    """
    sql = Params()
    tenant, agent = sql.add(tenant_id, "uuid"), sql.add(new.agent_id, "uuid")
    creators = [
        sql.add(creator.id, "uuid") if creator is not None and creator.type == kind else "NULL"
        for kind in ("user", "service_account", "agent")
    ]
    relationships = engine.insert_sql(
        sql,
        relationships_of_api_key(new.id, tenant_id, new.agent_id, creator),
        when=f"EXISTS (SELECT 1 FROM row) AND {engine.mode_policy.registers_sql(sql, tenant_id, 'api_key')}",
    )
    owed = engine.outbox_sql(sql, new.resource, tenant_id, when="EXISTS (SELECT 1 FROM row)")
    statement = f"""
        WITH parent AS (
          -- Locked against its deletion, which ends its keys: none is made behind it.
          SELECT a.id FROM agents a WHERE a.id = {agent} AND a.status <> 'Deleted' FOR SHARE
        ), row AS (
          INSERT INTO agent_api_keys (id, tenant_id, agent_id, name, api_key_type, status, secret_hash,
                                      secret_encrypted, creator_user_id, creator_service_account_id, creator_agent_id,
                                      authz_zedtoken)
          SELECT {sql.add(new.id, "uuid")}, {tenant}, p.id, {sql.add(new.name, "text")}, {sql.add(new.type, "text")},
                 'pending', {sql.add(None if new.sealed else hash_secret(new.secret), "bytea")},
                 {sql.add(new.sealed, "bytea")}, {", ".join(f"{creator}::uuid" for creator in creators)},
                 {engine.zedtoken_sql(sql)}
            FROM parent p
          ON CONFLICT DO NOTHING
          RETURNING *
        ), registered AS ({relationships}
        ){f", outboxed AS ({owed})" if owed else ""}
        SELECT {COLUMNS} FROM row t"""
    row = await connection.fetchrow(statement, *sql.values)
    if row is None:
        raise await _why_not(connection, new)
    return row


async def activate(connection: Connection, entry: AuditEntry) -> bool:
    """Let the key that an audit entry is about in from now on; False when it is gone by now.

    Its relationships are where they are asked by then.
    """
    statement = "UPDATE agent_api_keys SET status = 'active' WHERE id = $1"
    status: str = await connection.execute(statement, entry.resource_id)
    if status != "UPDATE 1":
        return False
    await write_audit(connection, entry)
    return True


async def _why_not(connection: Connection, new: NewKey) -> Exception:
    if not await connection.fetchval("SELECT 1 FROM agents WHERE id = $1 AND status <> 'Deleted'", new.agent_id):
        return absent(label_of(id=new.agent_id))
    taken = "SELECT 1 FROM agent_api_keys WHERE agent_id = $1 AND name = $2 AND api_key_type = $3"
    if await connection.fetchval(taken, new.agent_id, new.name, new.type):
        return Conflict(f"The agent has a key of this name and of the type '{new.type}' already.")
    return Conflict("This secret is in use already. Leave it out, and one is made.")


def _check_secret(secret: str, key_type: KeyType) -> None:
    shortest = SHORTEST_SIGNING_SECRET if key_type in SIGNING else SHORTEST_CHOSEN
    if not can_be_chosen(secret, shortest):
        rule = f"must be {shortest} to {LONGEST_CHOSEN} printable ASCII characters, without spaces at the ends, and not"
        raise Invalid([("body.api_key", f"{rule} begin with '{OWN_PREFIX}'")])


async def get_key(caller: Caller, key_id: str) -> AgentAPIKey:
    """A key that the caller may read."""
    return read_key(await authorize(caller, API_KEY, "read", id=key_id, columns=COLUMNS))


async def get_named_key(caller: Caller, agent: AgentRef, name: str, key_type: KeyType) -> AgentAPIKey:
    """A key by its name among its agent's keys of a type."""
    return read_key(await _authorize_named(caller, "read", agent, name, key_type, COLUMNS))


async def _authorize_named(
    caller: Caller, permission: str, agent: AgentRef, name: str, key_type: KeyType, columns: str
) -> asyncpg.Record:
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


async def delete_key(caller: Caller, key_id: str) -> None:
    """Delete a key: what it let in is refused from the next request on.

    Raises:
        NotFound, Forbidden: it is absent for the caller, or he may not delete it.
    """
    await authorize(caller, API_KEY, "delete", id=key_id, columns="t.id")
    await _end(caller, key_id, label_of(id=key_id))


async def delete_named_key(caller: Caller, agent: AgentRef, name: str, key_type: KeyType) -> None:
    """Delete a key by its name; as `delete_key` for the id that the name stands for now."""
    found = await _authorize_named(caller, "delete", agent, name, key_type, "t.id")
    await _end(caller, found["id"], label_of(name=name))


async def _end(caller: Caller, key_id: str, label: str) -> None:
    async with caller.database.transaction() as connection:
        if not await remove(connection, caller.engine, key_id, actor=caller.actor, request_id=caller.request_id):
            raise absent(label)
        await write_audit(connection, caller.audit_entry("api_key.delete", "done", Resource("api_key", key_id)))


async def remove(connection: Connection, engine: Engine, key_id: str, *, actor: str, request_id: str | None) -> bool:
    """Remove a key with its relationships, in the caller's transaction; False when it was gone."""
    resource = Resource("api_key", key_id)
    # First, while the row still says whose tenant the deregistration belongs to.
    await deregister(engine, connection, resource, actor=actor, request_id=request_id)
    gone = await connection.fetchval("DELETE FROM agent_api_keys WHERE id = $1 RETURNING id", key_id)
    return gone is not None


async def remove_pending_keys(database: Database, engine: Engine) -> int:
    """Remove keys that stayed pending, with their relationships: whoever made them was never shown a secret."""
    async with database.transaction() as connection:
        rows = await connection.fetch(
            "SELECT id FROM agent_api_keys WHERE status = 'pending' AND created_at < now() - $1::interval "
            "FOR UPDATE SKIP LOCKED",
            PENDING_AT_MOST,
        )
        for row in rows:
            await remove(connection, engine, row["id"], actor="worker", request_id=None)
    return len(rows)
