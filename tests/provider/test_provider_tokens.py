"""Tokens of identity providers at `/v1/authn`: their principals end with the token, its holder and its account."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from support.graph import Seeder, open_seeder
from support.issuer import Issuer, run_issuer
from support.provider import SECRET_KEY, Peer, assert_done, assert_refused
from support.server import serve

from remit.errors import Unauthenticated
from remit.ids import new_id
from remit.provider.app import create_provider_app
from remit.provider.principals import derive_key, read_principal
from remit.settings import Settings


@dataclass
class Site:
    """A provider that knows an issuer, with the accounts acme and globex."""

    issuer: Issuer
    seed: Seeder
    peer: Peer
    acme: str

    def shown(self, token: str, **headers: str) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {token}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }


@pytest.fixture
async def site(database: str) -> AsyncIterator[Site]:
    async with run_issuer() as issuer:
        settings = Settings.model_validate({"secret_key": SECRET_KEY, "identity_providers": [issuer.provider()]})
        async with (
            serve(database, create_provider_app(settings, database)) as server,
            open_seeder(database, server.url) as seed,
        ):
            acme = await seed.make_tenant("acme")
            await seed.make_tenant("globex")
            yield Site(issuer, seed, Peer(seed.http), acme)


async def test_a_tokens_principal_is_its_subject_and_ends_with_it(site: Site) -> None:
    peer = site.peer
    answer = await peer.authn(site.shown(site.issuer.token("alice", tenants="acme")))
    assert answer.status_code == 200, answer.text
    principal = answer.json()
    (subject,) = await site.seed.fetch("SELECT id, external_id, issuer FROM subjects")
    assert (principal["user_id"], principal["account_id"]) == (subject["id"], site.acme)
    assert (subject["external_id"], subject["issuer"]) == ("alice", site.issuer.url)
    assert principal["principal_type"] == "user"
    assert "credential_id" not in principal
    # It asks and registers like that of a key.
    assert await peer.may(principal, "task", "*", "create")
    agent = new_id()
    assert_done(await peer.register(principal, "agent", agent))
    assert await peer.may(principal, "agent", agent, "delete")
    assert await peer.search(principal, "agent") == {agent}
    # It ends with the token, and nobody can make it last.
    ends = datetime.fromisoformat(principal["expires_at"])
    assert timedelta(0) < ends - datetime.now(UTC) <= timedelta(minutes=5)
    with pytest.raises(Unauthenticated):
        read_principal(derive_key(SECRET_KEY), principal, ends)
    for changed in ({"expires_at": (ends + timedelta(days=1)).isoformat()}, {"credential_id": new_id()}):
        assert_refused(await peer.check({**principal, **changed}, "agent", agent, "read"), 401)
    without_end = {name: value for name, value in principal.items() if name != "expires_at"}
    assert_refused(await peer.check(without_end, "agent", agent, "read"), 401)
    # It is over at once where its holder is disabled, whatever the caller has kept.
    await site.seed.execute("UPDATE subjects SET disabled_at = now()")
    assert_refused(await peer.check(principal, "agent", agent, "read"), 401)
    assert_refused(await peer.authn(site.shown(site.issuer.token("alice", tenants="acme"))), 401)
    await site.seed.execute("UPDATE subjects SET disabled_at = NULL")
    assert await peer.may(principal, "agent", agent, "read")
    await site.seed.execute("UPDATE tenants SET disabled_at = now() WHERE name = 'acme'")
    assert_refused(await peer.check(principal, "agent", agent, "read"), 401)


async def test_an_account_is_selected_among_those_of_the_token(site: Site) -> None:
    both = site.issuer.token("bob", tenants=["acme", "globex"])
    assert_refused(await site.peer.authn(site.shown(both)), 401)
    chosen = await site.peer.authn(site.shown(both, x_selected_account_id="acme"))
    assert chosen.json()["account_id"] == site.acme
    one = site.issuer.token("carol", tenants="globex")
    assert_refused(await site.peer.authn(site.shown(one, x_selected_account_id="acme")), 401)
    nowhere = site.issuer.token("dave", tenants="nowhere")
    assert_refused(await site.peer.authn(site.shown(nowhere)), 401)


async def test_a_token_that_is_not_good_is_401_and_an_outage_503(site: Site) -> None:
    good = site.issuer.token("alice", tenants="acme")
    key = await site.seed.make_subject(site.acme, "by-hand")
    assert_refused(await site.peer.authn(site.shown(good, x_api_key=key.secret)), 401)
    head, body, _ = good.split(".")
    for bad in (f"{head}.{body}.AAAA", site.issuer.token("alice", tenants="acme", aud="other"), "ey.a.b"):
        assert_refused(await site.peer.authn(site.shown(bad)), 401)
    site.issuer.add_key("k2", publish=False)
    assert_refused(await site.peer.authn(site.shown(site.issuer.token("alice", kid="k2", tenants="acme"))), 401)
    site.issuer.away = True
    away = await site.peer.authn(site.shown(site.issuer.token("alice", kid="k2", tenants="acme")))
    assert away.status_code == 503
