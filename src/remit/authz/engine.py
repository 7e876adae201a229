"""The port: what Remit asks of an authorization engine. `postgres.py` is the embedded one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeAlias

import asyncpg

from remit.authz.model import Relationship, Resource, Subject
from remit.authz.modes import ModePolicy
from remit.db.params import Params

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

# A string, because asyncpg's classes take type arguments only for a type checker.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class RowPage:
    """A page of a list.

    Attributes:
        rows: in order, no more than asked for; fewer only when there are no more, or the time was up.
        unfinished_after: when the time was up before the page was full: the id up to which all is settled.
    """

    rows: list[asyncpg.Record]
    unfinished_after: str | None


class Engine(Protocol):
    """Answers questions about the graph and stores it.

    Attributes:
        mode_policy: what this process adds to the modes that are stored; decides what is registered.

    The methods named `*_sql` give a piece of SQL that a caller puts into a statement of its own, so that a row and
    the answer about it, or a row and its relationships, travel in one round trip and one transaction. Each adds what
    it needs to the statement's `Params`.
    """

    mode_policy: ModePolicy

    def check_sql(self, params: Params, subject: Subject, permission: str, resource_type: str, id_sql: str) -> str:
        """A boolean SQL expression, never NULL: may `subject` do `permission` to the resource?

        Args:
            params: the parameters of the statement it goes into.
            subject: who asks; a plain subject, not a set.
            permission: a permission or relation of the type.
            resource_type: the type.
            id_sql: a SQL expression of type uuid for the id (a column or a placeholder).

        Raises:
            SchemaError: the schema has no such type or permission.
        """

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
        """The newest rows of `table` that `subject` may `permission`, by id, newest first.

        Args:
            connection: where to ask.
            subject: who asks.
            permission: a permission of the type.
            resource_type: the type of the table's rows.
            table: the table, given the alias `t`; its id column is the resource id.
            columns: the select list over `t`.
            where: the noun's own conditions over `t` (SQL, `TRUE` for none).
            params: the parameters of `where`.
            before: the id that the page starts after, None for the first page.
            limit: most rows.

        Raises:
            ListTooCostly: nothing was settled in time.
        """

    async def refresh(self, connection: Connection) -> bool:
        """Take over a newer schema version, if there is one; return whether there was. One cheap statement if not."""

    async def check(self, connection: Connection, subject: Subject, permission: str, resource: Resource) -> bool:
        """May `subject` do `permission` to `resource`?"""

    async def check_many(
        self, connection: Connection, subject: Subject, permission: str, resources: Sequence[Resource]
    ) -> list[bool]:
        """The same for many resources of one type, in one round trip; answers in the order asked."""

    def insert_sql(
        self,
        params: Params,
        relationships: Sequence[Relationship],
        *,
        when: str = "TRUE",
        found: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """An `INSERT INTO relationships …` to be one part of a `WITH`; existing relationships stay as they are.

        Args:
            params: the statement's parameters.
            relationships: what to write; types, relations and subjects are checked against the schema.
            when: a SQL condition, evaluated once: nothing is written where it is false.
            found: SQL of ids that only the statement finds, by the ids that stand for them in `relationships`.

        Raises:
            RelationshipError: a relationship that the schema does not allow.
        """

    def outbox_sql(self, params: Params, resource: Resource, tenant_id: str, *, when: str = "TRUE") -> str | None:
        """An `INSERT INTO outbox …` to be one part of the `WITH` that has `insert_sql`, for a new resource.

        Args:
            params: the statement's parameters.
            resource: what is registered.
            tenant_id: its tenant.
            when: a SQL condition: nothing is recorded where it is false.

        Returns:
            None where no engine elsewhere keeps a projection.
        """

    def zedtoken_sql(self, params: Params) -> str:
        """A SQL expression of type text: the zedtoken of what the surrounding transaction writes."""

    async def write(
        self,
        connection: Connection,
        *,
        touch: Sequence[Relationship] = (),
        delete: Sequence[Relationship] = (),
        actor: str | None = None,
        request_id: str | None = None,
    ) -> str:
        """Write and remove relationships in the caller's transaction; removed ones move to the history.

        Returns:
            The zedtoken at which the change is visible, once the transaction has committed.
        """

    async def remove_all(
        self, connection: Connection, resource: Resource, *, actor: str | None = None, request_id: str | None = None
    ) -> int:
        """Remove every relationship in which the resource stands, as resource or as subject; return how many."""

    async def remove_expired(self, connection: Connection, limit: int = 1000) -> int:
        """Move relationships that have expired to the history, at most `limit`; return how many."""

    async def read(self, connection: Connection, resource: Resource, relation: str | None = None) -> list[Relationship]:
        """The relationships written on a resource that have not expired, in a stable order."""

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
        """Ids of the resources on which `subject` holds `permission`, ordered, after the cursor id."""
