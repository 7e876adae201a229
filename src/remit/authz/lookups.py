"""Lookups: the resources of a subject and the subjects of a resource, complete, in pages."""

from __future__ import annotations

import uuid

from remit.authz.engine import Connection
from remit.authz.errors import translate_database_errors
from remit.authz.formula import Node
from remit.authz.ids import EVERYONE, encode_id
from remit.authz.model import Resource, Subject
from remit.authz.pages import Listing
from remit.authz.questions import Questions
from remit.authz.relationship_sql import CALLER, OBJECT
from remit.db.params import Params


class Lookups(Questions):
    """Who and what: answers that are sets, in the order of the stored ids."""

    async def lookup_resources(
        self,
        connection: Connection,
        subject: Subject,
        permission: str,
        resource_type: str,
        *,
        after: str | None,
        limit: int,
    ) -> list[str]:
        """Ids of the resources on which `subject` holds `permission`, in the order of their stored form.

        Args:
            connection: where to ask.
            subject: who.
            permission: a permission or relation.
            resource_type: its type.
            after: the last id of the page before, None for the first.
            limit: most ids; fewer come only when there are no more.

        Raises:
            ListTooCostly: the caller's sets alone took too long to find.
        """
        caller = self._encode_caller(subject)
        # The caller can be a resource itself, and its id need not be part of any relationship.
        columns = "coalesce(i.text, CASE WHEN p.id = $1::uuid THEN $2::text END, p.id::text) AS id"
        listing = Listing(
            Node(resource_type, permission), subject.type, subject.relation, columns,
            joins=f" LEFT JOIN authz_ids i ON i.type = {self._type_code(resource_type)} AND i.id = p.id",
            ascending=True,
        )  # fmt: skip
        cursor = None if after is None else encode_id(resource_type, after)
        page = await self.lister.fetch(connection, listing, [caller, subject.id], caller, after=cursor, limit=limit)
        return [row["id"] for row in page.rows]

    async def lookup_subjects(
        self,
        connection: Connection,
        resource: Resource,
        permission: str,
        subject_type: str,
        subject_relation: str | None = None,
        *,
        after: str | None,
        limit: int,
    ) -> list[str]:
        """Ids of the subjects of one kind that hold `permission` on a resource, in the order of their stored form.

        Where everyone of the type holds it, `*` comes first; then only those whom a relationship in reach names are
        listed besides, each with its own answer, so that who is excluded is missing from the list.

        Args:
            connection: where to ask.
            resource: on what.
            permission: a permission or relation.
            subject_type: the subjects' type.
            subject_relation: their relation, for sets.
            after: the last id of the page before, None for the first.
            limit: most ids; fewer come only when there are no more.
        """
        params = Params()
        stored = encode_id(resource.type, resource.id)
        id_sql = params.add(stored, "uuid")
        resource_type = params.add(self._type_code(resource.type), "smallint")
        kind = params.add(self._type_code(subject_type), "smallint")
        relation = params.add(self._loaded.codes.relation(subject_relation), "smallint")
        text = self._check_text(Node(resource.type, permission), subject_type, subject_relation)
        holds = text.replace(CALLER, "c.asker").replace(OBJECT, id_sql)
        cursor = "" if after is None else f" AND c.id > {params.add(encode_id(subject_type, after), 'uuid')}"
        own = params.add(resource.id, "text")
        # `*` is answered for somebody whom no relationship names: a stored form that no id has.
        nobody = params.add(uuid.UUID(int=8 << 76 | 1), "uuid")
        everyone = params.add(EVERYONE, "uuid")
        sql = (
            f"WITH RECURSIVE down(type, id) AS (SELECT {resource_type}, {id_sql} UNION"
            " SELECT r.subject_type, r.subject_id FROM down CROSS JOIN LATERAL (SELECT * FROM relationships r"
            " WHERE r.resource_type = down.type AND r.resource_id = down.id"
            " AND (r.expires_at IS NULL OR r.expires_at > now()) OFFSET 0) r),"
            f" found(id) AS (SELECT id FROM down WHERE type = {kind} UNION SELECT {everyone} WHERE {relation} = 0)"
            f" SELECT CASE WHEN c.id = {everyone} THEN '*' ELSE coalesce(i.text,"
            f" CASE WHEN c.id = {id_sql} AND {kind} = {resource_type} THEN {own} END, c.id::text) END"
            f" FROM (SELECT id, CASE WHEN id = {everyone} THEN {nobody} ELSE id END AS asker FROM found) c"
            f" LEFT JOIN authz_ids i ON i.type = {kind} AND i.id = c.id"
            f" WHERE {holds}{cursor} ORDER BY c.id LIMIT {params.add(limit, 'int')}"
        )
        with translate_database_errors():
            return [row[0] for row in await connection.fetch(sql, *params.values)]
