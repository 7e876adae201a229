"""Who knocks at the forward routes of an agent: a holder of an external key, GitHub, or Slack.

The agent's name may be that of several tenants' agents. The key or the signature says which one is meant, so that no
sender names a tenant. An unknown agent, a sender without a key and a bad signature are answered alike: a stranger
learns nothing about who is here.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import asyncpg
import orjson

from remit.agent_api_keys.service import KeyType
from remit.db.pool import Database
from remit.errors import BadRequest, Conflict, Unauthenticated
from remit.identity.encryption import SecretBox
from remit.identity.secrets import hash_secret
from remit.settings import Settings

# https://docs.slack.dev/authentication/verifying-requests-from-slack: an older request may be a replay.
SLACK_SECONDS = 5 * 60
LONGEST_CHALLENGE = 1024
MOST_CANDIDATES = 100

_CANDIDATES = f"""
SELECT k.id, k.secret_encrypted, a.acp_url
  FROM agents a
  JOIN tenants n ON n.id = a.tenant_id AND n.disabled_at IS NULL
  JOIN agent_api_keys k ON k.agent_id = a.id AND k.status = 'active' AND k.api_key_type = $2
 WHERE a.name = $1 AND a.status <> 'Deleted'
   AND ($3::text IS NULL OR k.name = $3) AND ($4::bytea IS NULL OR k.secret_hash = $4)
 LIMIT {MOST_CANDIDATES}
"""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A sender whose key or signature is good.

    Attributes:
        acp_url: where the agent that it reaches listens, None while it has not registered.
        challenge: what Slack wants to read back to be sure of the address; nothing is forwarded then.
    """

    acp_url: str | None
    challenge: str | None = None


async def admit_sender(
    database: Database,
    settings: Settings,
    agent_name: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float | None = None,
) -> Admitted | None:
    """The agent that a request may be forwarded to, by its external key or its signature.

    Args:
        database: where keys are.
        settings: for the key that signing secrets are encrypted with.
        agent_name: the name in the path.
        headers: of the request, by lower-case name.
        body: of the request, as it came.
        now: seconds since 1970, for the age of Slack's requests.

    Returns:
        None where the request shows neither; it may have a credential of another kind.

    Raises:
        Unauthenticated: the key or the signature is not good, or too old.
        BadRequest: the body does not say who signed.
        Conflict: it is good for agents of two tenants.
        SecretKeyMissing: as `SecretBox`.
    """
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "agentkey":
        return _only(await _find(database, agent_name, "external", secret=key.strip()))
    if shown := headers.get("x-agent-api-key"):
        found = await _find(database, agent_name, "external", secret=shown.strip())
        return _only(found) if found else None
    if signature := headers.get("x-hub-signature-256"):
        name = _read_member(_read_payload(headers, body), "repository", "full_name")
        rows = await _find(database, agent_name, "github", name=name)
        return _only(_signed(settings, rows, body, signature, prefix="sha256="))
    if signature := headers.get("x-slack-signature"):
        return await _admit_slack(database, settings, agent_name, headers, body, signature, now or time.time())
    return None


async def _admit_slack(
    database: Database,
    settings: Settings,
    agent_name: str,
    headers: Mapping[str, str],
    body: bytes,
    signature: str,
    now: float,
) -> Admitted:
    sent = headers.get("x-slack-request-timestamp", "")
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 12) or abs(now - int(sent)) > SLACK_SECONDS:
        raise _refuse()
    payload = _read_payload(headers, body)
    challenge = payload.get("challenge")
    # The request by which Slack verifies an address names no app: any of the agent's Slack keys may have signed it.
    name = None if challenge is not None and "api_app_id" not in payload else _read_member(payload, "api_app_id")
    rows = await _find(database, agent_name, "slack", name=name)
    signed = _signed(settings, rows, b"v0:" + sent.encode() + b":" + body, signature, prefix="v0=")
    if challenge is None:
        return _only(signed)
    if not signed:
        raise _refuse()
    if not isinstance(challenge, str) or len(challenge) > LONGEST_CHALLENGE:
        raise BadRequest("The challenge must be a short text.")
    return Admitted(None, challenge)


async def _find(
    database: Database, agent_name: str, key_type: KeyType, *, name: str | None = None, secret: str | None = None
) -> list[asyncpg.Record]:
    secret_hash = hash_secret(secret) if secret is not None else None
    async with database.connection() as connection:
        return list(await connection.fetch(_CANDIDATES, agent_name, key_type, name, secret_hash))


def _signed(
    settings: Settings, rows: list[asyncpg.Record], message: bytes, signature: str, *, prefix: str
) -> list[asyncpg.Record]:
    """The candidates whose secret made the signature; each is compared in constant time."""
    box = SecretBox(settings)
    given = signature.encode()
    return [
        row
        for row in rows
        if hmac.compare_digest(
            (prefix + hmac.new(box.decrypt(row["secret_encrypted"]), message, hashlib.sha256).hexdigest()).encode(),
            given,
        )
    ]


def _only(rows: list[asyncpg.Record]) -> Admitted:
    if not rows:
        raise _refuse()
    if len(rows) > 1:
        raise Conflict("The key is good for several agents of this name. Give each a key of its own.")
    return Admitted(rows[0]["acp_url"])


def _refuse() -> Unauthenticated:
    return Unauthenticated("The key or signature is not good for an agent of this name, or the request is too old.")


def _read_payload(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The JSON object of a webhook: the body itself, or the form field `payload`; a plain form counts as one, too."""
    try:
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            payload = orjson.loads(body)
        else:
            form = {name: values[0] for name, values in parse_qs(body.decode(), max_num_fields=1000).items()}
            payload = orjson.loads(form["payload"]) if "payload" in form else form
    except ValueError as error:
        raise BadRequest("The body is not what this sender sends.") from error
    if not isinstance(payload, dict):
        raise BadRequest("The body is not what this sender sends.")
    return payload


def _read_member(payload: dict[str, Any], *path: str) -> str:
    value: Any = payload
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value or "\x00" in value:
        raise BadRequest(f"The body has no `{'.'.join(path)}`, which says whose key to verify with.")
    return value
