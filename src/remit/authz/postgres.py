"""The embedded engine: checks, lists and relationships in the PostgreSQL that holds the rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Final

from remit.authz.compile import CALLER, OBJECT, Compiler
from remit.authz.engine import Connection
from remit.authz.errors import (
    PermissionUnknown,
    PreconditionFailed,
    RelationshipError,
    ZedtokenError,
    translate_database_errors,
)
from remit.authz.graph import Graph, Node
from remit.authz.ids import EVERYONE, encode_id, is_stored_as_is
from remit.authz.lists import ListCompiler
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.modes import ModePolicy
from remit.authz.relationships import Decoder, Row, encode_relationships, foreign_ids
from remit.authz.schema import Arrow, Permission, Schema
from remit.authz.schema_check import suggest, walk_expression
from remit.authz.schema_store import LoadedSchema, load_schema, newest_version, read_schema
from remit.db.params import Params

_COLUMNS: Final = "resource_type, resource_id, relation, subject_type, subject_id, subject_relation, expires_at"
_ARRAYS: Final = (
    "$1::smallint[], $2::uuid[], $3::smallint[], $4::smallint[], $5::uuid[], $6::smallint[], $7::timestamptz[]"
)
_SAME_KEY: Final = (
    "(r.resource_type, r.resource_id, r.relation, r.subject_type, r.subject_id, r.subject_relation)"
    " = (i.resource_type, i.resource_id, i.relation, i.subject_type, i.subject_id, i.subject_relation)"
)


class PostgresEngine:
    """Answers from the table `relationships` (the port is `engine.Engine`).

    Compiled SQL is kept per question (type, permission, kind of caller) for as long as the schema version holds.
    """

    def __init__(self, loaded: LoadedSchema, mode_policy: ModePolicy | None = None) -> None:
        self.mode_policy = mode_policy or ModePolicy()
        self._use(loaded)

    def _use(self, loaded: LoadedSchema) -> None:
        self._loaded = loaded
        self._graphs: dict[tuple[str, str | None], Graph] = {}
        self._texts: dict[tuple[object, ...], str] = {}

    @classmethod
    async def load(
        cls,
        connection: Connection,
        schema_source: str,
        applied_by: str,
        file: str = "schema.zed",
        *,
        replace: bool = False,
        mode_policy: ModePolicy | None = None,
    ) -> PostgresEngine:
        """Load the database's schema, storing `schema_source` where it is due (see `schema_store.load_schema`).

        Raises:
            SchemaError: the schema is refused.
        """
        return cls(await load_schema(connection, schema_source, applied_by, file, replace=replace), mode_policy)

    async def refresh(self, connection: Connection) -> bool:
        """Take over a newer schema version, if there is one; return whether there was. One cheap statement if not."""
        if await newest_version(connection) == self._loaded.version:
            return False
        self._use(await read_schema(connection))
        return True

    @property
    def schema(self) -> Schema:
        """The loaded schema."""
        return self._loaded.schema

    @property
    def schema_version(self) -> int:
        """The number of the loaded schema version."""
        return self._loaded.version

    def compiler_for(self, subject_type: str, subject_relation: str | None = None) -> Compiler:
        """A compiler of checks for one kind of caller."""
        return Compiler(self._graph(subject_type, subject_relation), self._loaded.codes)

    def check_sql(self, params: Params, subject: Subject, permission: str, resource_type: str, id_sql: str) -> str:
        """A boolean SQL expression, never NULL: may `subject` do `permission` to the resource?

        Beyond the depth limit the statement fails; `errors.translate_database_errors` names that error.

        Raises:
            PermissionUnknown: the schema has no such type or permission.
            RelationshipError: the subject's id breaks the rules, or is `*`.
        """
        caller = self._encode_caller(subject)
        text = self._check_text(Node(resource_type, permission), subject.type, subject.relation)
        return _fill(text, params, {CALLER: (caller, "uuid")}, {OBJECT: id_sql})

    def visible_sql(
        self,
        params: Params,
        subject: Subject,
        permission: str,
        resource_type: str,
        *,
        table: str,
        columns: str,
        where: str,
        before_sql: str | None,
        limit: int,
    ) -> str:
        """A whole SELECT: the newest rows of `table` that `subject` may `permission`, by id, newest first.

        Raises:
            PermissionUnknown: the schema has no such type or permission.
            RelationshipError: the subject's id breaks the rules, or is `*`.
        """
        caller = self._encode_caller(subject)
        key = ("page", resource_type, permission, subject.type, subject.relation, table, before_sql is not None)
        text = self._texts.get(key)
        if text is None:
            row_filter = f" AND EXISTS (SELECT 1 FROM {table} t WHERE t.id = @ROW@ AND (@WHERE@) OFFSET 0)"
            cursor = "@CURSOR@" if before_sql is not None else None
            text = self._texts[key] = self._lists(subject.type, subject.relation).page(
                Node(resource_type, permission), cursor_sql=cursor, limit_sql="@LIMIT@", row_filter=row_filter
            )
        page = _fill(
            text,
            params,
            {CALLER: (caller, "uuid"), "@LIMIT@": (limit, "int")},
            {"@CURSOR@": before_sql or "", "@WHERE@": where},
        )
        return f"SELECT {columns} FROM ({page}) page JOIN {table} t ON t.id = page.id ORDER BY t.id DESC"

    async def check(self, connection: Connection, subject: Subject, permission: str, resource: Resource) -> bool:
        """May `subject` do `permission` to `resource`?

        Raises:
            PermissionUnknown: the schema has no such type or permission.
            DepthExceeded: the graph is nested too deep to answer.
        """
        params = Params()
        id_sql = params.add(encode_id(resource.type, resource.id), "uuid")
        expression = self.check_sql(params, subject, permission, resource.type, id_sql)
        with translate_database_errors():
            return bool(await connection.fetchval(f"SELECT {expression}", *params.values))

    async def check_many(
        self, connection: Connection, subject: Subject, permission: str, resources: Sequence[Resource]
    ) -> list[bool]:
        """The same for many resources of one type, in one round trip; answers in the order asked.

        Raises:
            RelationshipError: the resources are of several types.
        """
        if not resources:
            return []
        types = {resource.type for resource in resources}
        if len(types) > 1:
            raise RelationshipError(f"one type at a time, not {', '.join(sorted(types))}")
        params = Params()
        ids = [encode_id(resource.type, resource.id) for resource in resources]
        ids_sql = params.add(ids, "uuid[]")
        expression = self.check_sql(params, subject, permission, resources[0].type, "q.id")
        sql = f"SELECT {expression} FROM unnest({ids_sql}) WITH ORDINALITY q(id, place) ORDER BY q.place"
        with translate_database_errors():
            return [bool(row[0]) for row in await connection.fetch(sql, *params.values)]

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
        """
        params = Params()
        caller = self._encode_caller(subject)
        cursor = None if after is None else encode_id(resource_type, after)
        key = ("lookup", resource_type, permission, subject.type, subject.relation, after is not None)
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = self._lists(subject.type, subject.relation).page(
                Node(resource_type, permission),
                cursor_sql="@CURSOR@" if after is not None else None,
                limit_sql="@LIMIT@",
                ascending=True,
            )
        values: dict[str, tuple[object, str]] = {CALLER: (caller, "uuid"), "@LIMIT@": (limit, "int")}
        page = _fill(text, params, {**values, "@CURSOR@": (cursor, "uuid")}, {})
        type_code = params.add(self._loaded.codes.types[resource_type], "smallint")
        # The caller can be a resource itself, and its id need not be part of any relationship.
        own = f"CASE WHEN page.id = {params.add(caller, 'uuid')} THEN {params.add(subject.id, 'text')} END"
        sql = (
            f"SELECT coalesce(i.text, {own}, page.id::text) FROM ({page}) page"
            f" LEFT JOIN authz_ids i ON i.type = {type_code} AND i.id = page.id ORDER BY page.id"
        )
        with translate_database_errors():
            return [row[0] for row in await connection.fetch(sql, *params.values)]

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

    async def read_relevant(self, connection: Connection, resource: Resource, subject: Subject) -> list[Relationship]:
        """The relationships of a resource that a check of this subject looks at.

        Those to the subject itself and to everyone, those to sets, and those of relations that arrows start at.
        """
        definition = self.schema.get(resource.type)
        arrows = {
            self._loaded.codes.relations[part.relation]
            for member in (definition.members if definition else ())
            if isinstance(member, Permission)
            for part in walk_expression(member.expression)
            if isinstance(part, Arrow)
        }
        rows = await connection.fetch(
            f"SELECT {_COLUMNS} FROM relationships WHERE resource_type = $1 AND resource_id = $2"
            " AND (expires_at IS NULL OR expires_at > now()) AND (subject_relation <> 0 OR relation = ANY ($3)"
            " OR (subject_type = $4 AND subject_id = ANY ($5)))"
            " ORDER BY relation, subject_type, subject_id, subject_relation",
            self._type_code(resource.type),
            encode_id(resource.type, resource.id),
            sorted(arrows),
            self._type_code(subject.type),
            [encode_id(subject.type, subject.id), EVERYONE],
        )
        return await self._decode(connection, [Row.read(row) for row in rows])

    def insert_sql(self, params: Params, relationships: Sequence[Relationship], *, when: str = "TRUE") -> str:
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
        values = ", ".join(
            f"({row.resource_type}::smallint, {params.add(row.resource_id, 'uuid')}, {row.relation}::smallint,"
            f" {row.subject_type}::smallint, {params.add(row.subject_id, 'uuid')}, {row.subject_relation}::smallint,"
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
            f"INSERT INTO relationships ({_COLUMNS}) SELECT v.* FROM (VALUES {values}) v WHERE {when}"
            f" ON CONFLICT {conflict}"
        )

    def zedtoken_sql(self, params: Params) -> str:  # noqa: ARG002 - other engines may need parameters
        """The zedtoken of what the surrounding transaction writes, as SQL; it needs no parameter."""
        return f"'rmt1.{self._loaded.cluster}.' || pg_current_xact_id()::text"

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
            RelationshipError: a relationship is refused, or is both written and deleted.
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
                f"INSERT INTO relationships AS r ({_COLUMNS}) SELECT * FROM unnest({_ARRAYS})"
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
            return await self._token(connection)

    async def remove_all(
        self, connection: Connection, resource: Resource, *, actor: str | None = None, request_id: str | None = None
    ) -> int:
        """Remove every relationship in which the resource stands, as resource or as subject; return how many.

        Raises:
            PermissionUnknown: the schema has no such type.
        """
        type_code = self._type_code(resource.type)
        stored = encode_id(resource.type, resource.id)
        return int(
            await connection.fetchval(
                "WITH gone AS (DELETE FROM relationships WHERE (resource_type = $1 AND resource_id = $2)"
                f" OR (subject_type = $1 AND subject_id = $2) RETURNING {_COLUMNS}, written_xid),"
                f" kept AS (INSERT INTO relationship_history ({_COLUMNS}, written_xid, actor, request_id)"
                f" SELECT {_COLUMNS}, written_xid, $3, $4 FROM gone) SELECT count(*) FROM gone",
                type_code,
                stored,
                actor,
                request_id,
            )
        )

    async def remove_expired(self, connection: Connection, limit: int = 1000) -> int:
        """Move up to `limit` expired relationships to the history; return how many. Checks never count them anyway."""
        return int(
            await connection.fetchval(
                "WITH due AS (SELECT ctid FROM relationships WHERE expires_at <= now() ORDER BY expires_at LIMIT $1"
                " FOR UPDATE SKIP LOCKED), gone AS (DELETE FROM relationships WHERE ctid IN (SELECT ctid FROM due)"
                f" RETURNING {_COLUMNS}, written_xid), kept AS (INSERT INTO relationship_history"
                f" ({_COLUMNS}, written_xid, actor) SELECT {_COLUMNS}, written_xid, 'expiry' FROM gone)"
                " SELECT count(*) FROM gone",
                limit,
            )
        )

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
            f"SELECT {_COLUMNS} FROM relationships WHERE resource_type = $1 AND resource_id = $2"
            " AND ($3::smallint IS NULL OR relation = $3) AND (expires_at IS NULL OR expires_at > now())"
            " ORDER BY relation, subject_type, subject_id, subject_relation",
            type_code,
            encode_id(resource.type, resource.id),
            None if relation is None else self._loaded.codes.relations[relation],
        )
        return await self._decode(connection, [Row.read(row) for row in rows])

    def read_zedtoken(self, token: str) -> int:
        """The transaction id of a zedtoken of this database.

        Raises:
            ZedtokenError: the token is malformed, or of another database cluster.
        """
        match token.split("."):
            case ["rmt1", cluster, number] if number.isdigit():
                if cluster != self._loaded.cluster:
                    raise ZedtokenError("the zedtoken is of another database; read without it, then keep the new one")
                return int(number)
        raise ZedtokenError("the zedtoken is malformed; pass back tokens unchanged")

    async def _token(self, connection: Connection) -> str:
        return f"rmt1.{self._loaded.cluster}.{await connection.fetchval('SELECT pg_current_xact_id()::text')}"

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
            raise RelationshipError(f"{relationship}: the schema never had {error.args[0]!r}") from None

    def _type_code(self, name: str) -> int:
        if self.schema.get(name) is None:
            near = suggest(name, (definition.name for definition in self.schema.definitions))
            raise PermissionUnknown(f"the schema has no type {name!r}" + (f"; {near}" if near else ""))
        return self._loaded.codes.types[name]

    def _encode_caller(self, subject: Subject) -> uuid.UUID:
        self._type_code(subject.type)
        stored = encode_id(subject.type, subject.id)
        if stored == EVERYONE:
            raise RelationshipError("everyone of a type ('*') cannot ask; name one subject")
        return stored

    def _graph(self, subject_type: str, subject_relation: str | None) -> Graph:
        key = (subject_type, subject_relation)
        graph = self._graphs.get(key)
        if graph is None:
            definition = self.schema.get(subject_type)
            if subject_relation is not None and (definition is None or definition.get(subject_relation) is None):
                raise PermissionUnknown(f"type {subject_type!r} has no relation or permission {subject_relation!r}")
            graph = self._graphs[key] = Graph(self.schema, subject_type, subject_relation)
        return graph

    def _check_text(self, node: Node, subject_type: str, subject_relation: str | None) -> str:
        key = ("check", node.type, node.name, subject_type, subject_relation)
        text = self._texts.get(key)
        if text is None:
            text = self.compiler_for(subject_type, subject_relation).check(node)
            if OBJECT not in text:
                # A permission that this kind of caller can never hold; the statement still names its parameter.
                text = f"({text} AND {OBJECT} IS NOT NULL)"
            self._texts[key] = text
        return text

    def _lists(self, subject_type: str, subject_relation: str | None) -> ListCompiler:
        return ListCompiler(self.compiler_for(subject_type, subject_relation))


def _fill(text: str, params: Params, values: dict[str, tuple[object, str]], parts: dict[str, str]) -> str:
    """Put parameters and pieces of SQL where a compiled text has marks; a value without a mark is not sent."""
    for mark, part in parts.items():
        text = text.replace(mark, part)
    for mark, (value, cast) in values.items():
        if mark in text:
            text = text.replace(mark, params.add(value, cast))
    return text


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
        f"SELECT count(*) FROM (SELECT 1 FROM unnest({_ARRAYS}) i({_COLUMNS}) JOIN relationships r ON {_SAME_KEY}"
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
        f"WITH gone AS (DELETE FROM relationships r USING unnest({_ARRAYS}, $8::boolean[]) i({_COLUMNS}, deleted)"
        f" WHERE {_SAME_KEY} AND (i.deleted OR r.expires_at IS DISTINCT FROM i.expires_at) RETURNING r.*)"
        f" INSERT INTO relationship_history ({_COLUMNS}, written_xid, actor, request_id)"
        f" SELECT {_COLUMNS}, written_xid, $9, $10 FROM gone",
        *_columns_of(rows),
        [True] * len(deleted) + [False] * len(written),
        actor,
        request_id,
    )
