"""The decision of one question as SQL: relationships, roles, or both, as the tenant's mode of the type says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from remit.authz.model import Subject
from remit.authz.roles import Roles

if TYPE_CHECKING:
    from remit.authz.engine import Connection, Engine, RowPage
    from remit.authz.modes import ModeBook
    from remit.db.params import Params
    from remit.identity.principal import Principal


@dataclass(frozen=True, slots=True)
class Decider:
    """What decides in one process.

    Attributes:
        engine: answers from relationships.
        modes: who decides where.
    """

    engine: Engine
    modes: ModeBook

    def check_sql(self, params: Params, principal: Principal, permission: str, resource_type: str, id_sql: str) -> str:
        """A boolean SQL expression, never NULL: may `principal` do `permission` to the resource?

        The other arguments and the errors are those of `Engine.check_sql`.
        """
        subject, by = Subject(principal.kind, principal.id), self._by(principal, resource_type)
        answers = []
        if by != "relationships":
            answers.append(
                Roles(self.engine).check_sql(params, subject, principal.tenant_id, permission, resource_type, id_sql)
            )
        if by != "roles":
            answers.append(self.engine.check_sql(params, subject, permission, resource_type, id_sql))
        return f"({' AND '.join(answers)})" if len(answers) > 1 else answers[0]

    async def list_rows(
        self,
        connection: Connection,
        principal: Principal,
        resource_type: str,
        *,
        table: str,
        columns: str,
        where: str,
        params: Params,
        before: str | None,
        limit: int,
    ) -> RowPage:
        """The newest rows of `table` that `principal` may read, by id, newest first, each with its id as `list_id`.

        `where` limits the rows to the principal's tenant. The other arguments and the errors are those of
        `Engine.list_rows`.
        """
        subject, by = Subject(principal.kind, principal.id), self._by(principal, resource_type)
        roles = Roles(self.engine)
        if by == "roles":
            return await roles.list_rows(
                connection,
                subject,
                principal.tenant_id,
                resource_type,
                table=table,
                columns=columns,
                where=where,
                params=params,
                before=before,
                limit=limit,
            )
        if by == "both":
            where += " AND " + roles.check_sql(params, subject, principal.tenant_id, "read", resource_type, "t.id")
        return await self.engine.list_rows(
            connection,
            subject,
            "read",
            resource_type,
            table=table,
            columns=columns,
            where=where,
            params=params,
            before=before,
            limit=limit,
        )

    def _by(self, principal: Principal, resource_type: str) -> str:
        return self.modes.rule(principal.tenant_id, resource_type).by
