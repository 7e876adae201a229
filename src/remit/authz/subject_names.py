"""What an engine elsewhere calls users and service accounts: by default what the operator's own graph calls them."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

from remit.authz.engine import Connection
from remit.authz.model import Relationship, Subject

NAMED_TYPES = ("user", "service_account")


@dataclasses.dataclass(frozen=True, slots=True)
class SubjectNames:
    """Turns Remit's subjects into those of an engine elsewhere.

    Attributes:
        by: `external` for the identity provider's name, `internal` for Remit's id.
    """

    by: Literal["external", "internal"] = "external"

    def name(self, subject: Subject, external_id: str) -> Subject:
        """A subject whose external id is known already."""
        return dataclasses.replace(subject, id=external_id) if self._is_named(subject) else subject

    async def translate(self, connection: Connection, relationships: Sequence[Relationship]) -> list[Relationship]:
        """Relationships with their subjects as the engine elsewhere calls them: one statement, or none."""
        ids = self._ids(relationships)
        if not ids:
            return list(relationships)
        rows = await connection.fetch(
            "SELECT id::text AS id, external_id FROM subjects WHERE id = ANY ($1::uuid[])", ids
        )
        names = {row["id"]: row["external_id"] for row in rows}
        return [
            dataclasses.replace(one, subject=self.name(one.subject, names.get(one.subject.id, one.subject.id)))
            for one in relationships
        ]

    def _ids(self, relationships: Iterable[Relationship]) -> list[str]:
        return sorted({one.subject.id for one in relationships if self._is_named(one.subject)})

    def _is_named(self, subject: Subject) -> bool:
        return self.by == "external" and subject.type in NAMED_TYPES and subject.id != "*"
