"""Who asks, in a request: the principal with what it takes to ask and to record."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import asyncpg
from fastapi import Depends, Request

from remit.audit import AuditEntry, AuditTrail
from remit.authz.decide import Ask, Decider, Part
from remit.authz.delivery import Deliverer, Outcome, Result
from remit.authz.engine import Engine
from remit.authz.errors import translate_database_errors
from remit.authz.model import Resource, Subject
from remit.authz.once import begin_once
from remit.db.params import Params
from remit.db.pool import Database
from remit.identity.authenticate import authenticate, presume
from remit.identity.presumed import PresumedDatabase, Presumption
from remit.identity.principal import Principal
from remit.telemetry.metrics import CHECKS, CHECKS_PER_REQUEST


@dataclass(slots=True)
class Caller:
    """A principal in a request, with what it takes to ask and to record.

    Attributes:
        principal: who.
        database: where rows and relationships are.
        decider: what answers.
        audit: where refusals are recorded.
        request_id: the request.
        asked: what was asked in this request, as `type.permission`.
        checks: how many questions that were.
        delivery: to an engine elsewhere, None where there is none.
        questions: what was allowed so far, as (type, permission, id); a repeat of the request asks it again.
        presumption: that `principal` is who calls, where the database has still to say so.
    """

    principal: Principal
    database: Database
    decider: Decider
    audit: AuditTrail
    request_id: str
    asked: set[str] = field(default_factory=set)
    checks: int = 0
    questions: set[tuple[str, str, str]] = field(default_factory=set)
    delivery: Deliverer | None = None
    presumption: Presumption | None = None

    @property
    def presumed(self) -> Presumption | None:
        """The presumption, while it is not proven: what every statement has to ask as well."""
        return self.presumption if self.presumption is not None and not self.presumption.proven else None

    @property
    def asking_database(self) -> Database:
        """The database for a statement that asks `presumed` itself, and for nothing else."""
        return self.database.behind if isinstance(self.database, PresumedDatabase) else self.database

    def settle_presumed(self, said: object) -> None:
        """Take what a statement on `asking_database` said of `presumed`.

        Raises:
            Unauthenticated: anything but yes.
        """
        if self.presumption is not None:
            self.presumption.settle(said)
            self.database = self.asking_database

    def presumed_column(self, params: Params) -> str:
        """What a list's statement on `asking_database` selects as well: `, … AS guard_good`, or nothing once proven."""
        return f", {self.presumed.sql(params)} AS guard_good" if self.presumed is not None else ""

    async def settle_listed(self, rows: Sequence[asyncpg.Record]) -> None:
        """Take what the rows of such a statement say; where it had none, ask by a statement of its own.

        Raises:
            Unauthenticated: the key is not good any more.
        """
        if rows and self.presumed is not None:
            self.settle_presumed(rows[0]["guard_good"])
        await self.prove()

    async def prove(self) -> None:
        """Have the database say who calls, unless it has.

        Raises:
            Unauthenticated: the key is not good any more.
        """
        if self.presumed is not None:
            async with self.database.connection():
                pass

    @property
    def subject(self) -> Subject:
        """The principal as the graph knows it."""
        return Subject(self.principal.kind, self.principal.id)

    @property
    def engine(self) -> Engine:
        """Where relationships are written."""
        return self.decider.engine

    @property
    def actor(self) -> str:
        """The principal as histories and logs name it."""
        return str(self.subject)

    def part(self, params: Params, permission: str, resource_type: str, id_sql: str) -> Part:
        """A question as a part of a statement: may the caller do `permission` to the resource?"""
        return self.decider.part(params, self.principal, permission, resource_type, id_sql)

    async def conditions(self, params: Params, *asks: Ask) -> list[str]:
        """The answers to questions about columns of a statement, as conditions in it."""
        return await self.decider.conditions(self.database, params, self.principal, asks)

    async def holds(self, permission: str, resource: Resource) -> bool:
        """Whether the caller may do `permission` to a resource: a question of its own, which is counted."""
        params = Params()
        id_sql = params.add(resource.id, "uuid")
        part = self.part(params, permission, resource.type, id_sql)
        with translate_database_errors():
            async with self.database.connection() as connection:
                known = await connection.fetchval(f"SELECT {part.sql}", *params.values)
        (allowed,) = await self.decider.settle(self.principal, [(part, known, permission, resource)])
        self.decider.note(self.principal, permission, resource, allowed)
        self.note(resource.type, permission, "allowed" if allowed else "denied")
        return allowed

    async def tell(self, resource: Resource) -> Result:
        """Tell the engine elsewhere, if there is one, of a resource whose change is committed."""
        if self.delivery is None:
            return Result(Outcome.DELIVERED)
        return await self.delivery.deliver(resource, actor=self.subject)

    def note(self, resource_type: str, permission: str, outcome: str, checks: int = 1) -> None:
        """Count a question, and remember that it was asked."""
        self.asked.add(f"{resource_type}.{permission}")
        self.checks += checks
        CHECKS.labels(resource_type, permission, outcome).inc()

    def audit_entry(
        self,
        action: str,
        outcome: str,
        resource: Resource | None = None,
        detail: dict[str, object] | None = None,
    ) -> AuditEntry:
        """An audit entry with this caller as its actor."""
        return AuditEntry(
            tenant_id=self.principal.tenant_id,
            actor_type=self.principal.kind,
            actor_id=self.principal.id,
            action=action,
            outcome=outcome,
            resource_type=resource.type if resource else None,
            resource_id=resource.id if resource else None,
            request_id=self.request_id,
            detail=detail,
        )


def get_caller(request: Request, principal: Principal, presumption: Presumption | None = None) -> Caller:
    """The caller of a request; `request.state.caller` keeps it for the check of the route's declaration."""
    state = request.app.state
    caller = Caller(
        principal,
        state.database if presumption is None else PresumedDatabase(state.database, presumption),
        state.decider,
        state.audit,
        request.state.request_id,
        delivery=state.delivery,
        presumption=presumption,
    )
    request.state.caller = caller
    return caller


async def begin_call(request: Request) -> Caller:
    """The caller of a request, once it is counted and its idempotency key is taken.

    One dependency that calls the rest: each one more that FastAPI resolves costs as much as a statement. On a guarded
    route the caller may be presumed: the route's first statement proves it.

    Raises:
        Unauthenticated, CredentialsDisagree: as `authenticate`.
        TooManyRequests: its principal has used up its rate.
        Others: as `once.begin_once`.
    """
    presumption = presume(request) if getattr(request.state, "proves", False) else None
    principal = await authenticate(request) if presumption is None else presumption.principal
    return await begin_call_of(request, principal, presumption)


async def begin_call_of(request: Request, principal: Principal, presumption: Presumption | None = None) -> Caller:
    """As `begin_call`, for a route that authenticates by itself.

    Raises:
        TooManyRequests, others: as `begin_call`.
    """
    caller = await count_call(request, principal, presumption)
    await begin_once(request, caller)
    return caller


async def count_call(request: Request, principal: Principal, presumption: Presumption | None = None) -> Caller:
    """As `begin_call_of`, for a route whose answer is kept for no idempotency key.

    Raises:
        TooManyRequests: as `begin_call`.
    """
    caller = get_caller(request, principal, presumption)
    limits = request.app.state.limits
    if limits.counts_requests:
        # A key that has ended uses up nobody's rate.
        await caller.prove()
        await limits.count_request(caller.actor)
    await caller.decider.modes.confirm()
    return caller


CurrentCaller = Annotated[Caller, Depends(begin_call)]


def observe_checks(caller: Caller) -> None:
    """Count a finished request's questions."""
    CHECKS_PER_REQUEST.observe(caller.checks)
