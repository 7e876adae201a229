"""Registering and removing other servers' resources.

The resources are relationships only; their rows are the caller's. Who registers needs the right to create, and the
right on the parent that the caller's own rules ask for, so that a principal cannot hang a resource under an agent that
is not his. A resource that is registered belongs to its owner: nobody takes it over by registering it again.
"""

from typing import NoReturn

from remit.authz.errors import PermissionUnknown, RelationshipError
from remit.authz.model import Relationship, Resource, Subject, stands_in, subjects_in
from remit.errors import Forbidden
from remit.provider.names import to_resource
from remit.provider.questions import CREATES, Question, ask
from remit.provider.standing import Asker

# What the principal needs on a parent agent: what the caller asks as well before it creates.
_ON_PARENT = {"task": "execute", "api_key": "update", "schedule": "update"}


async def register(asker: Asker, type: str, selector: str, parent: tuple[str, str] | None) -> Resource:
    """Make the principal the owner of a new resource, and return it: account, owner and parent in one step.

    The same registration again changes nothing.

    Args:
        asker: who registers.
        type: the resource's type.
        selector: the caller's id of it.
        parent: type and id of the resource it belongs to.

    Raises:
        Forbidden: he may not create it, may not put it under this parent, or it is registered otherwise.
    """
    resource = _named(asker, "register", type, selector)
    above = _parent_of(asker, resource, parent)
    await _lock(asker, resource)
    facts = await _read(asker, resource)
    if facts:
        parents = subjects_in(facts, "parent_agent")
        same_parent = parents == ([Subject(above.type, above.id)] if above else [])
        if not same_parent or not stands_in(facts, "owner", asker.subject):
            _refuse(asker, "register", resource, f"This {type} is registered already.")
    else:
        await _create(asker, resource, above)
    return resource


async def grant(asker: Asker, type: str, selector: str, operation: str) -> tuple[Resource, bool]:
    """Confirm what the principal holds; a resource that nobody registered becomes his.

    A request proves nothing but that the principal wants it, so a grant on what others own gives nothing.

    Returns:
        The resource, and whether it was registered just now.

    Raises:
        Forbidden: he holds no such thing.
    """
    resource = _named(asker, "grant", type, selector)
    await _lock(asker, resource)
    if not await _read(asker, resource):
        if operation != "create":
            _refuse(asker, "grant", resource, f"You may not {operation} this {type}.")
        await _create(asker, resource, None)
        return resource, True
    if not (await ask(asker, [("update" if operation == "create" else operation, resource)]))[0]:
        _refuse(asker, "grant", resource, f"This {type} belongs to somebody else.")
    return resource, False


async def may_remove(asker: Asker, action: str, type: str, selector: str) -> Resource | None:
    """The resource, if the principal may remove it; None if it is not registered.

    The owner may always: what hangs under an agent that is gone can be deleted by nobody else.

    Raises:
        Forbidden: he is not its owner, may not delete it, and does not manage the account.
    """
    resource = to_resource(asker.account_id, type, selector)
    if resource is None:
        return None
    await _lock(asker, resource)
    facts = await _read(asker, resource)
    if not facts:
        return None
    if not stands_in(facts, "owner", asker.subject) and not any(
        await ask(asker, [("delete", resource), ("manage", asker.tenant)])
    ):
        _refuse(asker, action, resource, f"You may not delete this {type}.")
    return resource


async def remove(asker: Asker, resource: Resource) -> None:
    """Remove every relationship of a resource, as resource and as subject."""
    await asker.provider.engine.remove_all(
        asker.connection, resource, actor=str(asker.subject), request_id=asker.request_id
    )


async def _create(asker: Asker, resource: Resource, parent: Resource | None) -> None:
    questions: list[Question] = []
    if resource.type in CREATES:
        questions.append((CREATES[resource.type], asker.tenant))
    if parent is not None:
        questions.append((_ON_PARENT[resource.type], parent))
    if not questions or not all(await ask(asker, questions)):
        _refuse(asker, "register", resource, f"You may not create this {resource.type}.")
    relationships = [
        Relationship(resource, "tenant", Subject("tenant", asker.account_id)),
        Relationship(resource, "owner", asker.subject),
    ]
    if parent is not None:
        relationships.append(Relationship(resource, "parent_agent", Subject(parent.type, parent.id)))
    if resource.type == "agent" and not asker.provider.settings.auth_private_agents:
        relationships.append(Relationship(resource, "viewer", Subject("tenant", asker.account_id, "member")))
    try:
        await asker.provider.engine.write(
            asker.connection, touch=relationships, actor=str(asker.subject), request_id=asker.request_id
        )
    except RelationshipError as error:
        # An agent's own key cannot own an agent, and an operator's schema may know less.
        raise Forbidden(f"A {asker.subject.type} cannot own a {resource.type} here.") from error


def _named(asker: Asker, action: str, type: str, selector: str) -> Resource:
    resource = to_resource(asker.account_id, type, selector)
    if resource is None:
        _refuse(asker, action, Resource(type, selector[:100]), f"No {type} can have this id.")
    return resource


def _parent_of(asker: Asker, resource: Resource, parent: tuple[str, str] | None) -> Resource | None:
    if parent is None:
        return None
    above = to_resource(asker.account_id, *parent)
    if above is None or above.type != "agent" or resource.type not in _ON_PARENT:
        _refuse(asker, "register", resource, f"A {resource.type} cannot belong to this parent.")
    return above


async def _lock(asker: Asker, resource: Resource) -> None:
    # Two that register the same id at once must not both become its owner.
    await asker.connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", str(resource))


async def _read(asker: Asker, resource: Resource) -> list[Relationship]:
    try:
        return await asker.provider.engine.read(asker.connection, resource)
    except PermissionUnknown as error:
        raise Forbidden(f"This provider's schema has no {resource.type}.") from error


def _refuse(asker: Asker, action: str, resource: Resource, message: str) -> NoReturn:
    asker.refused(f"{resource.type}.{action}", resource)
    raise Forbidden(message)
