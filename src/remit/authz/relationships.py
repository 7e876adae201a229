"""Relationships between the model and the table: checked against the schema, encoded, decoded."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from remit.authz.errors import RelationshipError
from remit.authz.ids import EVERYONE, check_id, encode_id, is_stored_as_is
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.relationship_sql import Codes
from remit.authz.schema_check import suggest
from remit.authz.schema_tree import AllowedType, Permission, Relation, Schema


@dataclass(frozen=True, slots=True)
class Row:
    """A relationship as the table holds it."""

    resource_type: int
    resource_id: uuid.UUID
    relation: int
    subject_type: int
    subject_id: uuid.UUID
    subject_relation: int
    expires_at: datetime | None

    @classmethod
    def read(cls, record: Sequence[Any]) -> Row:
        """A row as selected; a connection may give ids as text or as UUIDs."""
        type, id, relation, subject_type, subject_id, subject_relation, expires_at = record
        ids = uuid.UUID(str(id)), uuid.UUID(str(subject_id))
        return cls(type, ids[0], relation, subject_type, ids[1], subject_relation, expires_at)

    @property
    def key(self) -> tuple[int, uuid.UUID, int, int, uuid.UUID, int]:
        """The primary key."""
        return (
            self.resource_type,
            self.resource_id,
            self.relation,
            self.subject_type,
            self.subject_id,
            self.subject_relation,
        )


def check_relationship(schema: Schema, relationship: Relationship) -> None:
    """Check one relationship against the schema.

    Raises:
        RelationshipError: an unknown type or relation, a kind of subject that the relation does not take, an id that
            breaks the rules, or an expiry where the schema has none.
    """
    kinds = check_kind(schema, relationship)
    relation = f"relation {relationship.resource.type}#{relationship.relation}"
    if relationship.expires_at is not None and relationship.expires_at.tzinfo is None:
        raise RelationshipError(f"{relationship}: expires_at has no time zone")
    if relationship.expires_at is not None and not any(allowed.expiration for allowed in kinds):
        raise RelationshipError(
            f"{relationship}: {relation} takes {kinds[0]} without expiration; write it without an expiry"
        )
    if relationship.expires_at is None and all(allowed.expiration for allowed in kinds):
        raise RelationshipError(
            f"{relationship}: {relation} needs an expiry for {relationship.subject.type}; write it with expires_at"
        )


def check_kind(schema: Schema, relationship: Relationship) -> list[AllowedType]:
    """Check names and ids of a relationship, and that its relation takes this kind of subject, whatever its expiry.

    Returns:
        The kinds of the relation that fit, with and without expiration.

    Raises:
        RelationshipError: see `check_relationship`.
    """
    relation = _find_relation(schema, relationship)
    subject = relationship.subject
    check_id(relationship.resource.id)
    if subject.id != "*":
        check_id(subject.id)
    elif subject.relation is not None:
        raise RelationshipError(f"{relationship}: everyone of a type ('*') has no relation of its own")
    kinds = [
        allowed
        for allowed in relation.allowed
        if (allowed.type, allowed.relation, allowed.wildcard) == (subject.type, subject.relation, subject.id == "*")
    ]
    if not kinds:
        kind = subject.type + (":*" if subject.id == "*" else f"#{subject.relation}" if subject.relation else "")
        takes = " | ".join(str(allowed) for allowed in relation.allowed)
        raise RelationshipError(
            f"{relationship}: relation {relationship.resource.type}#{relation.name} takes {takes}, not {kind};"
            f" name a subject that it takes, or let the schema's relation take {kind}"
        )
    return kinds


def _find_relation(schema: Schema, relationship: Relationship) -> Relation:
    definition = schema.get(relationship.resource.type)
    if definition is None:
        near = suggest(relationship.resource.type, (known.name for known in schema.definitions))
        raise RelationshipError(
            f"{relationship}: no type {relationship.resource.type!r}" + (f"; {near}" if near else "")
        )
    relation = definition.get(relationship.relation)
    if relation is None:
        near = suggest(relationship.relation, (member.name for member in definition.members))
        raise RelationshipError(
            f"{relationship}: type {definition.name!r} has no relation {relationship.relation!r}"
            + (f"; {near}" if near else "")
        )
    if isinstance(relation, Permission):
        raise RelationshipError(
            f"{relationship}: {relationship.relation!r} is a permission; write to one of the relations it is made of"
        )
    return relation


def encode_relationships(schema: Schema, codes: Codes, relationships: Iterable[Relationship]) -> list[Row]:
    """Check and encode relationships; the last of several with the same key wins.

    Raises:
        RelationshipError: see `check_relationship`.
    """
    rows: dict[tuple[int, uuid.UUID, int, int, uuid.UUID, int], Row] = {}
    for relationship in relationships:
        check_relationship(schema, relationship)
        resource, subject = relationship.resource, relationship.subject
        row = Row(
            codes.types[resource.type],
            encode_id(resource.type, resource.id),
            codes.relations[relationship.relation],
            codes.types[subject.type],
            encode_id(subject.type, subject.id),
            codes.relation(subject.relation),
            relationship.expires_at,
        )
        rows[row.key] = row
    return list(rows.values())


def foreign_ids(codes: Codes, relationships: Iterable[Relationship]) -> dict[tuple[int, uuid.UUID], str]:
    """The ids among these relationships that are stored hashed: (type code, stored id) to text."""
    found: dict[tuple[int, uuid.UUID], str] = {}
    for relationship in relationships:
        for side in (relationship.resource, relationship.subject):
            if side.id != "*" and not is_stored_as_is(side.id):
                found[codes.types[side.type], encode_id(side.type, side.id)] = side.id
    return found


class Decoder:
    """Turns rows back into relationships.

    Args:
        codes: the loaded codes.
        texts: texts of hashed ids, by type code and stored id.
    """

    def __init__(self, codes: Codes, texts: Mapping[tuple[int, uuid.UUID], str]) -> None:
        self._types = {code: name for name, code in codes.types.items()}
        self._relations = {code: name for name, code in codes.relations.items()}
        self._texts = texts

    def id(self, type_code: int, stored: uuid.UUID) -> str:
        """The id as it was given."""
        if stored == EVERYONE:
            return "*"
        return self._texts.get((type_code, stored)) or str(stored)

    def relationship(self, row: Row) -> Relationship:
        """The relationship of a row."""
        return Relationship(
            Resource(self._types[row.resource_type], self.id(row.resource_type, row.resource_id)),
            self._relations[row.relation],
            Subject(
                self._types[row.subject_type],
                self.id(row.subject_type, row.subject_id),
                self._relations[row.subject_relation] if row.subject_relation else None,
            ),
            row.expires_at,
        )
