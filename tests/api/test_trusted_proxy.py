"""An authenticating proxy: believed from its address and with its secret, ignored or refused otherwise."""

from collections.abc import AsyncIterator

import pytest
from support.graph import Seeder, open_seeder
from support.server import serve

SECRET = "s" * 40
PROXY = {"addresses": ["127.0.0.1/32"], "secret": SECRET, "tenant_header": "x-forwarded-tenant"}
NAMED = {"x-forwarded-user": "alice", "x-forwarded-tenant": "acme"}
FROM_PROXY = {**NAMED, "x-remit-proxy-secret": SECRET, "x-forwarded-for": "203.0.113.9"}


@pytest.fixture
async def seed(database: str) -> AsyncIterator[Seeder]:
    async with serve(database, trusted_proxy=PROXY) as server, open_seeder(database, server.url) as seeder:
        await seeder.make_tenant("acme")
        yield seeder


async def test_whom_the_proxy_names_is_the_caller(seed: Seeder) -> None:
    me = (await seed.http.get("/me", headers=FROM_PROXY)).json()
    assert (me["kind"], me["name"], me["tenant"]["name"], me["role"]) == ("user", "alice", "acme", "member")
    assert await seed.fetch("SELECT issuer FROM subjects") == [{"issuer": "proxy"}]
    await seed.execute("UPDATE subjects SET disabled_at = now()")
    assert (await seed.http.get("/me", headers=FROM_PROXY)).status_code == 401


async def test_without_the_secret_its_headers_are_read_by_nobody(seed: Seeder) -> None:
    assert (await seed.http.get("/me", headers=NAMED)).status_code == 401
    acme = (await seed.fetch("SELECT id FROM tenants"))[0]["id"]
    bob = await seed.make_subject(acme, "bob")
    assert (await bob.call("GET", "/me", headers=NAMED)).json()["name"] == "bob"
    for secret in ("", "x" * 40, SECRET[:-1], SECRET + "x"):
        spoofed = {**FROM_PROXY, "x-remit-proxy-secret": secret}
        assert (await seed.http.get("/me", headers=spoofed)).status_code == 401, secret
    assert len(await seed.fetch("SELECT 1 FROM subjects")) == 1


async def test_a_name_that_comes_twice_or_empty_is_refused(seed: Seeder) -> None:
    for more in ([("x-forwarded-user", "bob")], [("x-remit-proxy-secret", SECRET)]):
        assert (await seed.http.get("/me", headers=[*FROM_PROXY.items(), *more])).status_code == 401
    for name in ("", "x" * 600):
        assert (await seed.http.get("/me", headers={**FROM_PROXY, "x-forwarded-user": name})).status_code == 401
    for tenant in ("absent", "*"):
        assert (await seed.http.get("/me", headers={**FROM_PROXY, "x-forwarded-tenant": tenant})).status_code == 403
    nobody = {"x-remit-proxy-secret": SECRET}
    assert (await seed.http.get("/me", headers=nobody)).status_code == 401


async def test_it_and_a_key_must_be_of_one_principal(seed: Seeder) -> None:
    acme = (await seed.fetch("SELECT id FROM tenants"))[0]["id"]
    bob = await seed.make_subject(acme, "bob")
    assert (await bob.call("GET", "/me", headers=FROM_PROXY)).status_code == 400


async def test_from_another_address_the_secret_is_worth_nothing(database: str) -> None:
    async with (
        serve(database, trusted_proxy={**PROXY, "addresses": ["192.0.2.0/24"]}) as server,
        open_seeder(database, server.url) as seeder,
    ):
        await seeder.make_tenant("acme")
        for headers in (FROM_PROXY, {**FROM_PROXY, "x-forwarded-for": "192.0.2.7", "x-real-ip": "192.0.2.7"}):
            assert (await seeder.http.get("/me", headers=headers)).status_code == 401
        assert await seeder.fetch("SELECT 1 FROM subjects") == []


async def test_it_is_off_unless_it_is_switched_on(database: str) -> None:
    async with serve(database) as server, open_seeder(database, server.url) as seeder:
        await seeder.make_tenant("acme")
        assert (await seeder.http.get("/me", headers=FROM_PROXY)).status_code == 401
