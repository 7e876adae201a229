"""The making of agents' keys: inserted with their relationships, told to an engine elsewhere, active from then on."""

from dataclasses import dataclass

import asyncpg

from remit.agent_api_keys.ending import remove
from remit.agent_api_keys.service import COLUMNS, SIGNING, AgentAPIKey, AgentRef, KeyType, read_key
from remit.agents.service import AGENT
from remit.audit import AuditEntry, write_audit
from remit.authz.caller import Caller
from remit.authz.delivery import Outcome
from remit.authz.engine import Engine
from remit.authz.guard import absent, authorize, label_of
from remit.authz.model import Resource, Subject
from remit.authz.registration import relationships_of_api_key
from remit.db.params import Params
from remit.db.pool import Connection
from remit.errors import Conflict, Forbidden, Invalid, Unavailable
from remit.identity.encryption import SecretBox
from remit.identity.secrets import (
    LONGEST_CHOSEN,
    OWN_PREFIX,
    SHORTEST_CHOSEN,
    can_be_chosen,
    hash_secret,
    make_secret,
)
from remit.ids import new_id
from remit.settings import Settings

# Slack's signing secrets have 32 characters, GitHub's are whatever people have typed in there.
SHORTEST_SIGNING_SECRET = 16


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be made.

    Attributes:
        id: of its row.
        agent_id: whose key it is.
        name: unique among the agent's keys of the type.
        type: see `service.py`.
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


async def create_key(
    caller: Caller, settings: Settings, agent: AgentRef, *, name: str, key_type: KeyType, secret: str | None
) -> tuple[AgentAPIKey, str, str]:
    """Make a key of an agent that the caller may update.

    Args:
        caller: who makes it, and so owns it.
        settings: for the key that signing secrets are encrypted with.
        agent: whose key it is.
        name: unique among the agent's keys of the type; for signing secrets what the sender calls itself.
        key_type: see `service.py`.
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
