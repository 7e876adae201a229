"""Principals of an auth provider, kept so that what happens outside of a request can be told in their name.

A principal is the provider's own object and is passed back as it came. Whoever has one may ask in its name, so it is
kept encrypted, one for each subject: the newest.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from remit.authz.http_contract import plain_principal
from remit.authz.model import Subject
from remit.db.pool import Database
from remit.identity.encryption import SecretBox
from remit.identity.principal import Principal

ISSUER: Final = "provider"
REMEMBERED_SECONDS: Final = 60.0
MOST_REMEMBERED: Final = 1000

_KEEP = """
INSERT INTO provider_principals (subject_id, principal) VALUES ($1, $2)
ON CONFLICT (subject_id) DO UPDATE SET principal = EXCLUDED.principal, updated_at = now()
"""
_FIND = """
SELECT p.principal FROM provider_principals p JOIN subjects s ON s.id = p.subject_id
 WHERE s.kind = $1 AND s.issuer = $2 AND (s.external_id = $3 OR s.id::text = $3) ORDER BY p.updated_at DESC LIMIT 1
"""


class ProviderPrincipals:
    """The provider's principals of this installation's subjects.

    Args:
        database: where they are kept.
        box: encrypts them.
        clock: seconds that only go forward.
    """

    def __init__(self, database: Database, box: SecretBox, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._box = box
        self._clock = clock
        self._remembered: dict[tuple[str, str], tuple[float, Mapping[str, Any]]] = {}

    async def keep(self, principal: Principal, given: Mapping[str, Any]) -> None:
        """Keep what the provider handed out for a principal."""
        stored = self._box.encrypt(orjson.dumps(given).decode())
        async with self._database.connection() as connection:
            await connection.execute(_KEEP, principal.id, stored)
        while len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        for name in (principal.name, principal.id):
            self._remembered[principal.kind, name] = (self._clock() + REMEMBERED_SECONDS, given)

    async def find(self, subject: Subject | None, account_id: str | None) -> Mapping[str, Any]:
        """The principal to name a subject with; a plain one for who never came by the provider, and for Remit itself.

        Args:
            subject: by the name that it has at the provider, or by its id here; None for Remit itself.
            account_id: its account, where that is known.

        Raises:
            SecretKeyMissing: it was encrypted with another key.
        """
        if subject is None:
            return await plain_principal(None, account_id)
        ends, given = self._remembered.get((subject.type, subject.id), (0.0, {}))
        if given and ends > self._clock():
            return given
        async with self._database.connection() as connection:
            stored = await connection.fetchval(_FIND, subject.type, ISSUER, subject.id)
        if stored is None:
            return await plain_principal(subject, account_id)
        found: Mapping[str, Any] = orjson.loads(self._box.decrypt(stored))
        return found
