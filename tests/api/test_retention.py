"""What is older than its retention goes, and nothing else."""

from datetime import timedelta

from support.agent import FakeAgent
from support.graph import AgentParty, Json, World, text
from support.server import Server

from remit.ids import new_id
from remit.retention import remove_old
from remit.settings import Settings
from remit.worker import make_job_app, run_worker

CHILDREN = ("messages", "states", "events", "agent_task_trackers", "spans", "checkpoints")


async def test_only_what_is_old_goes(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    agent = await own_world.make_agent(fake.url, "async")
    task = await own_world.alice.make_task(agent)
    seed = own_world.seed
    for number in range(4):
        params = {"task_id": task["id"], "content": text(str(number))}
        assert (await own_world.alice.rpc(agent, "event/send", params)).status_code == 200
        span = {"trace_id": "t", "task_id": task["id"], "name": str(number), "start_time": "2020-01-01T00:00:00Z"}
        assert (await own_world.alice.post("/spans", span)).status_code == 200
    await own_world.alice.share(task, own_world.bob, "viewer")
    await own_world.alice.share(task, own_world.bob, "editor")
    day = timedelta(days=1)
    kept = Settings(event_retention=day, span_retention=day, audit_retention=day)
    before = {table: await seed.fetch(f"SELECT id FROM {table} ORDER BY id") for table in ("events", "spans", "audit")}
    assert await remove_old(own_server.database, Settings()) == dict.fromkeys(
        ("stream_entries", "task_turns", "idempotent_requests"), 0
    )
    removed = await remove_old(own_server.database, kept)
    assert (removed["events"], removed["spans"], removed["audit"]) == (0, 0, 0)

    # An id of another time is what age is to tables that go by id.
    oldest = before["events"][0]["id"]
    await seed.execute("UPDATE events SET id = '01900000-0000-7000-8000-000000000000' WHERE id = $1", oldest)
    await seed.execute("UPDATE spans SET created_at = now() - interval '25 hours' WHERE name IN ('0', '1')")
    await seed.execute(
        "UPDATE audit SET id = '01900000-0000-7000-8000-000000000000'"
        " WHERE id = (SELECT min(id::text)::uuid FROM audit)"
    )
    removed = await remove_old(own_server.database, kept)
    assert (removed["events"], removed["spans"], removed["audit"]) == (1, 2, 1)
    assert await seed.fetch("SELECT id FROM events ORDER BY id") == before["events"][1:]
    assert [row["name"] for row in await seed.fetch("SELECT name FROM spans ORDER BY name")] == ["2", "3"]


async def test_more_than_a_batch_goes(own_server: Server, own_world: World) -> None:
    await own_world.seed.execute(
        "INSERT INTO stream_entries (task_id, data, created_at)"
        " SELECT gen_random_uuid(), '{}', now() - interval '2 hours' FROM generate_series(1, 2500)"
    )
    removed = await remove_old(own_server.database, Settings())
    assert removed["stream_entries"] == 2500


async def test_of_what_was_given_up_only_what_takes_nothing_away_goes(own_server: Server, own_world: World) -> None:
    """A change that an engine elsewhere refused for good; one that takes something away denies as long as it waits."""
    for revocation, age in ((0, 3), (0, 1), (1, 3), (0, None)):
        await own_world.seed.execute(
            "INSERT INTO outbox (tenant_id, resource_type, resource_id, version, revocation, dead_at)"
            " VALUES ($1, 'task', $2, 1, $3, now() - make_interval(days => $4))",
            own_world.tenant_id,
            new_id(),
            revocation,
            age,
        )
    assert "outbox" not in await remove_old(own_server.database, Settings())
    removed = await remove_old(own_server.database, Settings(outbox_retention=timedelta(days=2)))
    assert removed["outbox"] == 1
    left = await own_world.seed.fetch("SELECT revocation, dead_at IS NULL AS waits FROM outbox ORDER BY id")
    assert left == [
        {"revocation": 0, "waits": False},
        {"revocation": 1, "waits": False},
        {"revocation": 0, "waits": True},
    ]


async def make_full_task(world: World, agent: AgentParty) -> Json:
    """A task with a child of every kind."""
    task = await world.alice.make_task(agent)
    of_task = {"task_id": task["id"]}
    for path, body in (
        ("/messages", {**of_task, "content": text("x")}),
        ("/states", {**of_task, "agent_id": agent.id, "state": {}}),
        ("/spans", {**of_task, "trace_id": "t", "name": "n", "start_time": "2020-01-01T00:00:00Z"}),
        ("/checkpoints/put", {"thread_id": task["id"], "checkpoint_id": "1", "checkpoint": {"channel_versions": {}}}),
    ):
        assert (await world.alice.post(path, body)).status_code == 200, path
    assert (await world.alice.rpc(agent, "event/send", {**of_task, "content": text("x")})).status_code == 200
    return task


async def test_the_worker_removes_what_is_old_and_purges_what_was_deleted_long_ago(
    own_server: Server, own_world: World, fake: FakeAgent
) -> None:
    world, seed = own_world, own_world.seed
    gone, stays = [await world.make_agent(fake.url, "async", owner=world.alice) for _ in range(2)]
    deleted, lately, kept = [await make_full_task(world, agent) for agent in (gone, stays, stays)]
    key = {"agent_id": gone.id, "name": "k", "api_key_type": "internal"}
    assert (await world.alice.post("/agent_api_keys", key)).status_code == 200
    for path in (f"/tasks/{deleted['id']}", f"/agents/{gone.id}", f"/tasks/{lately['id']}"):
        assert (await world.alice.delete(path)).status_code == 200
    for table, id in (("tasks", deleted["id"]), ("agents", gone.id)):
        await seed.execute(f"UPDATE {table} SET updated_at = now() - interval '31 days' WHERE id = $1", id)
    await seed.execute("UPDATE spans SET created_at = now() - interval '2 days' WHERE task_id = $1", kept["id"])

    async with make_job_app(own_server.dsn).open_async() as jobs:
        (periodic,) = jobs.periodic_registry.periodic_tasks.values()
        assert periodic.cron == "*/10 * * * *"
        await periodic.task.defer_async(timestamp=0)
    await run_worker(Settings(span_retention=timedelta(days=1)), own_server.dsn, wait=False)

    assert {row["id"] for row in await seed.fetch("SELECT id FROM tasks")} == {lately["id"], kept["id"]}
    assert {row["id"] for row in await seed.fetch("SELECT id FROM agents")} == {stays.id}
    for table in CHILDREN:
        rows = await seed.fetch(f"SELECT task_id FROM {table}")
        assert {row["task_id"] for row in rows} == {lately["id"], kept["id"]} - (
            {kept["id"]} if table == "spans" else set()
        )
