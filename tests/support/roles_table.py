"""Who may do what to a task, drawn as a table from the answers of the routes."""

from support.graph import AgentParty, Json, Party, World

OPERATIONS = ("read", "update", "cancel", "delete", "share")

# Who may do what to a task that alice, a member, has made for the agent `mine`.
BY_ROLES = """
               read  update  cancel  delete  share
    alice      yes   yes     yes     yes     -
    bob        yes   yes     -       -       -
    bot        yes   yes     -       -       -
    root       yes   yes     yes     yes     yes
    viewer     yes   -       -       -       -
    mine       yes   yes     yes     yes     -
    other      -     -       -       -       -
    roleless   -     -       -       -       -
    mallory    -     -       -       -       -
"""
BY_RELATIONSHIPS = """
               read  update  cancel  delete  share
    alice      yes   yes     yes     yes     yes
    bob        -     -       -       -       -
    bot        -     -       -       -       -
    root       yes   yes     yes     yes     yes
    viewer     -     -       -       -       -
    mine       yes   yes     yes     yes     -
    other      -     -       -       -       -
    roleless   -     -       -       -       -
    mallory    -     -       -       -       -
"""
BY_BOTH = BY_RELATIONSHIPS.replace(
    "alice      yes   yes     yes     yes     yes", "alice      yes   yes     yes     yes     -  "
)


async def draw_table(parties: dict[str, Party], alice: Party, mine: AgentParty) -> str:
    """The table as the routes answer; a cancel and a delete each get a task of their own, for they work."""
    kept = await alice.make_task(mine)
    lines = [f"{'':15}" + "".join(f"{name:<8}" for name in OPERATIONS)]
    for name, party in parties.items():
        cells = []
        for operation in OPERATIONS:
            ends = operation in ("cancel", "delete")
            task = await alice.make_task(mine) if ends else kept
            cells.append("yes" if await may(party, operation, task) else "-")
        lines.append(f"    {name:<11}" + "".join(f"{cell:<8}" for cell in cells))
    return normal("\n".join(lines))


def normal(table: str) -> str:
    return "\n".join(" ".join(line.split()) for line in table.strip().splitlines())


async def may(party: Party, operation: str, task: Json) -> bool:
    path = f"/tasks/{task['id']}"
    readable = (await party.get(path)).status_code == 200
    match operation:
        case "read":
            return readable
        case "update":
            response = await party.put(path, {})
        case "cancel":
            response = await party.post(f"{path}/cancel", {})
        case "delete":
            response = await party.delete(path)
        case _:
            response = await party.get(f"{path}/access")
    assert response.status_code in ((200, 403) if readable else (404,)), response.text
    return response.status_code == 200


async def parties_of(world: World, mine: AgentParty, other: AgentParty) -> dict[str, Party]:
    roleless = await world.seed.make_subject(world.tenant_id, "roleless", None)
    named = {name: getattr(world, name) for name in ("alice", "bob", "bot", "root", "viewer")}
    return {**named, "mine": mine, "other": other, "roleless": roleless, "mallory": world.mallory}
