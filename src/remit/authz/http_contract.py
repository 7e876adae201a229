"""Remit's questions and relationships in the words of the auth-provider contract."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from remit.authz.errors import PermissionUnknown
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.remote import NotOffered

TYPES: Final = frozenset({"agent", "task", "api_key", "schedule"})


OPERATIONS: Final = frozenset({"create", "read", "update", "delete", "execute", "cancel"})


_CREATES: Final = {"create_agent": "agent", "create_task": "task"}


_INSTEAD: Final = {"share": "delete"}


PrincipalSource = Callable[[Subject | None, str | None], Awaitable[Mapping[str, Any]]]
"""Makes the principal for a call: of a subject, None for Remit itself, and the account where that is known."""


async def plain_principal(subject: Subject | None, account_id: str | None) -> Mapping[str, Any]:
    """The principal of a subject in the contract's words: `principal_type`, `<type>_id` and, where known, `account_id`.

    Remit itself, outside of a request, is `{"principal_type": "system"}`.
    """
    account = {} if account_id is None else {"account_id": account_id}
    if subject is None:
        return {"principal_type": "system", **account}
    return {"principal_type": subject.type, f"{subject.type}_id": subject.id, **account}


def is_expressible(relationship: Relationship) -> bool:
    """Whether a provider can be told of a relationship: of an owner, or of what registration implies."""
    if relationship.relation in ("tenant", "parent_agent"):
        return True
    if relationship.relation == "owner":
        return relationship.subject.relation is None
    # Enrolment shares an agent with the tenant's members; with whom a registered one is shared, its provider says.
    return relationship.subject.type == "tenant"


def to_contract(permission: str, resource: Resource) -> tuple[str, str, str]:
    """A question in the contract's words: type, selector, operation.

    Raises:
        NotOffered: the contract has no such question about a tenant or a group.
        PermissionUnknown: the contract has no such operation.
    """
    if resource.type not in TYPES:
        if resource.type == "tenant" and permission in _CREATES:
            return _CREATES[permission], "*", "create"
        raise NotOffered(f"an auth provider is not asked for `{permission}` on a {resource.type}")
    operation = _INSTEAD.get(permission, permission)
    if operation not in OPERATIONS:
        raise PermissionUnknown(f"the auth-provider contract has no operation `{permission}`")
    return resource.type, resource.id, operation
