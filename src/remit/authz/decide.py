"""The decision of one question: relationships, roles, or both, as the tenant's mode of the type says.

A question becomes a part of the statement that finds the row. Where relationships are in this database the part is the
answer. Where an engine elsewhere has them the part is what is known here (roles, and what is still to be delivered),
and the engine is asked once the statement is over and its connection given back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from remit.authz.errors import translate_database_errors
from remit.authz.model import Resource, Subject
from remit.authz.overlay import latest, overlay_sql
from remit.authz.roles import Roles
from remit.authz.shadow import Asked, Shadow
from remit.db.params import Params
from remit.errors import TooCostly

if TYPE_CHECKING:
    from remit.authz.elsewhere import Elsewhere
    from remit.authz.engine import Connection, Engine, RowPage
    from remit.authz.modes import Decider as By
    from remit.authz.modes import ModeBook
    from remit.db.pool import Database
    from remit.identity.principal import Principal

# Most questions in one call of an engine elsewhere, and most about one list.
BATCH = 500
MOST_CANDIDATES = 5000


@dataclass(frozen=True, slots=True)
class Part:
    """One question inside of a statement.

    Attributes:
        sql: what to select: the answer, a boolean; or, for an engine elsewhere, one of the texts of `overlay`.
        elsewhere: which of the two.
    """

    sql: str
    elsewhere: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """A question about a column of a statement, whose rows are not known before it runs.

    Attributes:
        permission: what is asked.
        resource_type: of what.
        id_sql: the column.
        candidates: writes a SELECT of the ids that the column may have; run only for an engine elsewhere.
    """

    permission: str
    resource_type: str
    id_sql: str
    candidates: Callable[[Params], str]


@dataclass(frozen=True, slots=True)
class Decider:
    """What decides in one process.

    Attributes:
        engine: the local relationships; answers from them unless there is an engine elsewhere.
        modes: who decides where.
        elsewhere: the engine that answers from its projection of them.
        shadow: compares what roles answer with what relationships would.
    """

    engine: Engine
    modes: ModeBook
    elsewhere: Elsewhere | None = None
    shadow: Shadow | None = None

    def part(self, params: Params, principal: Principal, permission: str, resource_type: str, id_sql: str) -> Part:
        """A question as a part of a statement: may `principal` do `permission` to the resource?

        The other arguments and the errors are those of `Engine.check_sql`.
        """
        subject, by = Subject(principal.kind, principal.id), self.by(principal, resource_type)
        roles = relationships = None
        if by != "relationships":
            roles = Roles(self.engine).check_sql(
                params, subject, principal.tenant_id, permission, resource_type, id_sql
            )
        if by == "roles":
            assert roles is not None
            return Part(roles, elsewhere=False)
        if self.elsewhere is None or not self.elsewhere.answers(principal):
            relationships = self.engine.check_sql(params, subject, permission, resource_type, id_sql)
            return Part(f"({roles} AND {relationships})" if roles else relationships, elsewhere=False)
        known = overlay_sql(params, self.engine, subject, principal.tenant_id, permission, resource_type, id_sql)
        return Part(f"CASE WHEN {roles} THEN {known} ELSE 'no' END" if roles else known, elsewhere=True)

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

        Only where no engine elsewhere has a say. `where` limits the rows to the principal's tenant. The other
        arguments and the errors are those of `Engine.list_rows`.
        """
        subject, by = Subject(principal.kind, principal.id), self.by(principal, resource_type)
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

    async def settle(
        self,
        principal: Principal,
        asked: Sequence[tuple[Part, object, str, Resource]],
        tokens: Iterable[str | None] = (),
    ) -> list[bool]:
        """The answers, once the statement has run: nothing more to do, or one call of the engine elsewhere.

        Args:
            principal: who asks.
            asked: of each question its part, the value selected for it, the permission and the resource.
            tokens: of the deliveries that the engine's answers must know; without one they are as fresh as can be.

        Raises:
            AuthorizationUnavailable: the engine elsewhere gave no answer.
        """
        # Questions that are denied here are asked with the rest: what is hidden takes as long as what is absent.
        away = [n for n, (part, _, _, _) in enumerate(asked) if part.elsewhere]
        answers = [value is True for _, value, _, _ in asked]
        for n in away:
            answers[n] = asked[n][1] == "yes"
        if self.elsewhere is None or all(answers[n] for n in away):
            return answers
        at_least = latest(tokens)
        for start in range(0, len(away), BATCH):
            batch = away[start : start + BATCH]
            said = await self.elsewhere.check(principal, [asked[n][2:] for n in batch], at_least)
            for n, allowed in zip(batch, said, strict=True):
                answers[n] = answers[n] or (allowed and asked[n][1] == "ask")
        return answers

    async def conditions(
        self, database: Database, params: Params, principal: Principal, asks: Sequence[Ask]
    ) -> list[str]:
        """The answers as SQL conditions, never NULL, for a statement whose rows are not known before it runs.

        Args:
            database: where candidates are looked up.
            params: the parameters of that statement.
            principal: who asks.
            asks: the questions.

        Raises:
            AuthorizationUnavailable: the engine elsewhere gave no answer.
        """
        conditions = []
        for ask in asks:
            part = self.part(params, principal, ask.permission, ask.resource_type, ask.id_sql)
            if part.elsewhere:
                ids = params.add(await self._allowed_among(database, principal, ask), "uuid[]")
                conditions.append(f"({ask.id_sql} = ANY ({ids})) IS TRUE")
            else:
                conditions.append(part.sql)
        return conditions

    async def _allowed_among(self, database: Database, principal: Principal, ask: Ask) -> list[str]:
        params = Params()
        candidates = ask.candidates(params)
        part = self.part(params, principal, ask.permission, ask.resource_type, "q.id")
        statement = (
            f"SELECT q.id, {part.sql} AS known FROM ({candidates}) q(id)"
            f" WHERE q.id IS NOT NULL LIMIT {MOST_CANDIDATES + 1}"
        )
        with translate_database_errors():
            async with database.connection() as connection:
                rows = await connection.fetch(statement, *params.values)
        if len(rows) > MOST_CANDIDATES:
            raise too_costly()
        asked = [(part, row["known"], ask.permission, Resource(ask.resource_type, row["id"])) for row in rows]
        answers = await self.settle(principal, asked)
        return [row["id"] for row, allowed in zip(rows, answers, strict=True) if allowed]

    def note(self, principal: Principal, permission: str, resource: Resource, allowed: bool) -> None:
        """Have an answer compared where the mode says so; it costs the request nothing."""
        if self.shadow is not None and self.modes.rule(principal.tenant_id, resource.type).shadowed:
            self.shadow.note(Asked(principal, permission, resource, allowed))

    def note_listed(self, principal: Principal, resource_type: str, ids: Sequence[str]) -> None:
        """Have the rows of a list compared, as `note`."""
        if self.shadow is not None and self.modes.rule(principal.tenant_id, resource_type).shadowed:
            for id in ids:
                self.shadow.note(Asked(principal, "read", Resource(resource_type, id), True))

    def by(self, principal: Principal, resource_type: str) -> By:
        """Who decides about a type in the principal's tenant."""
        return self.modes.rule(principal.tenant_id, resource_type).by

    def asks_elsewhere(self, principal: Principal, resource_type: str) -> bool:
        """Whether an engine elsewhere has a say about a type in the principal's tenant."""
        if self.elsewhere is None or not self.elsewhere.answers(principal):
            return False
        return self.by(principal, resource_type) != "roles"


def too_costly() -> TooCostly:
    """The refusal of a list that would take too many questions."""
    return TooCostly("Finding what you may read here takes too many questions for one answer. Ask for less at a time.")
