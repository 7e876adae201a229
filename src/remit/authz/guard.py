"""May this caller? The one place that turns a denial into 404 or 403.

What a caller may not read does not exist for it: a denied read is the 404 of an absent resource, by the same statement
(A2A says it MUST be so: a server must not reveal resources that the client is not authorized to access). A denied
stronger operation is 403 only for a caller who may read. Each route says in its declaration what it asks; a route whose
answer is a success although it asked nothing of the kind is answered 500 instead (`route.py`).
"""

from dataclasses import dataclass
from typing import Any

import asyncpg

from remit.authz.caller import Caller
from remit.authz.decide import Part
from remit.authz.errors import translate_database_errors
from remit.authz.model import Resource
from remit.authz.overlay import tokens_sql
from remit.db.params import Params
from remit.errors import Forbidden, NotFound
from remit.ids import NIL_ID

# One outcome for absent and for unreadable: a counter that told them apart would tell what a 404 does not.
HIDDEN = "hidden"
NOT_ASKED = Part("FALSE", elsewhere=False)


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """A type of the graph whose resources are rows of a table.

    Attributes:
        type: the definition in the schema.
        table: the table of its rows, which has `id`, `tenant_id` and `name`.
        alive: SQL over the alias `t`; a row for which it is false is absent.
    """

    type: str
    table: str
    alive: str


def absent(label: str) -> NotFound:
    """The 404 of whatever is absent, or is not there for the caller.

    Args:
        label: how the caller named it: `id '…'` or `name '…'`.
    """
    return NotFound(f"Item with {label} does not exist.")


def label_of(*, id: str | None = None, name: str | None = None) -> str:
    """How a caller named a resource, for `absent`."""
    return f"id '{id}'" if id is not None else f"name '{name}'"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one statement found out about a resource for a caller.

    Attributes:
        row: the selected columns, None when there is no such row.
        allowed: he may do what was asked.
        readable: he may read it.
        same_tenant: it is of his tenant.
        tenant_allowed: he holds the permission on his tenant that was asked for in the same statement.
    """

    row: asyncpg.Record | None
    allowed: bool
    readable: bool
    same_tenant: bool
    tenant_allowed: bool


class Question:
    """One question about one resource, as a statement that `ask` runs.

    Attributes:
        statement: selects the columns that were asked for and those that the verdict is made of; for what is absent it
            has no row, or one of nulls.
        is_here: the statement's `guard_allowed` is the whole answer, so that a write may depend on it.
    """

    def __init__(
        self,
        caller: Caller,
        params: Params,
        kind: ResourceKind,
        permission: str,
        *,
        id: str | None = None,
        name: str | None = None,
        columns: str = "t.*",
        tenant_permission: str | None = None,
    ) -> None:
        self._caller, self._params, self._kind, self._permission, self._id = caller, params, kind, permission, id
        self._tenant_permission = tenant_permission
        tenant = params.add(caller.principal.tenant_id, "uuid")
        own = f"t.tenant_id = {tenant}"
        self._may = may = caller.part(params, permission, kind.type, "t.id")
        self._read = read = may if permission == "read" else caller.part(params, "read", kind.type, "t.id")
        self._on_tenant = on_tenant = (
            caller.part(params, tenant_permission, "tenant", tenant) if tenant_permission else NOT_ASKED
        )
        match = (
            f"t.id = {params.add(id, 'uuid')}" if id is not None else f"{own} AND t.name = {params.add(name, 'text')}"
        )
        self.is_here = not (may.elsewhere or on_tenant.elsewhere)
        if may.elsewhere:
            tokens = tokens_sql(params, caller.principal.tenant_id, "t")
            asked = (
                f"{own} AS guard_own, {may.sql} AS guard_allowed, {read.sql} AS guard_readable,"
                f" {tokens} AS guard_tokens, t.id AS guard_id, ({on_tenant.sql}) AS guard_tenant FROM {kind.table} t"
            )
        else:
            # Whoever may read is not asked twice. A plan costs by its size, so no check stands in it twice either.
            readable = "g.allowed" if permission == "read" else f"g.allowed OR {read.sql}"
            asked = (
                f"{own} AS guard_own, {own} AND g.allowed AS guard_allowed, {own} AND ({readable}) AS guard_readable,"
                f" NULL::text[] AS guard_tokens, t.id AS guard_id, ({on_tenant.sql}) AS guard_tenant"
                f" FROM {kind.table} t CROSS JOIN LATERAL (SELECT {may.sql} AS allowed OFFSET 0) g"
            )
        self.statement = f"SELECT {columns}, {asked} WHERE {match} AND {kind.alive}"
        self._presumed = caller.presumed is not None
        if (presumption := caller.presumed) is not None:
            # The caller's key is asked about in the same statement, which has an answer for an absent row too.
            self.statement = (
                f"SELECT w.guard_good, q.* FROM (SELECT {presumption.sql(params)} AS guard_good OFFSET 0) w"
                f" LEFT JOIN LATERAL ({self.statement}) q ON w.guard_good"
            )

    def before(self, write: str) -> str:
        """The statement with a write that depends on its answer, for where `is_here`.

        Args:
            write: WITH queries that insert from `asked` where `guard_allowed`, and `guard_tenant` if that was asked;
                the last one is called `written`, and no column of it is called like one that was asked for.
        """
        return (
            f"WITH asked AS MATERIALIZED ({self.statement}), {write}"
            " SELECT asked.*, written.* FROM asked LEFT JOIN written ON TRUE"
        )

    async def ask(self, statement: str | None = None) -> Verdict:
        """What the statement finds out, once an engine elsewhere is asked as well, in one call, about absent rows too.

        Args:
            statement: of `before`; by default the question alone.

        Raises:
            Unauthenticated: the caller was presumed, and is not who he was any more.
            AuthorizationUnavailable: the engine elsewhere gave no answer.
        """
        with translate_database_errors():
            async with self._caller.asking_database.connection() as connection:
                row = await connection.fetchrow(statement or self.statement, *self._params.values)
        return await self._settle(row)

    async def _settle(self, row: asyncpg.Record | None) -> Verdict:
        caller, kind, permission = self._caller, self._kind, self._permission
        if self._presumed:
            caller.settle_presumed(row is not None and row["guard_good"])
            row = row if row is not None and row["guard_id"] is not None else None
        found: Any = row if row is not None else {"guard_id": self._id or NIL_ID, "guard_own": False}
        resource = Resource(kind.type, found["guard_id"])
        questions = [(self._may, found.get("guard_allowed"), permission, resource)]
        if permission != "read":
            questions.append((self._read, found.get("guard_readable"), "read", resource))
        home = Resource("tenant", caller.principal.tenant_id)
        if self._tenant_permission:
            questions.append((self._on_tenant, found.get("guard_tenant"), self._tenant_permission, home))
        answers = await caller.decider.settle(caller.principal, questions, found.get("guard_tokens") or ())
        if row is None:
            caller.note(kind.type, permission, HIDDEN)
            return Verdict(None, False, False, False, False)
        allowed = found["guard_own"] and answers[0]
        may_read = found["guard_own"] and (answers[0] or (permission != "read" and answers[1]))
        caller.note(kind.type, permission, "allowed" if allowed else "denied" if may_read else HIDDEN)
        if allowed:
            caller.questions.add((kind.type, permission, row["guard_id"]))
        if found["guard_own"]:
            caller.decider.note(caller.principal, permission, resource, allowed)
        if self._tenant_permission:
            caller.decider.note(caller.principal, self._tenant_permission, home, answers[-1])
            caller.note("tenant", self._tenant_permission, "allowed" if answers[-1] else "denied")
        tenant_allowed = bool(self._tenant_permission) and answers[-1]
        return Verdict(row, allowed, may_read, found["guard_own"], tenant_allowed)


async def probe(
    caller: Caller,
    kind: ResourceKind,
    permission: str,
    *,
    id: str | None = None,
    name: str | None = None,
    columns: str = "t.*",
    tenant_permission: str | None = None,
) -> Verdict:
    """Ask, without a consequence: one statement, whatever the answer. The arguments are those of `authorize`.

    Raises:
        Unauthenticated, AuthorizationUnavailable: as `Question.ask`.
    """
    question = Question(
        caller, Params(), kind, permission, id=id, name=name, columns=columns, tenant_permission=tenant_permission
    )
    return await question.ask()


async def authorize(
    caller: Caller,
    kind: ResourceKind,
    permission: str,
    *,
    id: str | None = None,
    name: str | None = None,
    columns: str = "t.*",
) -> asyncpg.Record:
    """The row, if the caller may `permission` it.

    Args:
        caller: who asks.
        kind: what is asked about.
        permission: a permission of the type.
        id: the id, or else
        name: the name within the caller's tenant.
        columns: select list over the alias `t`.

    Raises:
        NotFound: it is absent, of another tenant, or the caller may not read it.
        Forbidden: the caller may read it but not do this.
    """
    verdict = await probe(caller, kind, permission, id=id, name=name, columns=columns)
    return judge(caller, kind, permission, verdict, label_of(id=id, name=name))


def judge(caller: Caller, kind: ResourceKind, permission: str, verdict: Verdict, label: str) -> asyncpg.Record:
    """The row of a verdict that allows; any other becomes the error that the caller may see, and is recorded.

    Raises:
        NotFound, Forbidden: as `authorize`.
    """
    row = verdict.row
    if row is None:
        raise absent(label)
    if verdict.allowed:
        return row
    resource = Resource(kind.type, row["guard_id"])
    action = f"{kind.type}.{permission}"
    if verdict.readable:
        caller.audit.record(caller.audit_entry(action, "denied", resource))
        raise Forbidden(f"You may read this {kind.type} but not {permission} it. Its owner can give you more.")
    if not verdict.same_tenant:
        caller.audit.record(caller.audit_entry(action, "other_tenant", resource))
    raise absent(label)


async def authorize_tenant(caller: Caller, permission: str) -> None:
    """Ask for a permission on the caller's own tenant.

    Raises:
        Forbidden: it is missing.
    """
    if not await caller.holds(permission, Resource("tenant", caller.principal.tenant_id)):
        raise deny_tenant(caller, permission)


def deny_tenant(caller: Caller, permission: str) -> Forbidden:
    """The refusal of something that the caller's tenant does not let him do, recorded."""
    caller.audit.record(
        caller.audit_entry(f"tenant.{permission}", "denied", Resource("tenant", caller.principal.tenant_id))
    )
    return Forbidden(f"Your role in the tenant does not include `{permission}`. A tenant admin can give it to you.")
