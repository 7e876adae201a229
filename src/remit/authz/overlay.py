"""What an engine elsewhere has not been told yet, laid over its answers.

Remit's own relationships are written in the row's transaction and delivered after it. In between:

- a pending grant serves whom it names at once: what the local relationships allow is allowed;
- a pending revocation holds for all at once: what the local relationships do not allow is denied, whatever the engine
  still says. A set that was revoked may have members that only the engine knows; they are denied with the rest;
- a resource whose revocation has been pending for too long is closed to everybody;
- a grant that was given up, as the engine refused it, serves nobody: the engine is asked. A revocation that was given
  up holds all the same.

All of it is part of the statement that finds the row, and the local relationships are looked at only where something
is pending: the overlay costs no round trip.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal

from remit.authz.engine import Engine
from remit.authz.model import Subject
from remit.authz.roles import TABLES
from remit.db.params import Params

Overlay = Literal["ask", "yes", "no"]

CLOSED_AFTER_SECONDS: Final = 60

# Types whose relationships decide about the resources of a whole tenant.
_WIDE: Final = "'{tenant,group}'::text[]"


def overlay_sql(
    params: Params,
    engine: Engine,
    subject: Subject,
    tenant_id: str,
    permission: str,
    resource_type: str,
    id_sql: str,
) -> str:
    """A SQL expression of type text: `ask` the engine elsewhere, or `yes` or `no` whatever it says.

    Args:
        params: the parameters of the statement it goes into.
        engine: the local relationships.
        subject: who asks, a principal of the tenant.
        tenant_id: the tenant.
        permission: the permission.
        resource_type: the type.
        id_sql: a SQL expression of type uuid for the resource's id.
    """
    local = engine.check_sql(params, subject, permission, resource_type, id_sql)
    pending = " UNION ALL ".join(
        f"SELECT o.revocation, o.created_at, o.dead_at, {own} AS own FROM outbox o WHERE {condition}"
        for own, condition in _concerning(params, tenant_id, resource_type, id_sql)
    )
    overdue = f"o.created_at < now() - interval '{CLOSED_AFTER_SECONDS} seconds'"
    return (
        "(SELECT CASE WHEN p.something IS NULL THEN 'ask' WHEN p.closed THEN 'no'"
        f" WHEN {local} THEN CASE WHEN p.waits THEN 'yes' ELSE 'ask' END WHEN p.revoked THEN 'no' ELSE 'ask' END"
        " FROM (SELECT bool_or(TRUE) AS something, bool_or(o.dead_at IS NULL) AS waits,"
        " bool_or(o.revocation > 0) AS revoked,"
        f" bool_or(o.own AND o.revocation > 0 AND {overdue}) AS closed"
        f" FROM ({pending}) o OFFSET 0) p)"
    )


def tokens_sql(params: Params, tenant_id: str, row: str) -> str:
    """A SQL expression of type text[]: the tokens of the latest deliveries that decide about a row, for `latest`.

    Args:
        params: the parameters of the statement it goes into.
        tenant_id: the tenant, whose latest delivery covers its groups, agents and members.
        row: the row's alias.
    """
    tenant = f"(SELECT n.authz_zedtoken FROM tenants n WHERE n.id = {params.add(tenant_id, 'uuid')})"
    return f"ARRAY[{row}.authz_zedtoken, {tenant}]"


_TOKEN = re.compile(r"r1\.(\d+)\.(\d+)\.(.+)", re.DOTALL)


def latest(tokens: Iterable[str | None]) -> str | None:
    """The engine's zedtoken of the delivery that came after all others; None where that cannot be told.

    A token is kept with the time its delivery took. Of two deliveries that overlapped either may have come later:
    then the engine is asked without a token, and answers as fresh as it can.
    """
    spans = {}
    for token in tokens:
        if token is None:
            continue
        if (match := _TOKEN.fullmatch(token)) is None:
            return None
        began, ended, own = match.groups()
        spans[own] = int(began), int(ended)
    if not spans:
        return None
    last = max(spans, key=lambda own: spans[own][0])
    others = (ended for own, (_, ended) in spans.items() if own != last)
    return last if all(ended < spans[last][0] for ended in others) else None


def pending_sql(params: Params, tenant_id: str, resource_type: str, id_sql: str) -> str:
    """A boolean SQL expression, never NULL: something that may concern the resource is still to be delivered."""
    conditions = _concerning(params, tenant_id, resource_type, id_sql)
    return "(" + " OR ".join(f"EXISTS (SELECT 1 FROM outbox o WHERE {condition})" for _, condition in conditions) + ")"


def _concerning(params: Params, tenant_id: str, resource_type: str, id_sql: str) -> list[tuple[bool, str]]:
    """Conditions over an outbox entry `o` that may change answers about a resource; first of its own entries."""
    own = f"o.resource_type = '{resource_type}' AND o.resource_id = {id_sql}"
    wide = f"o.tenant_id = {params.add(tenant_id, 'uuid')} AND o.resource_type = ANY ({_WIDE})"
    if resource_type in ("tenant", "agent"):
        return [(True, own), (False, wide)]
    agent = f"(SELECT x.agent_id FROM {TABLES[resource_type]} x WHERE x.id = {id_sql})"
    return [(True, own), (False, wide), (False, f"o.resource_type = 'agent' AND o.resource_id = {agent}")]
