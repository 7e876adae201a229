"""What is written: relationships as the table holds them, with the texts of their ids."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from remit.authz.engine import Connection
from remit.authz.errors import PermissionUnknown
from remit.authz.ids import EVERYONE, encode_id
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.questions import Questions
from remit.authz.relationships import Decoder, Row
from remit.authz.schema_tree import Arrow, Permission, walk_expression

COLUMNS: Final = "resource_type, resource_id, relation, subject_type, subject_id, subject_relation, expires_at"


class Reads(Questions):
    """Relationships of one resource, decoded."""

    async def read(self, connection: Connection, resource: Resource, relation: str | None = None) -> list[Relationship]:
        """The relationships written on a resource that have not expired, in a stable order.

        Raises:
            PermissionUnknown: the schema has no such type or relation.
        """
        type_code = self._type_code(resource.type)
        if relation is not None:
            definition = self.schema.get(resource.type)
            if definition is None or definition.get(relation) is None:
                raise PermissionUnknown(f"type {resource.type!r} has no relation {relation!r}")
        rows = await connection.fetch(
            f"SELECT {COLUMNS} FROM relationships WHERE resource_type = $1 AND resource_id = $2"
            " AND ($3::smallint IS NULL OR relation = $3) AND (expires_at IS NULL OR expires_at > now())"
            " ORDER BY relation, subject_type, subject_id, subject_relation",
            type_code,
            encode_id(resource.type, resource.id),
            None if relation is None else self._loaded.codes.relations[relation],
        )
        return await self._decode(connection, [Row.read(row) for row in rows])

    async def read_relevant(
        self, connection: Connection, resources: Collection[Resource], subject: Subject
    ) -> dict[Resource, list[Relationship]]:
        """The relationships of resources that a check of this subject looks at, in one round trip.

        Those to the subject itself and to everyone, those to sets, and those of relations that arrows start at.
        """
        arrows = sorted(
            {pair for type_name in {resource.type for resource in resources} for pair in self._arrows(type_name)}
        )
        rows = await connection.fetch(
            "SELECT q.n, r.* FROM unnest($1::smallint[], $2::uuid[]) WITH ORDINALITY q(type, id, n)"
            f" CROSS JOIN LATERAL (SELECT {COLUMNS} FROM relationships"
            " WHERE resource_type = q.type AND resource_id = q.id"
            " AND (expires_at IS NULL OR expires_at > now()) AND (subject_relation <> 0"
            " OR (resource_type, relation) IN (SELECT * FROM unnest($3::smallint[], $4::smallint[]))"
            " OR (subject_type = $5 AND subject_id = ANY ($6)))"
            " ORDER BY relation, subject_type, subject_id, subject_relation) r",
            [self._type_code(resource.type) for resource in resources],
            [encode_id(resource.type, resource.id) for resource in resources],
            [code for code, _ in arrows],
            [relation for _, relation in arrows],
            self._type_code(subject.type),
            [encode_id(subject.type, subject.id), EVERYONE],
        )
        decoded = await self._decode(connection, [Row.read(tuple(row)[1:]) for row in rows])
        asked = list(resources)
        found: dict[Resource, list[Relationship]] = {resource: [] for resource in asked}
        for row, relationship in zip(rows, decoded, strict=True):
            found[asked[row[0] - 1]].append(relationship)
        return found

    def _arrows(self, type_name: str) -> set[tuple[int, int]]:
        """The relations of a type that arrows start at, each with the type's code."""
        definition = self.schema.get(type_name)
        return {
            (self._type_code(type_name), self._loaded.codes.relations[part.relation])
            for member in (definition.members if definition else ())
            if isinstance(member, Permission)
            for part in walk_expression(member.expression)
            if isinstance(part, Arrow)
        }

    async def decode_rows(self, connection: Connection, rows: Iterable[Sequence[object]]) -> list[Relationship]:
        """Relationships of rows selected as `COLUMNS`."""
        return await self._decode(connection, [Row.read(row) for row in rows])

    async def _decode(self, connection: Connection, rows: list[Row]) -> list[Relationship]:
        hashed = {(row.resource_type, row.resource_id) for row in rows} | {
            (row.subject_type, row.subject_id) for row in rows
        }
        hashed = {key for key in hashed if key[1].version == 8}
        texts = {}
        if hashed:
            found = await connection.fetch(
                "SELECT i.type, i.id, i.text FROM authz_ids i JOIN unnest($1::smallint[], $2::uuid[]) q(type, id)"
                " ON i.type = q.type AND i.id = q.id",
                [code for code, _ in hashed],
                [stored for _, stored in hashed],
            )
            texts = {(code, uuid.UUID(str(stored))): text for code, stored, text in found}
        decoder = Decoder(self._loaded.codes, texts)
        return [decoder.relationship(row) for row in rows]
