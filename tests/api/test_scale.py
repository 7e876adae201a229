"""Many at once, on two server processes behind one database: writers of events, and readers of streams."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg
import pytest
from support.agent import FakeAgent
from support.databases import make_database
from support.graph import Party, World, make_world, open_seeder
from support.processes import run_remit

from remit.db.embedded import EmbeddedPostgres

WRITERS, EVENTS_EACH = 50, 4
STREAMS = 1_000
POOL = 4
SEEDER = 4
"""Connections of the test's own."""
WAIT_SECONDS = 120


@asynccontextmanager
async def two_servers(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[tuple[World, list[str], str]]:
    """A world, the addresses of two processes that serve it, and the database."""
    with make_database(postgres, template) as dsn:
        async with AsyncExitStack() as stack:
            starts = [
                stack.enter_context(
                    run_remit(None, REMIT_DATABASE_URL=dsn, REMIT_POOL_SIZE=str(POOL), REMIT_EMBEDDED_WORKER="false")
                )
                for _ in range(2)
            ]
            seed = await stack.enter_async_context(open_seeder(dsn, starts[0].url))
            yield await make_world(seed), [server.url for server in starts], dsn


async def test_fifty_writers_and_one_poller_over_two_processes(
    postgres: EmbeddedPostgres, template: str, fake: FakeAgent
) -> None:
    """Who asks for what follows the last event he knows misses none, wherever it was written, and sees none twice.

    Each event is committed some milliseconds after it took its number, now sooner and now later, as it happens to a
    database under load: whoever gives numbers without regard to that loses events here.
    """
    async with two_servers(postgres, template) as (world, urls, _):
        await world.seed.execute(
            "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN PERFORM pg_sleep(random() * 0.02); RETURN NULL; END$$"
        )
        await world.seed.execute("CREATE TRIGGER linger AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION linger()")
        agent = await world.make_agent(fake.url, "async")
        task = await world.alice.make_task(agent)

        async def write(number: int) -> list[str]:
            made = []
            url = f"{urls[number % 2]}/agents/{agent.id}/rpc"
            for _ in range(EVENTS_EACH):
                body = {"method": "event/send", "params": {"task_id": task["id"]}}
                answer = await world.alice.call("POST", url, json=body)
                made.append(str(answer.json()["result"]["id"]))
            return made

        async def poll(writing: "list[asyncio.Task[list[str]]]") -> list[tuple[str, int]]:
            seen: list[tuple[str, int]] = []
            while True:
                over = all(one.done() for one in writing)
                after = {"last_processed_event_id": seen[-1][0]} if seen else {}
                # No limit: who lags behind the newest event cannot miss what is committed late.
                url = f"{urls[len(seen) % 2]}/events"
                page = (await agent.get(url, task_id=task["id"], agent_id=agent.id, **after)).json()
                seen += [(event["id"], event["sequence_id"]) for event in page]
                if over and not page:
                    return seen

        async with asyncio.timeout(WAIT_SECONDS):
            writing = [asyncio.create_task(write(number)) for number in range(WRITERS)]
            seen = await poll(writing)
        made = [id for one in writing for id in one.result()]
        assert len(made) == WRITERS * EVENTS_EACH
        assert sorted(id for id, _ in seen) == sorted(made)
        assert [number for _, number in seen] == sorted(number for _, number in seen)


@pytest.fixture
def _many_files() -> None:
    """As many open files as the system lets this process have: each stream is a socket here and one in a server."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.mark.usefixtures("_many_files")
async def test_a_thousand_streams_hold_no_database_connection_each(
    postgres: EmbeddedPostgres, template: str, fake: FakeAgent
) -> None:
    async with two_servers(postgres, template) as (world, urls, dsn):
        agent = await world.make_agent(fake.url)
        task = await world.alice.make_task(agent)
        hosts = [url.removeprefix("http://").split(":") for url in urls]
        opened = [
            await _open_stream(world.alice, host, int(port), task["id"])
            for host, port in hosts
            for _ in range(STREAMS // len(hosts))
        ]
        try:
            assert len(opened) == STREAMS
            # For each process its pool, and one that listens.
            most = len(urls) * (POOL + 1) + SEEDER
            assert await asyncio.to_thread(_count_connections, dsn) <= most
            # Others are served all the while, and every reader hears of a change.
            for url in urls:
                assert (await world.alice.call("GET", f"{url}/tasks/{task['id']}")).status_code == 200
            assert (await world.alice.put(f"/tasks/{task['id']}", {"merge_params": {"a": 1}})).status_code == 200
            async with asyncio.timeout(WAIT_SECONDS):
                for reader, _ in opened:
                    assert b"task_updated" in await reader.readuntil(b"task_updated")
            assert await asyncio.to_thread(_count_connections, dsn) <= most
        finally:
            for _, writer in opened:
                writer.close()


async def _open_stream(
    party: Party, host: str, port: int, task_id: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(host, port)
    request = f"GET /tasks/{task_id}/stream HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {party.key}\r\n\r\n"
    writer.write(request.encode())
    async with asyncio.timeout(WAIT_SECONDS):
        assert b" 200 " in await reader.readline()
        await reader.readuntil(b'"connected"')
    return reader, writer


def _count_connections(dsn: str) -> int:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    return int(row[0])
