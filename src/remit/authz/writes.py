"""Writes of relationships, in the caller's transaction; what is removed or replaced moves to the history."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import asyncpg

from remit.authz.engine import Connection
from remit.authz.errors import PreconditionFailed, RelationshipError
from remit.authz.ids import encode_id, is_stored_as_is
from remit.authz.model import Relationship, Resource
from remit.authz.outbox import add_entries, entry_sql, resources_of
from remit.authz.reads import COLUMNS
from remit.authz.relationships import Row, check_kind, encode_relationships, foreign_ids
from remit.authz.tokens import Tokens
from remit.db.params import Params

_ARRAYS: Final = (
    "$1::smallint[], $2::uuid[], $3::smallint[], $4::smallint[], $5::uuid[], $6::smallint[], $7::timestamptz[]"
)
_SAME_KEY: Final = (
    "(r.resource_type, r.resource_id, r.relation, r.subject_type, r.subject_id, r.subject_relation)"
    " = (i.resource_type, i.resource_id, i.relation, i.subject_type, i.subject_id, i.subject_relation)"
)


class Writes(Tokens):
    """Touch, create, delete, expire."""

    outboxed: bool

    def outbox_sql(self, params: Params, resource: Resource, tenant_id: str, *, when: str = "TRUE") -> str | None:
        """An `INSERT INTO outbox …` to stand beside `insert_sql`; None where nothing is kept elsewhere."""
        return entry_sql(params, resource, tenant_id, when=when) if self.outboxed else None

    def insert_sql(
        self,
        params: Params,
        relationships: Sequence[Relationship],
        *,
        when: str = "TRUE",
        found: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """An `INSERT INTO relationships …` to be one part of a `WITH`; existing relationships stay as they are.

        An existing one that has expired is replaced.

        Raises:
            RelationshipError: a relationship that the schema does not allow, or an id that is not a UUID (those need
                `write`, which also remembers the id's text).
        """
        for relationship in relationships:
            for side in (relationship.resource, relationship.subject):
                if side.id != "*" and not is_stored_as_is(side.id):
                    raise RelationshipError(f"{relationship}: {side.id!r} is not a UUID; use write()")
        rows = encode_relationships(self.schema, self._loaded.codes, relationships)

        def id_sql(id: uuid.UUID) -> str:
            return found.get(str(id)) or params.add(id, "uuid")

        values = ", ".join(
            f"({row.resource_type}::smallint, {id_sql(row.resource_id)}, {row.relation}::smallint,"
            f" {row.subject_type}::smallint, {id_sql(row.subject_id)}, {row.subject_relation}::smallint,"
            f" {'NULL::timestamptz' if row.expires_at is None else params.add(row.expires_at, 'timestamptz')})"
            for row in rows
        )
        if not rows:
            values, when = (
                "(0::smallint, NULL::uuid, 0::smallint, 0::smallint, NULL::uuid, 0::smallint, NULL::timestamptz)",
                "FALSE",
            )
        conflict = "DO NOTHING"
        if "expiration" in self.schema.flags:
            conflict = (
                "(resource_type, resource_id, relation, subject_type, subject_id, subject_relation) DO UPDATE"
                " SET expires_at = EXCLUDED.expires_at, written_xid = EXCLUDED.written_xid"
                " WHERE relationships.expires_at <= now()"
            )
        return (
            f"INSERT INTO relationships ({COLUMNS}) SELECT v.* FROM (VALUES {values}) v WHERE {when}"
            f" ON CONFLICT {conflict}"
        )

    async def write(
        self,
        connection: Connection,
        *,
        touch: Sequence[Relationship] = (),
        delete: Sequence[Relationship] = (),
        create: Sequence[Relationship] = (),
        must_exist: Sequence[Relationship] = (),
        must_be_absent: Sequence[Relationship] = (),
        actor: str | None = None,
        request_id: str | None = None,
    ) -> str:
        """Write and remove relationships in the caller's transaction; removed ones move to the history.

        Args:
            connection: a connection in a transaction; without one the write makes its own.
            touch: write, or replace the expiry of an existing one.
            delete: remove; absent ones are no error.
            create: write; one that exists already is an error.
            must_exist: preconditions.
            must_be_absent: preconditions.
            actor: who, for the history.
            request_id: in which request, for the history.

        Returns:
            The zedtoken at which the change is visible, once the transaction has committed.

        Raises:
            RelationshipError: a relationship is refused, or is both written and deleted. One of a kind that its
                relation takes no more can be deleted as long as it is there.
            PreconditionFailed: a precondition does not hold, or one to be created exists.
        """
        codes = self._loaded.codes
        created = encode_relationships(self.schema, codes, create)
        written = encode_relationships(self.schema, codes, [*touch, *create])
        deleted = [self._encode_leniently(relationship) for relationship in delete]
        both = {row.key for row in written} & {row.key for row in deleted}
        if both or len(written) < len(touch) + len(create) - _repeats(touch):
            raise RelationshipError("one relationship is in several of touch, create and delete; keep one of them")
        async with connection.transaction():
            for rows, expected in ((must_exist, True), (must_be_absent, False)):
                wanted = [self._encode_leniently(relationship) for relationship in rows]
                await _check_present(connection, wanted, expected)
            await _check_present(connection, created, False)
            await self._refuse_unfit(connection, delete)
            await _remove(connection, written, deleted, actor, request_id)
            texts = foreign_ids(codes, [*touch, *create])
            if texts:
                await connection.execute(
                    "INSERT INTO authz_ids (type, id, text)"
                    " SELECT * FROM unnest($1::smallint[], $2::uuid[], $3::text[]) ON CONFLICT DO NOTHING",
                    [code for code, _ in texts],
                    [stored for _, stored in texts],
                    list(texts.values()),
                )
            inserted = await connection.fetch(
                f"INSERT INTO relationships AS r ({COLUMNS}) SELECT * FROM unnest({_ARRAYS})"
                " ON CONFLICT (resource_type, resource_id, relation, subject_type, subject_id, subject_relation)"
                " DO UPDATE SET expires_at = EXCLUDED.expires_at, written_xid = EXCLUDED.written_xid"
                " WHERE r.expires_at IS DISTINCT FROM EXCLUDED.expires_at"
                " RETURNING resource_type, resource_id, relation, subject_type, subject_id, subject_relation",
                *_columns_of(written),
            )
            if created:
                fresh = {tuple(row.values()) for row in inserted}
                if any(row.key not in fresh for row in created):
                    raise PreconditionFailed("a relationship to be created was created by another at the same time")
            if self.outboxed:
                changed = resources_of((row.key[:2] for row in written), (row.key[:2] for row in deleted))
                await add_entries(connection, codes, changed)
            return await self._token(connection)

    async def remove_all(
        self, connection: Connection, resource: Resource, *, actor: str | None = None, request_id: str | None = None
    ) -> int:
        """Remove every relationship in which the resource stands, as resource or as subject; return how many.

        Raises:
            PermissionUnknown: the schema has no such type.
        """
        gone = await connection.fetch(
            "WITH gone AS (DELETE FROM relationships WHERE (resource_type = $1 AND resource_id = $2)"
            f" OR (subject_type = $1 AND subject_id = $2) RETURNING {COLUMNS}, written_xid),"
            f" kept AS (INSERT INTO relationship_history ({COLUMNS}, written_xid, actor, request_id)"
            f" SELECT {COLUMNS}, written_xid, $3, $4 FROM gone) SELECT resource_type, resource_id FROM gone",
            self._type_code(resource.type),
            encode_id(resource.type, resource.id),
            actor,
            request_id,
        )
        await self._note_removed(connection, gone)
        return len(gone)

    async def remove_expired(self, connection: Connection, limit: int = 1000) -> int:
        """Move up to `limit` expired relationships to the history; return how many. Checks never count them anyway."""
        gone = await connection.fetch(
            "WITH due AS (SELECT ctid FROM relationships WHERE expires_at <= now() ORDER BY expires_at LIMIT $1"
            " FOR UPDATE SKIP LOCKED), gone AS (DELETE FROM relationships WHERE ctid IN (SELECT ctid FROM due)"
            f" RETURNING {COLUMNS}, written_xid), kept AS (INSERT INTO relationship_history"
            f" ({COLUMNS}, written_xid, actor) SELECT {COLUMNS}, written_xid, 'expiry' FROM gone)"
            " SELECT resource_type, resource_id FROM gone",
            limit,
        )
        await self._note_removed(connection, gone)
        return len(gone)

    def encode_rows(self, relationships: Sequence[Relationship]) -> list[list[object]]:
        """The key's columns and `expires_at` of each relationship."""
        return [list(row) for row in zip(*self.encode_columns(relationships), strict=True)]

    def encode_columns(self, relationships: Sequence[Relationship]) -> list[list[object]]:
        """The key's columns and `expires_at` of relationships, each as one array."""
        rows = [dataclasses.replace(self._encode_leniently(one), expires_at=one.expires_at) for one in relationships]
        return _columns_of(rows)

    async def _note_removed(self, connection: Connection, gone: Sequence[asyncpg.Record]) -> None:
        if self.outboxed:
            keys = {(row["resource_type"], uuid.UUID(str(row["resource_id"]))) for row in gone}
            await add_entries(connection, self._loaded.codes, dict.fromkeys(keys, True))

    async def _refuse_unfit(self, connection: Connection, deleted: Sequence[Relationship]) -> None:
        """Refuse to delete what no relation could hold, so that a slip is not taken for a success."""
        for relationship in deleted:
            try:
                check_kind(self.schema, relationship)
            except RelationshipError as error:
                try:
                    await _check_present(connection, [self._encode_leniently(relationship)], True)
                except PreconditionFailed:
                    raise error from None

    def _encode_leniently(self, relationship: Relationship) -> Row:
        """Encode for reading or removing: names must be known, but the schema need not allow it any more."""
        codes = self._loaded.codes
        try:
            return Row(
                codes.types[relationship.resource.type],
                encode_id(relationship.resource.type, relationship.resource.id),
                codes.relations[relationship.relation],
                codes.types[relationship.subject.type],
                encode_id(relationship.subject.type, relationship.subject.id),
                codes.relation(relationship.subject.relation),
                None,
            )
        except KeyError as error:
            check_kind(self.schema, relationship)
            raise RelationshipError(f"{relationship}: the schema never had {error.args[0]!r}") from None


def _repeats(relationships: Sequence[Relationship]) -> int:
    keys = {(item.resource, item.relation, item.subject) for item in relationships}
    return len(relationships) - len(keys)


def _columns_of(rows: Iterable[Row]) -> list[list[object]]:
    values = [(*row.key, row.expires_at) for row in rows]
    return [list(column) for column in zip(*values, strict=True)] if values else [[] for _ in range(7)]


async def _check_present(connection: Connection, rows: list[Row], expected: bool) -> None:
    if not rows:
        return
    present = await connection.fetchval(
        f"SELECT count(*) FROM (SELECT 1 FROM unnest({_ARRAYS}) i({COLUMNS}) JOIN relationships r ON {_SAME_KEY}"
        " WHERE r.expires_at IS NULL OR r.expires_at > now() FOR UPDATE OF r) held",
        *_columns_of(rows),
    )
    if present != (len({row.key for row in rows}) if expected else 0):
        raise PreconditionFailed(
            "a relationship that must exist is absent" if expected else "a relationship that must be absent exists"
        )


async def _remove(
    connection: Connection, written: list[Row], deleted: list[Row], actor: str | None, request_id: str | None
) -> None:
    """Move to the history what is deleted, and what is written again with another expiry."""
    rows = [*deleted, *written]
    await connection.execute(
        f"WITH gone AS (DELETE FROM relationships r USING unnest({_ARRAYS}, $8::boolean[]) i({COLUMNS}, deleted)"
        f" WHERE {_SAME_KEY} AND (i.deleted OR r.expires_at IS DISTINCT FROM i.expires_at) RETURNING r.*)"
        f" INSERT INTO relationship_history ({COLUMNS}, written_xid, actor, request_id)"
        f" SELECT {COLUMNS}, written_xid, $9, $10 FROM gone",
        *_columns_of(rows),
        [True] * len(deleted) + [False] * len(written),
        actor,
        request_id,
    )
