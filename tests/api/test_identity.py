"""Who made it, and who am I."""

from support.agent import FakeAgent
from support.graph import World

from remit.authz.model import Resource, Subject

CREATORS = ("creator_user_id", "creator_service_account_id", "creator_agent_id")


async def test_a_task_names_its_one_creator(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    for party, column, shown in (
        (world.alice, "creator_user_id", "alice"),
        (world.bot, "creator_service_account_id", "bot"),
        (agent, "creator_agent_id", agent.id),
    ):
        created = await party.make_task(agent)
        read = (await party.get(f"/tasks/{created['id']}")).json()
        listed = (await party.get("/tasks")).json()[0]
        for task in (created, read, listed):
            assert {name: task[name] for name in CREATORS} == {**dict.fromkeys(CREATORS), column: shown}


async def test_a_body_cannot_name_the_creator(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent, creator_user_id="bob", creator_agent_id=agent.id)
    assert (task["creator_user_id"], task["creator_agent_id"]) == ("alice", None)


async def test_an_agent_that_a_user_registers_names_him(world: World) -> None:
    body = {"name": "mine", "acp_url": "http://127.0.0.1:9"}
    agent = (await world.bot.post("/agents/register", body)).json()
    assert agent["creator_service_account_id"] == "bot"
    assert (agent["creator_user_id"], agent["creator_agent_id"]) == (None, None)


async def test_me_tells_kind_tenant_role_and_what_one_may_create(world: World) -> None:
    agent = await world.make_agent(None)
    for party, kind, role, may_create in (
        (world.alice, "user", "member", ["task", "agent"]),
        (world.root, "user", "admin", ["task", "agent"]),
        (world.viewer, "user", "viewer", []),
        (world.bot, "service_account", "member", ["task", "agent"]),
        (agent, "agent", "agent_member", ["task"]),
    ):
        me = (await party.get("/me")).json()
        assert (me["kind"], me["id"], me["name"], me["role"], me["may_create"]) == (
            kind,
            party.id,
            party.name,
            role,
            may_create,
        )
        assert me["tenant"]["id"] == world.tenant_id


async def test_a_role_that_a_group_holds_is_its_members_role(world: World) -> None:
    outsider = await world.seed.make_subject(world.tenant_id, "outsider", role=None)
    assert (await outsider.get("/me")).json()["role"] is None
    group = await world.seed.make_group(world.tenant_id, "admins", [outsider])
    async with world.seed.database.transaction() as connection:
        await world.seed.grant(
            connection, Resource("tenant", world.tenant_id), "admin", Subject("group", group.id, "member")
        )
    assert (await outsider.get("/me")).json()["role"] == "admin"
