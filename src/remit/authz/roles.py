"""Tenant roles as the judge, where relationships do not decide yet.

    role      may
    viewer    read
    member    read, create, execute, update; cancel and delete of what he created
    admin     every operation
    agent     read and execute itself; read, update, cancel and delete the tasks given to it; create tasks of its own

Any other operation is denied. Memberships are relationships of the tenant, which are written in every mode; who
created a row is in its creator columns. The answers are SQL, as the engine's are, so that both fit where one does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

from remit.authz.engine import RowPage
from remit.authz.errors import translate_database_errors

if TYPE_CHECKING:
    from remit.authz.engine import Connection, Engine
    from remit.authz.model import Subject
    from remit.db.params import Params

Role = Literal["viewer", "member", "admin"]

# The least role for each operation; None is a role of its own kind: member and creator, or admin.
OPERATIONS: Final[Mapping[str, Role | None]] = {
    "read": "viewer",
    "create": "member",
    "execute": "member",
    "update": "member",
    "cancel": None,
    "delete": None,
    "share": "admin",
}
# What is asked of the tenant itself, as the operation that it is.
TENANT: Final[Mapping[str, Role]] = {
    "access": "viewer",
    "create_task": "member",
    "create_agent": "member",
    "manage": "admin",
}
_AT_LEAST: Final[Mapping[Role, tuple[Role, ...]]] = {
    "viewer": ("admin", "member", "viewer"),
    "member": ("admin", "member"),
    "admin": ("admin",),
}
TABLES: Final[Mapping[str, str]] = {"agent": "agents", "task": "tasks", "api_key": "agent_api_keys"}
_CREATOR: Final = {"user": "creator_user_id", "service_account": "creator_service_account_id"}
_OF_AGENT: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "agent": ("id", frozenset({"read", "execute"})),
    "task": ("agent_id", frozenset({"read", "update", "cancel", "delete"})),
}


class Roles:
    """Answers from the roles that subjects have in a tenant.

    Args:
        engine: where memberships are looked up, through groups as well.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def check_sql(
        self, params: Params, subject: Subject, tenant_id: str, permission: str, resource_type: str, id_sql: str
    ) -> str:
        """A boolean SQL expression, never NULL: do the roles let `subject` do `permission` to a resource of the tenant?

        Args:
            params: the parameters of the statement it goes into.
            subject: who asks, a principal of the tenant.
            tenant_id: the tenant; a resource of another one is denied.
            permission: the operation.
            resource_type: the type.
            id_sql: a SQL expression of type uuid for the resource's id.
        """
        if resource_type == "tenant":
            own = f"({id_sql} = {params.add(tenant_id, 'uuid')})"
            return f"({own} IS TRUE AND {self._on_tenant(params, subject, tenant_id, permission)})"
        table = TABLES.get(resource_type)
        holds = self._on_row(params, subject, tenant_id, permission, resource_type)
        if table is None or holds == "FALSE":
            return "FALSE"
        tenant = params.add(tenant_id, "uuid")
        return f"EXISTS (SELECT 1 FROM {table} r WHERE r.id = {id_sql} AND r.tenant_id = {tenant} AND {holds} OFFSET 0)"

    async def list_rows(
        self,
        connection: Connection,
        subject: Subject,
        tenant_id: str,
        resource_type: str,
        *,
        table: str,
        columns: str,
        where: str,
        params: Params,
        before: str | None,
        limit: int,
    ) -> RowPage:
        """The newest rows of `table` that `subject` may read, by id, newest first.

        The arguments are those of `Engine.list_rows`; `where` limits the rows to the tenant.
        """
        holds = self._on_row(params, subject, tenant_id, "read", resource_type, row="t")
        cursor = f" AND t.id < {params.add(before, 'uuid')}" if before is not None else ""
        statement = (
            f"SELECT {columns}, t.id AS list_id FROM {table} t WHERE ({where}) AND {holds}{cursor}"
            f" ORDER BY t.id DESC LIMIT {params.add(limit, 'int')}"
        )
        with translate_database_errors():
            return RowPage(list(await connection.fetch(statement, *params.values)), None)

    def _on_tenant(self, params: Params, subject: Subject, tenant_id: str, permission: str) -> str:
        if subject.type == "agent":
            enrolled = permission in ("access", "create_task")
            return self._enrolled(params, subject, tenant_id) if enrolled else "FALSE"
        role = TENANT.get(permission)
        return self._has_role(params, subject, tenant_id, role) if role else "FALSE"

    def _on_row(
        self, params: Params, subject: Subject, tenant_id: str, permission: str, resource_type: str, row: str = "r"
    ) -> str:
        """A condition over the resource's row, which has the alias `row`."""
        if subject.type == "agent":
            column, permissions = _OF_AGENT.get(resource_type, ("", frozenset()))
            if permission not in permissions:
                return "FALSE"
            return (
                f"({row}.{column} = {params.add(subject.id, 'uuid')} AND {self._enrolled(params, subject, tenant_id)})"
            )
        if permission not in OPERATIONS:
            return "FALSE"
        role = OPERATIONS[permission]
        if role is not None:
            return self._has_role(params, subject, tenant_id, role)
        created = f"{row}.{_CREATOR[subject.type]} IS NOT DISTINCT FROM {params.add(subject.id, 'uuid')}"
        member = self._has_role(params, subject, tenant_id, "member")
        admin = self._has_role(params, subject, tenant_id, "admin")
        return f"({admin} OR {created} AND {member})"

    def _has_role(self, params: Params, subject: Subject, tenant_id: str, least: Role) -> str:
        tenant = params.add(tenant_id, "uuid")
        held = (self._engine.check_sql(params, subject, role, "tenant", tenant) for role in _AT_LEAST[least])
        return f"({' OR '.join(held)})"

    def _enrolled(self, params: Params, subject: Subject, tenant_id: str) -> str:
        return self._engine.check_sql(params, subject, "agent_member", "tenant", params.add(tenant_id, "uuid"))
