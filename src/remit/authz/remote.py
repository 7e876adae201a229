"""The port to an engine that lives elsewhere: SpiceDB, or an auth provider over HTTP.

Remit's own table `relationships` stays the truth in every mode; an engine elsewhere holds a projection of it. It is
asked with `check` and `lookup_resources`, and told with `deliver`, after the commit and never inside a transaction.
Ids that pass through here are the operator's: the caller of the port has already named subjects as that graph does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from remit.authz.errors import AuthzError
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.schema_tree import Schema


class RemoteError(AuthzError):
    """An engine elsewhere did not do what it was asked; what it holds is unknown, so it is never an allow.

    Attributes:
        transient: whether a repeat may help: unavailable, gateway, deadline. Anything else is permanent.
        exception_class: a short stable name for counters, such as `Unavailable`; never text of the other side.
        denied: the other side understood and refused (a provider's 403).
    """

    def __init__(self, message: str, *, transient: bool, exception_class: str, denied: bool = False) -> None:
        self.transient = transient
        self.exception_class = exception_class
        self.denied = denied
        super().__init__(message)


class NotOffered(AuthzError):
    """The engine elsewhere has no such operation: an auth provider cannot be read."""


@dataclass(frozen=True, slots=True)
class Question:
    """May `subject` do `permission` to `resource`?"""

    subject: Subject
    permission: str
    resource: Resource


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one resource's projection has to become.

    Attributes:
        resource: whose relationships these are.
        version: the resource's version that the projection has afterwards.
        delivered: the version last delivered, None for the first; a remote write holds it as a precondition where the
            engine has one, so that a write that arrives late changes nothing.
        touch: relationships to write.
        delete: relationships to remove.
        gone: the resource itself is deleted: nothing of it stays, on the subject's side either.
        actor: in whose name, for engines that ask for a principal; None outside a request.
    """

    resource: Resource
    version: int
    delivered: int | None
    touch: tuple[Relationship, ...] = ()
    delete: tuple[Relationship, ...] = ()
    gone: bool = False
    actor: Subject | None = None


@dataclass(frozen=True, slots=True)
class ResourcePage:
    """Ids that an engine elsewhere lists.

    Attributes:
        ids: in the engine's order.
        cursor: where the next page starts, None when there is none.
        unscoped: the caller may see every resource of the type in his tenant; `ids` says nothing then.
    """

    ids: tuple[str, ...]
    cursor: str | None = None
    unscoped: bool = False


class Remote(Protocol):
    """Answers questions about a projection and keeps it.

    Attributes:
        name: of the kind of engine, as in `REMIT_AUTHZ_ENGINE`.
        bulk_checks: many questions are one call; where each is a call of its own, lists begin with a lookup.
        bulk_writes: `deliver_all` writes many resources at once.
        judges: it refuses what the one in whose name it is told may not do.
        knows_agents: agents are principals there as well; where not, what they may is decided locally.
    """

    name: str
    bulk_checks: bool
    bulk_writes: bool
    judges: bool
    knows_agents: bool

    def takes(self, relationship: Relationship) -> bool:
        """Whether the engine can be told of a relationship."""

    async def check(self, questions: Sequence[Question], *, at_least: str | None = None) -> list[bool]:
        """The answers, in the order asked, in one round trip where the engine has one.

        Args:
            questions: what is asked; may be of several types.
            at_least: a zedtoken of that engine: the answer is at least as fresh.

        Raises:
            RemoteError: no answer; never to be read as an allow, nor as an absence.
        """

    async def lookup_resources(
        self,
        subject: Subject,
        permission: str,
        resource_type: str,
        *,
        at_least: str | None = None,
        cursor: str | None = None,
        limit: int = 1000,
    ) -> ResourcePage:
        """Resources of a type on which `subject` holds `permission`, page by page, complete."""

    async def deliver(self, delivery: Delivery) -> str | None:
        """Make a resource's projection what a delivery says, in one atomic step where the engine has one.

        Returns:
            The engine's zedtoken of the change, None where it has none.

        Raises:
            RemoteError: it is unknown whether anything was written; the same delivery may be sent again.
            PreconditionFailed: the projection has another version than `delivered`.
        """

    async def deliver_all(self, deliveries: Sequence[Delivery]) -> str | None:
        """`deliver` for several resources in one atomic step: all of them, or none.

        Raises:
            NotOffered: the engine has no such step.
        """

    async def read_resource(self, resource: Resource) -> tuple[list[Relationship], int | None]:
        """The relationships written on a resource, and the version that its projection has, None if it has none.

        Raises:
            NotOffered: the engine cannot be read.
        """

    async def read(
        self, resource_type: str, *, tenant_id: str | None = None, cursor: str | None = None, limit: int = 1000
    ) -> tuple[list[Relationship], str | None]:
        """Every relationship written on resources of a type, page by page, with the cursor of the next page.

        Those of one resource come together, and resources in the order of their ids.

        Args:
            resource_type: the type.
            tenant_id: only what ties resources to this tenant.
            cursor: where the page before ended.
            limit: most relationships of a page.

        Raises:
            NotOffered: the engine cannot be read.
        """

    async def find_schema_change(self, schema: Schema) -> str | None:
        """The schema that the engine should have, as text; None if it holds this one already, or has none at all.

        Raises:
            SchemaError: its own schema is not understood.
            RemoteError: no answer.
        """

    async def write_schema(self, schema: Schema) -> bool:
        """Bring the engine's schema to hold this one, where it has a schema; return whether that changed it.

        Raises:
            SchemaError: it refuses the schema.
            RemoteError: no answer.
        """

    async def probe(self, questions: Sequence[tuple[str, str]]) -> None:
        """Make sure that each (type, permission) is known to the engine.

        Raises:
            PermissionUnknown: one is not.
            RemoteError: no answer.
        """

    async def aclose(self) -> None:
        """Give back what it holds."""
