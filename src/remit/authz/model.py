"""What the graph is made of: resources, subjects and the relationships between them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Resource:
    """Something one may hold a relation to: `task:0198…`.

    Attributes:
        type: a definition of the schema.
        id: a UUID in canonical form, or any other id that SpiceDB's rules allow.
    """

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"


@dataclass(frozen=True, slots=True)
class Subject:
    """Who holds a relation: `user:0198…`, everyone of a type (`user:*`), or a set (`group:0198…#member`).

    Attributes:
        type: a definition of the schema.
        id: as for a resource; `*` is everyone of the type.
        relation: set for a userset, None for the subject itself (SpiceDB writes `...`).
    """

    type: str
    id: str
    relation: str | None = None

    def __str__(self) -> str:
        return f"{self.type}:{self.id}" + (f"#{self.relation}" if self.relation else "")


@dataclass(frozen=True, slots=True)
class Relationship:
    """A fact in the graph: `task:0198…#owner@user:0198…`, until `expires_at` when that is set (with time zone)."""

    resource: Resource
    relation: str
    subject: Subject
    expires_at: datetime | None = None

    def __str__(self) -> str:
        return f"{self.resource}#{self.relation}@{self.subject}"


def subjects_in(facts: Iterable[Relationship], relation: str) -> list[Subject]:
    """Who stands in a relation, in the order of the relationships."""
    return [fact.subject for fact in facts if fact.relation == relation]


def stands_in(facts: Iterable[Relationship], relation: str, subject: Subject) -> bool:
    """Whether a subject itself stands in a relation, by one of these relationships."""
    return subject in subjects_in(facts, relation)
