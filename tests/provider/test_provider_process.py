"""How `remit auth serve` listens, to whom it answers, and what it signs with."""

import asyncio
import socket
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from support.graph import make_world, open_seeder
from support.processes import START_SECONDS, clean_environment
from support.provider import SECRET_KEY, Peer, assert_done, assert_refused, run_provider

from remit.errors import Unauthenticated
from remit.identity.principal import Principal
from remit.provider.principals import derive_key, issue_principal, read_principal

CALLER = "the secret of the calling server"
NOW = datetime(2026, 11, 27, tzinfo=UTC)
ALICE = Principal("user", "0198-alice", "0198-acme", "acme", "alice", "0198-key")


def refused_start(*arguments: str, **settings: str) -> str:
    """What `remit auth serve` says when it does not start."""
    ended = subprocess.run(
        [sys.executable, "-m", "remit", "auth", "serve", *arguments],
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    return ended.stderr


def start_on_socket(path: Path, dsn: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "remit", "auth", "serve", "--socket", str(path)],
        env=clean_environment(REMIT_DATABASE_URL=dsn, REMIT_SECRET_KEY=SECRET_KEY),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_until_listening(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Return when somebody answers on a unix socket."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the process ended with {process.returncode}"
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                time.sleep(0.05)
            else:
                return
    raise AssertionError("nobody listens")


async def test_only_callers_with_the_secret_are_answered_where_one_is_set(database: str) -> None:
    with run_provider(database, REMIT_AUTH_CALLER_SECRET=CALLER) as running:
        async with open_seeder(database, running.url) as seed:
            alice = (await make_world(seed)).alice
            key = {"authorization": f"Bearer {alice.key}"}
            for peer, headers in (
                (Peer(seed.http), {}),
                (Peer(seed.http), {"x-remit-caller-secret": "wrong"}),
                (Peer(seed.http, "/caller/wrong"), {}),
                (Peer(seed.http, "/caller"), {}),
            ):
                response = await peer.authn({**key, **headers})
                assert_refused(response, 401)
                # A caller that knows this header does not blame its user.
                assert response.headers["x-service-account-auth-error"] == "unauthenticated"
            for path in ("/metrics", "/openapi.json", "/v1/authz/check"):
                assert (await seed.http.get(path)).status_code == 401, path
            told = await Peer(seed.http).authn({**key, "x-remit-caller-secret": CALLER})
            assert told.json()["user_id"] == alice.id
            # The contract has no header for it, so an address that holds the secret will do.
            peer = Peer(seed.http, f"/caller/{CALLER}")
            principal = await peer.principal(alice)
            assert_done(await peer.register(principal, "task", "t1"))
            assert await peer.may(principal, "task", "t1", "read")
            assert CALLER not in (await seed.http.get("/metrics", headers={"x-remit-caller-secret": CALLER})).text


async def test_the_log_has_neither_secrets_nor_principals(database: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with run_provider(database, log=log, REMIT_AUTH_CALLER_SECRET=CALLER, REMIT_LOG_LEVEL="debug") as running:
        async with open_seeder(database, running.url) as seed:
            alice = (await make_world(seed)).alice
            peer = Peer(seed.http, f"/caller/{CALLER}")
            principal = await peer.principal(alice)
            assert await peer.may(principal, "task", "*", "create")
            assert_refused(await Peer(seed.http, "/caller/guessed").authn({}), 401)
    text = log.read_text()
    assert "/v1/authz/check" in text
    for secret in (CALLER, "guessed", alice.secret, principal["mac"], SECRET_KEY):
        assert secret not in text


async def test_principals_hold_across_processes_with_the_same_key_only(database: str) -> None:
    with (
        run_provider(database) as one,
        run_provider(database) as two,
        run_provider(database, REMIT_SECRET_KEY="x" * 40) as other,
    ):
        async with open_seeder(database, one.url) as seed:
            alice = (await make_world(seed)).alice
            principal = await Peer(seed.http).principal(alice)
            async with httpx.AsyncClient(base_url=two.url, trust_env=False) as http:
                assert await Peer(http).may(principal, "task", "*", "create")
            async with httpx.AsyncClient(base_url=other.url, trust_env=False) as http:
                assert_refused(await Peer(http).check(principal, "task", "*", "create"), 401)


async def test_a_private_agent_is_its_owners_alone(database: str) -> None:
    with run_provider(database, REMIT_AUTH_PRIVATE_AGENTS="true") as running:
        async with open_seeder(database, running.url) as seed:
            world, peer = await make_world(seed), Peer(seed.http)
            alice, bob = await peer.principal(world.alice), await peer.principal(world.bob)
            assert_done(await peer.register(alice, "agent", "a1"))
            assert await peer.may(alice, "agent", "a1", "execute")
            assert not await peer.may(bob, "agent", "a1", "execute")


async def test_a_unix_socket_is_for_its_own_user(database: str, data_dir: Path) -> None:
    path = data_dir / "auth.sock"
    with socket.socket(socket.AF_UNIX) as dead:  # what a killed process leaves
        dead.bind(str(path))
    process = start_on_socket(path, database)
    try:
        await asyncio.to_thread(wait_until_listening, path, process)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://provider", trust_env=False) as http:
            assert (await http.get("/readyz")).status_code == 200
            assert (await http.post("/v1/authn")).status_code == 401
        taken = refused_start("--socket", str(path), REMIT_DATABASE_URL=database, REMIT_SECRET_KEY=SECRET_KEY)
        assert "cannot listen" in taken
    finally:
        process.terminate()
        process.wait(20)
    assert not path.exists()


def test_it_does_not_start_open_to_others_or_without_a_key(data_dir: Path) -> None:
    where = {"REMIT_DATA_DIR": str(data_dir), "REMIT_SECRET_KEY": SECRET_KEY}
    assert "REMIT_AUTH_CALLER_SECRET" in refused_start("--host", "0.0.0.0", **where)
    assert "REMIT_AUTH_CALLER_SECRET" in refused_start("--host", "::", **where)
    assert "REMIT_SECRET_KEY" in refused_start(REMIT_DATA_DIR=str(data_dir))
    short = refused_start(REMIT_DATA_DIR=str(data_dir), REMIT_SECRET_KEY="short and known")
    assert "REMIT_SECRET_KEY" in short
    assert "short and known" not in short


def test_a_principal_ends_when_its_lifetime_does() -> None:
    key = derive_key(SECRET_KEY)
    principal = issue_principal(key, ALICE, lifetime=timedelta(hours=1), now=NOW)
    assert read_principal(key, principal, NOW + timedelta(minutes=59)).subject.id == ALICE.id
    with pytest.raises(Unauthenticated, match="expired"):
        read_principal(key, principal, NOW + timedelta(hours=1))
    with pytest.raises(Unauthenticated, match="handed out"):
        read_principal(key, {**principal, "expires_at": (NOW + timedelta(days=9)).isoformat()}, NOW)
    with pytest.raises(Unauthenticated, match="handed out"):
        read_principal(key, {name: item for name, item in principal.items() if name != "expires_at"}, NOW)


def test_a_principal_without_a_lifetime_holds() -> None:
    key = derive_key(SECRET_KEY)
    principal = issue_principal(key, ALICE, lifetime=None, now=NOW)
    claim = read_principal(key, principal, NOW + timedelta(days=3650))
    assert (claim.account_id, claim.credential_id) == (ALICE.tenant_id, ALICE.key_id)


async def test_an_expired_principal_is_refused_over_http(database: str) -> None:
    with run_provider(database, REMIT_AUTH_PRINCIPAL_LIFETIME="PT1H") as running:
        async with open_seeder(database, running.url) as seed:
            world, peer = await make_world(seed), Peer(seed.http)
            fresh = await peer.principal(world.alice)
            assert await peer.may(fresh, "task", "*", "create")
            ended = datetime.fromisoformat(fresh["issued_at"]) - timedelta(days=1)
            (key_id,) = [
                row["id"] for row in await seed.fetch("SELECT id FROM api_keys WHERE subject_id = $1", world.alice.id)
            ]
            whom = Principal("user", world.alice.id, world.tenant_id, "t", "alice", key_id)
            old = issue_principal(derive_key(SECRET_KEY), whom, lifetime=timedelta(hours=1), now=ended)
            assert "expired" in assert_refused(await peer.check(old, "task", "*", "create"), 401)
