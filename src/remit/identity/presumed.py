"""Who a key belonged to a moment ago, so that one statement can say whether it still does and answer the request.

What is remembered decides nothing. The statement that finds what a request asks for carries the same conditions on the
key, its holder and their tenant as `authenticate`; until the database has said that they hold, nothing is written
or told, and nothing is read but what was asked for. A key that is revoked is refused at its next request.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from remit.db.params import Params
from remit.db.pool import Connection, Database
from remit.errors import Unauthenticated
from remit.identity.principal import Principal

# Past it a key is looked up anew, which is also what writes the time of its last use.
KEPT_SECONDS = 30.0
MOST_KEPT = 10_000

_NOT_ENDED = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"

# Whatever authenticates at this moment: keys of users, service accounts and agents by enrolment, and agents' keys of
# the type `internal`. A pending key, and one that signs or opens forward routes only, authenticates nobody.
KEYS = f"""(
  SELECT id, tenant_id, subject_id, agent_id, secret_hash, last_used_at FROM api_keys WHERE {_NOT_ENDED}
  UNION ALL
  SELECT id, tenant_id, NULL, agent_id, secret_hash, NULL FROM agent_api_keys
   WHERE api_key_type = 'internal' AND status = 'active'
)"""

_OF_SUBJECT = f"""EXISTS (SELECT FROM (SELECT * FROM api_keys WHERE {_NOT_ENDED}) k
  JOIN tenants n ON n.id = k.tenant_id AND n.disabled_at IS NULL
  JOIN subjects s ON s.id = k.subject_id AND s.disabled_at IS NULL
 WHERE k.secret_hash = {{secret}} AND k.id = {{key}} AND n.id = {{tenant}} AND n.name = {{tenant_name}}
   AND s.id = {{id}} AND s.kind = {{kind}} AND s.external_id = {{name}})"""
_OF_AGENT = f"""EXISTS (SELECT FROM {KEYS} k
  JOIN tenants n ON n.id = k.tenant_id AND n.disabled_at IS NULL
  JOIN agents a ON a.id = k.agent_id AND a.status <> 'Deleted'
 WHERE k.secret_hash = {{secret}} AND k.id = {{key}} AND n.id = {{tenant}} AND n.name = {{tenant_name}}
   AND k.subject_id IS NULL AND a.id = {{id}} AND 'agent' = {{kind}} AND a.name = {{name}})"""


def unknown_key() -> Unauthenticated:
    """The refusal of a key that is not, or no more, good."""
    return Unauthenticated("The API key is unknown, expired or revoked. `remit keys create` makes a new one.")


class Presumption:
    """That a key is good and of a principal, until the database has said so.

    Args:
        secret_hash: of what the request showed.
        principal: whose it was.
        forget: called with `secret_hash` once the database says that it is not so.
    """

    def __init__(self, secret_hash: bytes, principal: Principal, forget: Callable[[bytes], None]) -> None:
        self._secret_hash = secret_hash
        self._forget = forget
        self.principal = principal
        self.proven = False

    def sql(self, params: Params) -> str:
        """A boolean SQL expression, never NULL: is it so at this moment?"""
        who = self.principal
        return (_OF_AGENT if who.kind == "agent" else _OF_SUBJECT).format(
            secret=params.add(self._secret_hash, "bytea"),
            key=params.add(who.key_id, "uuid"),
            tenant=params.add(who.tenant_id, "uuid"),
            tenant_name=params.add(who.tenant_name, "text"),
            id=params.add(who.id, "uuid"),
            kind=params.add(who.kind, "text"),
            name=params.add(who.name, "text"),
        )

    def settle(self, said: object) -> None:
        """Take what the statement said.

        Raises:
            Unauthenticated: anything but yes.
        """
        if said is not True:
            self._forget(self._secret_hash)
            raise unknown_key()
        self.proven = True

    async def prove(self, connection: Connection) -> None:
        """Ask by a statement of its own, unless it is known.

        Raises:
            Unauthenticated: it is not so.
        """
        if not self.proven:
            params = Params()
            asked = f"SELECT {self.sql(params)}"
            self.settle(await connection.fetchval(asked, *params.values))


class PresumedDatabase(Database):
    """The database of a request whose principal is presumed: its first connection proves it before it is given.

    Attributes:
        behind: the database itself, for statements that ask the presumption themselves.
    """

    def __init__(self, behind: Database, presumption: Presumption) -> None:
        self.behind, self._presumption = behind, presumption

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection, once the presumption is proven.

        Raises:
            Unauthenticated: it is not so.
            Unavailable: as that of the database.
        """
        async with self.behind.connection() as connection:
            await self._presumption.prove(connection)
            yield connection


class PresumedKeys:
    """Remembers for a short time whose the keys of requests were, by the hashes of the keys.

    Attributes:
        now: the clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._known: dict[bytes, tuple[Principal, float]] = {}

    def note(self, secret_hash: bytes, principal: Principal) -> None:
        """Remember whose a key is, as the database has just said."""
        self._known.pop(secret_hash, None)
        if len(self._known) >= MOST_KEPT:
            del self._known[next(iter(self._known))]
        self._known[secret_hash] = (principal, self.now() + KEPT_SECONDS)

    def find(self, secret_hash: bytes) -> Presumption | None:
        """What may be presumed about a key, None for one that was not seen lately."""
        found = self._known.get(secret_hash)
        if found is None:
            return None
        principal, until = found
        if until < self.now():
            del self._known[secret_hash]
            return None
        return Presumption(secret_hash, principal, self.forget)

    def forget(self, secret_hash: bytes) -> None:
        """Presume nothing of a key any more: a key that has ended is presumed once at most."""
        self._known.pop(secret_hash, None)
