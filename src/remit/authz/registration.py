"""Registration: all relationships of a new resource in one step, with its row, and their removal."""

from remit.authz.engine import Connection, Engine
from remit.authz.model import Relationship, Resource, Subject


def relationships_of_task(task_id: str, tenant_id: str, agent_id: str, owner: Subject | None) -> list[Relationship]:
    """What a new task is registered with: its tenant, its parent agent, and its creator as owner.

    Args:
        task_id: the task.
        tenant_id: its tenant.
        agent_id: the agent that works on it.
        owner: its creator; None for what was made outside a request, which tenant and agent reach all the same.
    """
    task = Resource("task", task_id)
    relationships = [
        Relationship(task, "tenant", Subject("tenant", tenant_id)),
        Relationship(task, "parent_agent", Subject("agent", agent_id)),
    ]
    if owner is not None:
        relationships.append(Relationship(task, "owner", owner))
    return relationships


def relationships_of_agent(
    agent_id: str, tenant_id: str, owner: Subject | None, *, private: bool = False
) -> list[Relationship]:
    """What a new agent is registered with: its tenant, its place among the tenant's agents, its owner, its users.

    Args:
        agent_id: the agent.
        tenant_id: its tenant.
        owner: who enrolled it, when that was a user or a service account.
        private: leave out the tenant's members, who may otherwise read and call it.
    """
    agent = Resource("agent", agent_id)
    relationships = [
        Relationship(agent, "tenant", Subject("tenant", tenant_id)),
        Relationship(Resource("tenant", tenant_id), "agent_member", Subject("agent", agent_id)),
    ]
    if owner is not None:
        relationships.append(Relationship(agent, "owner", owner))
    if not private:
        relationships.append(Relationship(agent, "viewer", Subject("tenant", tenant_id, "member")))
    return relationships


def relationships_of_api_key(key_id: str, tenant_id: str, agent_id: str, creator: Subject | None) -> list[Relationship]:
    """What a new key of an agent is registered with: its tenant, its agent, its creator as owner.

    Args:
        key_id: the key.
        tenant_id: its tenant.
        agent_id: the agent whose key it is.
        creator: who made it, None for an operator; an agent is recorded as its creator, but owns no key.
    """
    key = Resource("api_key", key_id)
    relationships = [
        Relationship(key, "tenant", Subject("tenant", tenant_id)),
        Relationship(key, "parent_agent", Subject("agent", agent_id)),
    ]
    if creator is not None and creator.type != "agent":
        relationships.append(Relationship(key, "owner", creator))
    return relationships


async def deregister(
    engine: Engine, connection: Connection, resource: Resource, *, actor: str, request_id: str | None
) -> int:
    """Remove every relationship of a resource, as resource and as subject, in the caller's transaction.

    Returns:
        How many there were; they are kept in the history.
    """
    return await engine.remove_all(connection, resource, actor=actor, request_id=request_id)
