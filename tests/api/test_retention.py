"""What is older than its retention goes, and nothing else."""

from datetime import timedelta

from support.agent import FakeAgent
from support.graph import World, text
from support.server import Server

from remit.ids import new_id
from remit.retention import remove_old
from remit.settings import Settings


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
