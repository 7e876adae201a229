"""Each account's checks and dual writes go where its flags say."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from support.graph import Party, Seeder, World, make_world, open_seeder
from support.provider import SECRET_KEY, Json, Peer, assert_done, assert_refused
from support.server import serve
from support.spicedb_host import run_spicedb

from remit.authz.model import Resource
from remit.errors import Conflict
from remit.provider.app import create_provider_app
from remit.provider.flags import ALIAS, Flags, default_flags
from remit.relay import relay_once
from remit.rpc.client import AgentClient
from remit.settings import Settings

EMBEDDED = {"check": "postgres", "dual_write": [], ALIAS: False}


class Other:
    """Another auth provider: it says yes to what was registered by that very user, and remembers each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Json]] = []
        self.owners: dict[str, Any] = {}
        self.status = 200
        self.url = ""

    def answer(self, verb: str, body: Json) -> tuple[int, Json]:
        self.calls.append((verb, body))
        if self.status != 200:
            return self.status, {"message": "words of the other"}
        who = body["principal"].get("user_id"), body["principal"].get("account_id")
        if verb == "search":
            return 200, {"items": [id for id, owner in self.owners.items() if owner == who]}
        id = body["resource"]["selector"]
        if verb == "register":
            self.owners[id] = who
        if verb == "deregister":
            self.owners.pop(id, None)
        if verb == "check" and self.owners.get(id) != who and id != "*":
            return 403, {"message": "words of the other"}
        return 200, {"success": True}

    @property
    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.calls]


@pytest.fixture
async def other() -> AsyncIterator[Other]:
    provider, app = Other(), FastAPI()

    @app.post("/v1/authz/{verb}")
    async def handle(verb: str, request: Request) -> Response:
        status, body = provider.answer(verb, await request.json())
        return Response(httpx.Response(200, json=body).content, status, media_type="application/json")

    async with serve("no database", app) as server:
        provider.url = server.url
        yield provider


async def flags_of(party: Party) -> httpx.Response:
    return await party.get(f"/v1/accounts/{party.tenant_id}/flags")


async def set_flags(party: Party, **flags: Any) -> Json:
    response = await party.put(f"/v1/accounts/{party.tenant_id}/flags", flags)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


# who may, and what is said ------------------------------------------------------------------------------------------


async def test_an_account_without_flags_has_the_default(world: World) -> None:
    response = await flags_of(world.root)
    assert response.json() == {"account_id": world.tenant_id, **EMBEDDED, "updated_at": None}


async def test_only_who_manages_the_account_sees_or_sets_its_flags(world: World, seed: Seeder) -> None:
    path = f"/v1/accounts/{world.tenant_id}/flags"
    for party, status in ((world.nobody, 401), (world.alice, 403), (world.viewer, 403), (world.mallory, 404)):
        assert_refused(await party.get(path), status)
        assert_refused(await party.put(path, {"check": "postgres"}), status)
    absent = await world.mallory.get(f"/v1/accounts/{uuid.uuid4()}/flags")
    assert absent.status_code == 404
    assert await seed.fetch("SELECT * FROM account_flags WHERE tenant_id = $1", world.tenant_id) == []


async def test_a_change_is_audited(world: World, seed: Seeder) -> None:
    answer = await set_flags(world.root, **{ALIAS: False})
    assert answer["updated_at"]
    (row,) = await seed.fetch(
        "SELECT actor_id, outcome, detail FROM audit WHERE tenant_id = $1 AND action = 'account.flags'", world.tenant_id
    )
    plain = {"check": "postgres", "dual_write": []}
    assert row == {"actor_id": world.root.id, "outcome": "done", "detail": {"before": plain, "after": plain}}


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ({"check": "spicedb", "dual_write": ["spicedb"]}, 409),
        ({"check": "http", "dual_write": ["http"]}, 409),
        ({ALIAS: True}, 409),
        ({"check": "elsewhere"}, 422),
        ({"dual_write": ["postgres"]}, 422),
        ({"chek": "postgres"}, 422),
        ({"check": "postgres", ALIAS: True}, 422),
    ],
)
async def test_what_this_server_cannot_do_is_refused(world: World, flags: Json, status: int) -> None:
    assert_refused(await world.root.put(f"/v1/accounts/{world.tenant_id}/flags", flags), status)
    assert (await flags_of(world.root)).json()["updated_at"] is None


def test_the_alias_in_the_environment_is_the_default() -> None:
    assert default_flags({"http"}, {}) == Flags()
    assert default_flags({"http"}, {ALIAS: "false"}) == Flags()
    assert default_flags({"http"}, {ALIAS: "true"}) == Flags("http", ("http",))
    assert default_flags({"http", "spicedb"}, {ALIAS: "1"}) == Flags("spicedb", ("spicedb",))
    with pytest.raises(Conflict):
        default_flags((), {ALIAS: "true"})


# an auth provider elsewhere -----------------------------------------------------------------------------------------


@pytest.fixture
async def routed(database: str, other: Other) -> AsyncIterator[tuple[World, Peer, Peer]]:
    """A world with two providers over one database, which have another provider to route to."""
    settings = Settings(secret_key=SECRET_KEY, authz_url=other.url, authz_timeout=2.0)
    async with (
        serve(database, create_provider_app(settings, database)) as one,
        serve(database, create_provider_app(settings, database)) as two,
        open_seeder(database, one.url) as seed,
        httpx.AsyncClient(base_url=two.url, trust_env=False, timeout=30) as http,
    ):
        yield await make_world(seed), Peer(seed.http), Peer(http)


async def test_a_flag_of_one_account_changes_that_account_alone_and_at_once_everywhere(
    routed: tuple[World, Peer, Peer], other: Other
) -> None:
    world, peer, second = routed
    alice, mallory = await peer.principal(world.alice), await peer.principal(world.mallory)
    assert_done(await peer.register(alice, "task", "before"))
    assert other.calls == []
    answer = await set_flags(world.root, **{ALIAS: True}, dual_write=["http"])
    assert (answer["check"], answer["dual_write"], answer[ALIAS]) == ("http", ["http"], True)
    # The other process has not been told anything.
    assert_done(await second.register(alice, "task", "after"))
    assert other.calls == [
        (
            "register",
            {
                "principal": {"principal_type": "user", "user_id": "alice", "account_id": world.tenant_id},
                "resource": {"type": "task", "selector": "after"},
                "parent": None,
            },
        )
    ]
    assert await second.may(alice, "task", "after", "read")
    assert not await peer.may(alice, "task", "before", "read")
    assert await peer.search(alice, "task") == {"after"}
    assert await peer.may(alice, "task", "*", "create")
    told = len(other.calls)
    assert_done(await peer.register(mallory, "task", "hers"))
    assert await peer.may(mallory, "task", "hers", "read")
    assert len(other.calls) == told
    await set_flags(world.root, check="postgres")
    assert await second.may(alice, "task", "before", "read")
    assert await second.may(alice, "task", "after", "read")
    assert_done(await peer.deregister(alice, "task", "after"))
    assert other.verbs[-1] == "deregister"
    assert other.owners == {}


async def test_checks_are_not_sent_where_nothing_is_written(routed: tuple[World, Peer, Peer]) -> None:
    world, _, _ = routed
    assert_refused(await world.root.put(f"/v1/accounts/{world.tenant_id}/flags", {"check": "http"}), 422)


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_an_engine_elsewhere_that_gives_no_answer_allows_nothing(
    routed: tuple[World, Peer, Peer], other: Other, status: int
) -> None:
    world, peer, _ = routed
    alice = await peer.principal(world.alice)
    await set_flags(world.root, check="http", dual_write=["http"])
    assert_done(await peer.register(alice, "task", "t1"))
    other.status = status
    search = {"principal": alice, "filter_resource": "task", "filter_operation": "read"}
    for response in (
        await peer.check(alice, "task", "t1", "read"),
        await peer.post("/v1/authz/search", search),
        await peer.register(alice, "task", "t2"),
        await peer.deregister(alice, "task", "t1"),
    ):
        assert_refused(response, 503)
        assert "words of the other" not in response.text
    # Each can be repeated once it answers again.
    other.status = 200
    assert await peer.may(alice, "task", "t1", "read")
    assert_done(await peer.register(alice, "task", "t2"))
    assert_done(await peer.deregister(alice, "task", "t1"))
    assert set(other.owners) == {"t2"}


async def test_a_refusal_elsewhere_is_a_refusal(routed: tuple[World, Peer, Peer], other: Other) -> None:
    world, peer, _ = routed
    alice = await peer.principal(world.alice)
    await set_flags(world.root, dual_write=["http"])
    other.status = 403
    assert "words of the other" not in assert_refused(await peer.register(alice, "task", "t1"))


async def test_nobody_removes_elsewhere_what_is_not_his_here(routed: tuple[World, Peer, Peer], other: Other) -> None:
    world, peer, _ = routed
    alice, bob = await peer.principal(world.alice), await peer.principal(world.bob)
    await set_flags(world.root, check="http", dual_write=["http"])
    assert_done(await peer.register(alice, "task", "t1"))
    assert_refused(await peer.deregister(bob, "task", "t1"))
    assert_done(await peer.deregister(bob, "task", "unknown here"))
    assert other.verbs == ["register"]


# a real SpiceDB -----------------------------------------------------------------------------------------------------


async def test_an_account_routed_to_spicedb(database: str) -> None:
    with run_spicedb() as spice:
        settings = Settings(
            secret_key=SECRET_KEY,
            authz_engine="spicedb",
            spicedb_endpoint=spice.endpoint,
            spicedb_token=spice.token,
            spicedb_tls=False,
        )
        app = create_provider_app(settings, database)
        async with serve(database, app) as server, open_seeder(database, server.url, settings) as seed:
            world, peer = await make_world(seed), Peer(seed.http)
            deliverer, agents = app.state.provider.deliverer, AgentClient(settings, app.state.tracing)
            await deliver_all(seed, deliverer, agents)  # who is in which account
            alice, bob = await peer.principal(world.alice), await peer.principal(world.bob)
            assert_done(await peer.register(alice, "task", "before"))
            await set_flags(world.root, **{ALIAS: True}, dual_write=["spicedb"])
            assert_done(await peer.register(alice, "agent", "a:1"))
            assert_done(await peer.register(alice, "task", "t:1", ("agent", "a:1")))
            assert await peer.may(alice, "task", "t:1", "cancel")
            assert await peer.may(bob, "agent", "a:1", "execute")
            assert not await peer.may(bob, "task", "t:1", "read")
            assert await peer.may(alice, "task", "*", "create")
            assert await peer.search(alice, "task") == {"t:1"}
            assert not await peer.may(alice, "task", "before", "read")
            assert await seed.fetch("SELECT * FROM outbox") == []
            spice.process.send_signal(signal.SIGSTOP)
            assert_refused(await peer.check(alice, "task", "t:1", "read"), 503)
            assert_refused(await peer.deregister(alice, "task", "t:1"), 503)
            # It holds here, and SpiceDB has not heard of it: closed for everybody, whatever SpiceDB would say.
            assert not await peer.may(alice, "task", "t:1", "read")
            assert len(await seed.fetch("SELECT * FROM outbox WHERE revocation > 0")) == 1
            spice.process.send_signal(signal.SIGCONT)
            await deliver_all(seed, deliverer, agents)
            assert await peer.search(alice, "task") == set()
            assert not await peer.may(alice, "task", "t:1", "read")
            assert await seed.relationships_of("task", str(Resource("task", f"{world.tenant_id}/t=3A1").id)) == []
            await agents.aclose()


async def deliver_all(seed: Seeder, deliverer: Any, agents: AgentClient) -> None:
    """What the worker does, until nothing waits."""
    for _ in range(50):
        await relay_once(seed.database, agents, deliverer, timedelta(0))
        if not await seed.fetch("SELECT 1 FROM outbox"):
            return
        await seed.execute("UPDATE projections SET retry_at = now()")
        await asyncio.sleep(0.2)
    raise AssertionError(str(await seed.fetch("SELECT resource_type, last_error FROM projections")))
