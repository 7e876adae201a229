"""An engine elsewhere in this process's memory: it answers by the naive evaluator, over what it has been told."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.graph import Seeder

from remit.authz.model import Relationship, Resource, Subject
from remit.authz.remote import Delivery, Question, RemoteError, ResourcePage
from remit.authz.schema_tree import Schema

sys.path.insert(0, str(Path(__file__).parent.parent / "authz"))

from oracle import Oracle


@dataclass
class MemoryRemote:
    """A `Remote`. What it knows is copied from the local relationships: once by `take_over`, or before each answer.

    Attributes:
        seed: where the local relationships are.
        schema: the schema.
        live: take over before each answer, as if every delivery were done at once.
        trouble: raised instead of answering.
        hold: answers wait for it.
        calls: the questions of each call, in order; a lookup is one call with none.
    """

    seed: Seeder
    schema: Schema
    name: str = "memory"
    bulk_checks: bool = True
    bulk_writes: bool = False
    judges: bool = False
    knows_agents: bool = True
    live: bool = True
    trouble: RemoteError | None = None
    hold: asyncio.Event | None = None
    calls: list[list[Question]] = field(default_factory=list)
    facts: list[Relationship] = field(default_factory=list)
    lookups: int = 0

    _held: dict[Subject, set[tuple[str, str, str]]] = field(default_factory=dict)
    _asked: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def called(self, times: int) -> None:
        """Return once it has been called so many times."""
        async with self._asked:
            await self._asked.wait_for(lambda: len(self.calls) >= times)

    async def take_over(self) -> None:
        """Know what the local relationships say at this moment, with subjects by their external ids."""
        self._held = {}
        names = await self.seed.fetch("SELECT id::text AS id, external_id FROM subjects")
        external = {row["id"]: row["external_id"] for row in names}
        rows = await self.seed.fetch(
            "SELECT DISTINCT y.name AS type, r.resource_id::text AS id FROM relationships r"
            " JOIN authz_types y ON y.code = r.resource_type"
        )
        facts = [fact for row in rows for fact in await self.seed.relationships_of(row["type"], row["id"])]
        self.facts = [
            Relationship(
                fact.resource,
                fact.relation,
                Subject(fact.subject.type, external.get(fact.subject.id, fact.subject.id), fact.subject.relation),
                fact.expires_at,
            )
            for fact in facts
        ]

    async def check(self, questions: Sequence[Question], *, at_least: str | None = None) -> list[bool]:  # noqa: ARG002 - the port's
        await self._answer(list(questions))
        return [(q.resource.type, q.resource.id, q.permission) in self._holds(q.subject) for q in questions]

    async def lookup_resources(
        self,
        subject: Subject,
        permission: str,
        resource_type: str,
        *,
        at_least: str | None = None,  # noqa: ARG002 - the port's
        cursor: str | None = None,
        limit: int = 1000,
    ) -> ResourcePage:
        self.lookups += 1
        await self._answer([])
        held = self._holds(subject)
        ids = sorted(
            id for type, id, name in held if (type, name) == (resource_type, permission) and id > (cursor or "")
        )
        return ResourcePage(tuple(ids[:limit]), ids[limit - 1] if len(ids) > limit else None)

    async def deliver(self, delivery: Delivery) -> str | None:
        raise NotImplementedError

    async def deliver_all(self, deliveries: Sequence[Delivery]) -> str | None:
        raise NotImplementedError

    async def read_resource(self, resource: Resource) -> tuple[list[Relationship], int | None]:
        raise NotImplementedError

    async def read(
        self, resource_type: str, *, tenant_id: str | None = None, cursor: str | None = None, limit: int = 1000
    ) -> tuple[list[Relationship], str | None]:
        raise NotImplementedError

    def takes(self, relationship: Relationship) -> bool:  # noqa: ARG002 - the port's
        return True

    async def find_schema_change(self, schema: Schema) -> str | None:  # noqa: ARG002 - the port's
        return None

    async def write_schema(self, schema: Schema) -> bool:  # noqa: ARG002 - the port's
        return False

    async def probe(self, questions: Sequence[tuple[str, str]]) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is held."""

    def _holds(self, subject: Subject) -> set[tuple[str, str, str]]:
        if subject not in self._held:
            self._held[subject] = Oracle(self.schema, self.facts).holders(subject)[0]
        return self._held[subject]

    async def _answer(self, questions: list[Question]) -> None:
        async with self._asked:
            self.calls.append(questions)
            self._asked.notify_all()
        if self.hold is not None:
            await self.hold.wait()
        if self.trouble is not None:
            raise self.trouble
        if self.live:
            await self.take_over()


def down() -> RemoteError:
    """The trouble of an engine that cannot be reached."""
    return RemoteError("it is away", transient=True, exception_class="Unavailable")
