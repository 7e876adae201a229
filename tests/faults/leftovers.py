"""What a provider holds, compared with what it was told of: the contract has no way to ask, so its database is read."""

from support.graph import Seeder

from faults.people import People
from faults.site import Site
from remit.authz.model import Relationship, Resource, Subject
from remit.provider.names import to_resource

_TABLES = {"agent": "agents", "task": "tasks", "api_key": "agent_api_keys"}


async def find_leftovers(site: Site, people: People) -> tuple[list[str], list[str]]:
    """What a provider holds of a tenant otherwise than the server's own relationships say.

    Returns:
        What is wrong of resources that are there, and what is left of resources that are gone.
    """
    provider, there = site.beside.provider, people.there
    if provider is None or there is None:
        return [], []
    here = await _read(site.seed, people.tenant_id, {people.alice.id: there.owner.id})
    ids = {named.id: id for id in here for named in [_named(there.tenant_id, id)]}
    wrong, gone = [], []
    for resource, facts in here.items():
        named = _named(there.tenant_id, resource)
        wanted = {
            (one.relation, _subject(there.tenant_id, one.subject), one.subject.relation)
            for one in facts
            if one.relation in ("owner", "parent_agent")
        }
        held = {
            (one.relation, one.subject.id, one.subject.relation)
            for one in await provider.relationships_of(named.type, named.id)
            if one.relation in ("owner", "parent_agent")
        }
        if wanted != held:
            wrong.append(f"provider: {resource} should be {sorted(wanted)} and is {sorted(held)}")
    rows = await provider.fetch(
        "SELECT y.name AS type, i.text AS id FROM relationships r JOIN authz_types y ON y.code = r.resource_type"
        " JOIN authz_relations n ON n.code = r.relation AND n.name = 'owner'"
        " JOIN authz_ids i ON i.type = r.resource_type AND i.id = r.resource_id WHERE i.text LIKE $1",
        f"{there.tenant_id}/%",
    )
    gone = [f"{row['type']} {row['id']}" for row in rows if row["id"] not in ids]
    return wrong, gone


async def _read(seed: Seeder, tenant_id: str, names: dict[str, str]) -> dict[Resource, list[Relationship]]:
    """The local relationships of a tenant's resources that have some, its people named as at the provider."""
    found = {}
    for type, table in _TABLES.items():
        for row in await seed.fetch(f"SELECT id::text AS id FROM {table} WHERE tenant_id = $1", tenant_id):
            facts = await seed.relationships_of(type, row["id"])
            if facts:
                found[Resource(type, row["id"])] = [
                    Relationship(
                        one.resource,
                        one.relation,
                        Subject(one.subject.type, names.get(one.subject.id, one.subject.id), one.subject.relation),
                    )
                    for one in facts
                ]
    return found


def _named(account: str, resource: Resource) -> Resource:
    named = to_resource(account, resource.type, resource.id)
    assert named is not None, "ids of rows are good"
    return named


def _subject(account: str, subject: Subject) -> str:
    return _named(account, Resource("agent", subject.id)).id if subject.type == "agent" else subject.id
