"""Creating once, however often the request is sent: `Idempotency-Key`, and repeats by clients that send none.

A key belongs to one principal and is kept for a day. The same key with the same request gets the first answer again;
with another request it is refused (draft-ietf-httpapi-idempotency-key-header-07 §2.6). The published client sends no
key and repeats a POST after 429, 5xx or a lost connection, with the number of the repeat in a header.

A stored answer can hold a secret that is shown once. So it is encrypted with a key made from the `Idempotency-Key`, of
which only a hash is stored: whoever reads the table learns neither.
"""

import base64
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from remit.db.pool import Database
from remit.errors import Conflict, Invalid, RemitError

HEADER = "idempotency-key"
REPEAT_HEADER = "x-stainless-retry-count"
REPLAYED_HEADER = "idempotent-replayed"

KEPT = timedelta(days=1)
REPEAT_WINDOW = timedelta(seconds=60)
LONGEST_KEY = 255

# Longer than any request lasts; after it the key of a process that died is free again.
LEASE = timedelta(minutes=10)


class KeyReused(Invalid):
    """The key was sent before with another request."""

    problem, title = "idempotency-key-reused", "The Idempotency-Key belongs to another request"


class InProgress(RemitError):
    """The first request of the key is still being answered."""

    status, rpc_code, problem, title = 409, -32009, "in-progress", "The first request of this key is not answered yet"
    retry = True

    def headers(self) -> dict[str, str]:
        """With the time after which a repeat makes sense."""
        return {"retry-after": "1", **super().headers()}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the first request of a key was answered.

    Attributes:
        status: the HTTP status.
        media_type: of the body.
        body: the bytes.
        questions: what was asked for it, as (type, permission, id): a replay asks again.
    """

    status: int
    media_type: str
    body: bytes
    questions: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A request that holds its key until it is answered.

    Attributes:
        key_hash: the row.
        cipher: for the answer.
        repeated: an earlier request of the key was not answered, so that what it made may be there.
    """

    key_hash: bytes
    cipher: Fernet
    repeated: bool


def hash_request(*parts: bytes) -> bytes:
    """A fingerprint of a request: SHA-256 over its parts and their lengths."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def read_key(values: list[str]) -> str | None:
    """The request's key, None when it carries none.

    Raises:
        Invalid: it comes twice, or is not 1 to 255 printable ASCII characters.
    """
    if not values:
        return None
    key = values[0].strip()
    if len(values) > 1 or not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise Invalid([("Idempotency-Key", f"must be one value of 1 to {LONGEST_KEY} printable ASCII characters")])
    return key


_BEGIN = """
WITH begun AS (
  INSERT INTO idempotent_requests AS r (key_hash, tenant_id, request_hash, leased_until)
  VALUES ($1, $2, $3, now() + $4::interval)
  ON CONFLICT (key_hash) DO UPDATE SET
    leased_until = now() + $4::interval,
    request_hash = $3,
    created_at = CASE WHEN r.created_at < now() - $5::interval THEN now() ELSE r.created_at END,
    status = NULL, media_type = NULL, answer = NULL, questions = NULL
  WHERE r.created_at < now() - $5::interval
     OR (r.request_hash = $3 AND r.status IS NULL AND r.leased_until < now())
  RETURNING TRUE AS taken
)
SELECT b.taken, coalesce(r.created_at >= now() - $5::interval, FALSE) AS repeated,
       r.request_hash, r.status, r.media_type, r.answer, r.questions
  FROM (SELECT 1) one LEFT JOIN begun b ON TRUE LEFT JOIN idempotent_requests r ON r.key_hash = $1
"""


async def begin(database: Database, tenant_id: str, principal: str, key: str, request_hash: bytes) -> Entry | Answer:
    """Take a key for a request, or find what it was answered.

    Args:
        database: where keys are.
        tenant_id: the principal's tenant.
        principal: who sends it, as `type:id`.
        key: the key.
        request_hash: `hash_request` of method, path and body.

    Raises:
        KeyReused: it was sent with another request.
        InProgress: its first request is still being answered, on whichever server.
        Conflict: its answer was a stream, which is not kept.
    """
    key_hash = hash_request(tenant_id.encode(), principal.encode(), key.encode())
    cipher = _cipher(tenant_id, principal, key)
    async with database.connection() as connection:
        row = await connection.fetchrow(_BEGIN, key_hash, tenant_id, request_hash, LEASE, KEPT)
        if row["taken"] is None and row["request_hash"] is None:
            # Begun by another request after this statement's snapshot.
            row = await connection.fetchrow(_BEGIN, key_hash, tenant_id, request_hash, LEASE, KEPT)
    if row["taken"]:
        return Entry(key_hash, cipher, row["repeated"])
    if row["request_hash"] != request_hash:
        raise KeyReused([("Idempotency-Key", "was sent before with another request; use a new key")])
    if row["status"] is None:
        raise InProgress("The first request with this Idempotency-Key is still being answered. Ask again shortly.")
    if row["answer"] is None:
        raise Conflict("The answer to this Idempotency-Key was a stream, which is not kept. Read the task's messages.")
    questions = tuple((str(a), str(b), str(c)) for a, b, c in row["questions"])
    return Answer(row["status"], row["media_type"], cipher.decrypt(row["answer"]), questions)


async def finish(
    database: Database, entry: Entry, status: int, media_type: str, body: bytes | None, questions: list[Any]
) -> None:
    """Keep the answer of a key's request; None for a body that was a stream."""
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE idempotent_requests SET status = $2, media_type = $3, answer = $4, questions = $5"
            " WHERE key_hash = $1",
            entry.key_hash,
            status,
            media_type,
            None if body is None else entry.cipher.encrypt(body),
            orjson.loads(orjson.dumps(questions)),
        )


async def give_back(database: Database, entry: Entry) -> None:
    """Let the next request of the key try: this one made nothing, or ended without an answer."""
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE idempotent_requests SET leased_until = '-infinity' WHERE key_hash = $1", entry.key_hash
        )


def is_repeat(value: str | None) -> bool:
    """Whether a client says that it sends a request again."""
    return value is not None and value.isascii() and value.isdigit() and int(value[:6]) > 0


def _cipher(tenant_id: str, principal: str, key: str) -> Fernet:
    salt = hash_request(tenant_id.encode(), principal.encode())
    derived = HKDF(SHA256(), length=32, salt=salt, info=b"remit idempotent answer").derive(key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
