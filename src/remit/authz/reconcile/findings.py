"""What a comparison finds, and which of it is drift, which is repaired, and which is for a person to decide."""

from dataclasses import dataclass
from typing import Final, Literal

from remit.authz.model import Relationship, Resource

FindingClass = Literal[
    "unregistered",
    "missing_tenant",
    "missing_parent",
    "missing_owner",
    "wrong_tenant",
    "wrong_parent",
    "wrong_owner",
    "dangling",
    "not_delivered",
    "not_removed",
    "behind",
    "no_creator",
    "foreign",
    "pending",
]

MEANINGS: Final[dict[FindingClass, str]] = {
    "unregistered": "a row without any relationship; registered by --apply from its creator columns",
    "missing_tenant": "a resource that its tenant is missing on; written by --apply",
    "missing_parent": "a task that its parent agent is missing on; written by --apply",
    "missing_owner": "a resource that nobody owns although its creator is known; he becomes owner by --apply",
    "wrong_tenant": "a relationship to another tenant than the row's; reported, never rewritten",
    "wrong_parent": "a relationship to another agent than the row's; reported, never rewritten",
    "wrong_owner": "an owner of another tenant; reported, never rewritten",
    "dangling": "relationships of a resource that has no row; removed by --apply --prune",
    "not_delivered": "relationships that the engine elsewhere lacks; delivered by --apply",
    "not_removed": "relationships that the engine elsewhere still has; removed there by --apply",
    "behind": "a change that waited in the outbox long before this run: `remit authz outbox list` says why",
    "no_creator": "a row without a creator: its tenant and its agent reach it; who owns it is for a person to decide",
    "foreign": "relationships that others wrote to the engine elsewhere; never touched",
    "pending": "a change that came during this run and is on its way to the engine elsewhere; nothing is said of it",
}

# Not drift: as it should be, or somebody else's.
HARMLESS: Final[frozenset[FindingClass]] = frozenset({"no_creator", "foreign", "pending"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found on one resource.

    Attributes:
        kind: its class.
        resource: on what.
        touch: relationships that a repair writes.
        detail: what is there, and what was expected.
    """

    kind: FindingClass
    resource: Resource
    touch: tuple[Relationship, ...] = ()
    detail: str = ""

    @property
    def is_drift(self) -> bool:
        """Whether rows and relationships disagree."""
        return self.kind not in HARMLESS
