"""Questions to the table `relationships`: checks, and pages of rows that a caller may see."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from remit.authz.bulk import write_bulk
from remit.authz.compile import Compiler
from remit.authz.engine import Connection, RowPage
from remit.authz.errors import PermissionUnknown, RelationshipError, SchemaUnusable, translate_database_errors
from remit.authz.formula import Node
from remit.authz.graph import Graph
from remit.authz.ids import EVERYONE, encode_id, encode_text
from remit.authz.model import Resource, Subject
from remit.authz.pages import LIST_SECONDS, Lister, Listing
from remit.authz.relationship_sql import CALLER, OBJECT, Codes
from remit.authz.schema_check import suggest
from remit.authz.schema_store import LoadedSchema
from remit.authz.schema_tree import Schema
from remit.db.params import Params


class Questions:
    """Checks and lists of one loaded schema.

    Compiled SQL is kept per question (type, permission, kind of caller) for as long as the schema version holds.

    Attributes:
        list_seconds: how long a list may take.
    """

    list_seconds: float = LIST_SECONDS

    def __init__(self, loaded: LoadedSchema) -> None:
        self._use(loaded)

    @property
    def _loaded(self) -> LoadedSchema:
        if self._unusable is not None:
            raise SchemaUnusable(self._unusable)
        return self._current

    def _use(self, loaded: LoadedSchema) -> None:
        self._current = loaded
        self._unusable: str | None = None
        self._graphs: dict[tuple[str, str | None], Graph] = {}
        self.lister = Lister(self.compiler_for, seconds=self.list_seconds)
        self._texts: dict[tuple[object, ...], str] = {}

    @property
    def schema(self) -> Schema:
        """The loaded schema."""
        return self._loaded.schema

    @property
    def codes(self) -> Codes:
        """The codes of types and relations."""
        return self._loaded.codes

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
        return fill(text, params, {CALLER: (caller, "uuid")}, {OBJECT: id_sql})

    async def list_rows(
        self,
        connection: Connection,
        subject: Subject,
        permission: str,
        resource_type: str,
        *,
        table: str,
        columns: str,
        where: str,
        params: Params,
        before: str | None,
        limit: int,
    ) -> RowPage:
        """The newest rows of `table` that `subject` may `permission`, by id, newest first (see `pages.Lister`).

        Raises:
            PermissionUnknown: the schema has no such type or permission.
            RelationshipError: the subject's id breaks the rules, or is `*`.
            ListTooCostly: nothing was settled in time.
        """
        caller = self._encode_caller(subject)
        node = Node(resource_type, permission)
        listing = Listing(node, subject.type, subject.relation, columns, table, where)
        return await self.lister.fetch(connection, listing, params.values, caller, after=before, limit=limit)

    async def check(self, connection: Connection, subject: Subject, permission: str, resource: Resource) -> bool:
        """May `subject` do `permission` to `resource`?

        Raises:
            PermissionUnknown: the schema has no such type or permission.
            DepthExceeded: the graph is nested too deep to answer.
        """
        values = (encode_text(resource.type, resource.id), self._encode_caller(subject))
        key = ("ask", resource.type, permission, subject.type, subject.relation)
        text = self._texts.get(key)
        if text is None:
            asked = self._check_text(Node(resource.type, permission), subject.type, subject.relation)
            text = self._texts[key] = f"SELECT {_name_both(asked)}"
        with translate_database_errors():
            return bool(await connection.fetchval(text, *values))

    async def check_many(
        self, connection: Connection, subject: Subject, permission: str, resources: Sequence[Resource]
    ) -> list[bool]:
        """The same for many resources of one type, in one round trip; answers in the order asked.

        Raises:
            RelationshipError: the resources are of several types.
        """
        if not resources:
            return []
        kind = resources[0].type
        if any(resource.type != kind for resource in resources):
            types = {resource.type for resource in resources}
            raise RelationshipError(f"one type at a time, not {', '.join(sorted(types))}")
        values = ([encode_text(kind, resource.id) for resource in resources], self._encode_caller(subject))
        key = ("bulk", kind, permission, subject.type, subject.relation)
        text = self._texts.get(key)
        if text is None:
            compiler = self.compiler_for(subject.type, subject.relation)
            sets, source, answer = write_bulk(compiler, Node(kind, permission), "q.id", self.lister.widest)
            asked = f"SELECT {answer} FROM unnest($1::uuid[]) WITH ORDINALITY q(id, place) CROSS JOIN {source}"
            text = self._texts[key] = _name_both(f"{sets} SELECT ARRAY({asked} ORDER BY q.place)")
        with translate_database_errors():
            answers: list[bool] = await connection.fetchval(text, *values)
            return answers

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


def _name_both(text: str) -> str:
    """The object and the caller of a compiled text as the parameters 1 and 2, both of which it names."""
    unused = "" if CALLER in text else " WHERE $2::uuid IS NOT NULL"
    return f"{text}{unused}".replace(OBJECT, "$1::uuid").replace(CALLER, "$2::uuid")


def fill(text: str, params: Params, values: dict[str, tuple[object, str]], parts: dict[str, str]) -> str:
    """Put parameters and pieces of SQL where a compiled text has marks; a value without a mark is not sent."""
    for mark, part in parts.items():
        text = text.replace(mark, part)
    for mark, (value, cast) in values.items():
        if mark in text:
            text = text.replace(mark, params.add(value, cast))
    return text
