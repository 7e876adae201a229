"""Bearer tokens of identity providers: which are good, who they make, in which tenant, and what an outage means."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.graph import Seeder, open_seeder
from support.issuer import Issuer, run_issuer
from support.server import Server, serve

from remit.errors import Unauthenticated, Unavailable
from remit.identity.key_set import FRESH_SECONDS, LONGEST_STALE_SECONDS, KeySet
from remit.settings import IdentityProvider, Settings


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with run_issuer() as one:
        yield one


@pytest.fixture
async def other_issuer() -> AsyncIterator[Issuer]:
    async with run_issuer() as one:
        yield one


@pytest.fixture
async def seeded(database: str, issuer: Issuer, other_issuer: Issuer) -> AsyncIterator[tuple[Server, Seeder]]:
    """A server with two providers: one names tenants in a claim, the other one's people are all in `acme`."""
    providers = [
        issuer.provider(service_account_claims={"gty": "client-credentials"}, algorithms=["ES256", "RS256"]),
        other_issuer.provider(tenant_claim=None, tenant="acme", jwks_url=None, role="viewer"),
    ]
    async with (
        serve(database, identity_providers=providers) as server,
        open_seeder(database, server.url) as seed,
    ):
        for name in ("acme", "globex"):
            await seed.make_tenant(name)
        yield server, seed


async def ask(seed: Seeder, token: str, path: str = "/me", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await seed.http.get(path, headers={"authorization": f"Bearer {token}", **named})


async def test_a_subject_is_made_on_first_sight_and_once(seeded: tuple[Server, Seeder], issuer: Issuer) -> None:
    _, seed = seeded
    token = issuer.token("alice", tenants="acme", name="Alice A.")
    answers = await asyncio.gather(*(ask(seed, token) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    me = answers[0].json()
    assert (me["kind"], me["name"], me["tenant"]["name"], me["role"]) == ("user", "alice", "acme", "member")
    rows = await seed.fetch("SELECT issuer, external_id, display_name FROM subjects")
    assert rows == [{"issuer": issuer.url, "external_id": "alice", "display_name": "Alice A."}]
    trail = await seed.fetch("SELECT action, actor_id FROM audit")
    assert trail == [{"action": "user.first_seen", "actor_id": me["id"]}]


async def test_a_claim_marks_a_service_account(seeded: tuple[Server, Seeder], issuer: Issuer) -> None:
    _, seed = seeded
    me = (await ask(seed, issuer.token("robot", tenants="acme", gty="client-credentials"))).json()
    assert (me["kind"], me["name"]) == ("service_account", "robot")
    person = (await ask(seed, issuer.token("robot", tenants="acme", gty="password"))).json()
    assert person["kind"] == "user"
    assert person["id"] != me["id"]


async def test_issuers_are_kept_apart(seeded: tuple[Server, Seeder], issuer: Issuer, other_issuer: Issuer) -> None:
    _, seed = seeded
    by_hand = await seed.make_subject(
        (await seed.fetch("SELECT id FROM tenants WHERE name = 'acme'"))[0]["id"], "alice"
    )
    ids = {
        (await by_hand.get("/me")).json()["id"],
        (await ask(seed, issuer.token("alice", tenants="acme"))).json()["id"],
        (await ask(seed, other_issuer.token("alice"))).json()["id"],
    }
    assert len(ids) == 3
    assert (await ask(seed, other_issuer.token("alice"))).json()["role"] == "viewer"
    # Signed by one, it cannot speak for the other.
    forged = jwt.encode(
        {"iss": other_issuer.url, "aud": "remit", "sub": "alice", "exp": int(time.time()) + 300},
        issuer.keys["k1"],
        algorithm="ES256",
        headers={"kid": "k1"},
    )
    assert (await ask(seed, forged)).status_code == 401


async def test_a_token_that_is_not_good_is_401(seeded: tuple[Server, Seeder], issuer: Issuer) -> None:
    _, seed = seeded
    issuer.add_key("rsa", rsa_key=True)
    issuer.add_key("unpublished", publish=False)
    now = int(time.time())
    good: dict[str, Any] = {"tenants": "acme"}
    tokens = {
        "audience": issuer.token(**good, aud="another"),
        "no audience": issuer.token(**good, aud=None),
        "issuer": issuer.token(**good, iss="https://elsewhere.example"),
        "no issuer": issuer.token(**good, iss=None),
        "expired": issuer.token(**good, exp=now - 60),
        "no expiry": issuer.token(**good, exp=None),
        "not yet": issuer.token(**good, nbf=now + 120),
        "no subject": issuer.token(**good, sub=""),
        "long subject": issuer.token("x" * 600, **good),
        "key": issuer.token(**good, kid="unpublished"),
        "algorithm": issuer.token(**good, kid="rsa", alg="PS256"),
        "none": unsigned({"alg": "none", "typ": "JWT"}, issuer, good),
        "cut": issuer.token(**good)[:-8],
        "rubbish": "eyJhbGciOiJFUzI1NiJ9.x.y",
    }
    # The public key as the secret of a MAC.
    public = issuer.keys["rsa"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    tokens["confused"] = mac(issuer, good, public)
    for reason, token in tokens.items():
        answer = await ask(seed, token)
        assert answer.status_code == 401, (reason, answer.text)
        assert token not in answer.text
    assert (await ask(seed, issuer.token(**good, kid="rsa", alg="RS256"))).status_code == 200
    assert (await ask(seed, issuer.token(**good, exp=now - 5, nbf=now + 5))).status_code == 200
    assert len(await seed.fetch("SELECT 1 FROM subjects")) == 1


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _claims(issuer: Issuer, more: dict[str, Any]) -> dict[str, Any]:
    return {"iss": issuer.url, "aud": "remit", "sub": "alice", "exp": int(time.time()) + 300, **more}


def unsigned(header: dict[str, Any], issuer: Issuer, more: dict[str, Any]) -> str:
    return f"{_part(header)}.{_part(_claims(issuer, more))}."


def mac(issuer: Issuer, more: dict[str, Any], secret: bytes) -> str:
    import hashlib
    import hmac

    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'rsa'})}.{_part(_claims(issuer, more))}"
    digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


async def test_the_selected_account_is_one_of_ones_own(
    seeded: tuple[Server, Seeder], issuer: Issuer, other_issuer: Issuer
) -> None:
    _, seed = seeded
    tenants = {row["name"]: row["id"] for row in await seed.fetch("SELECT id, name FROM tenants")}
    both, one = issuer.token("alice", tenants=["acme", tenants["globex"]]), issuer.token("bob", tenants="acme")
    assert (await ask(seed, both)).status_code == 400
    for selected, name in (
        ("acme", "acme"),
        (tenants["acme"], "acme"),
        ("globex", "globex"),
        (tenants["globex"], "globex"),
    ):
        me = (await ask(seed, both, x_selected_account_id=selected)).json()
        assert me["tenant"]["name"] == name
    for selected in ("globex", tenants["globex"], "absent"):
        assert (await ask(seed, one, x_selected_account_id=selected)).status_code == 403
    for claim in (None, [], "absent", 7, ["absent", None], {"acme": 1}):
        assert (await ask(seed, issuer.token("carol", tenants=claim))).status_code == 403
        assert (await ask(seed, issuer.token("carol", tenants=claim), x_selected_account_id="acme")).status_code == 403
    # Whose tenants are not in the token: those that know him already, never a new one.
    fixed = other_issuer.token("dora")
    assert (await ask(seed, fixed)).json()["tenant"]["name"] == "acme"
    assert (await ask(seed, fixed, x_selected_account_id="globex")).status_code == 403
    assert await seed.fetch("SELECT 1 FROM subjects WHERE external_id = 'carol'") == []
    assert len(await seed.fetch("SELECT 1 FROM subjects WHERE tenant_id = $1", tenants["globex"])) == 1
    await seed.execute(
        "INSERT INTO subjects (id, tenant_id, kind, issuer, external_id) "
        "VALUES (gen_random_uuid(), $1, 'user', $2, 'dora')",
        tenants["globex"],
        other_issuer.url,
    )
    assert (await ask(seed, fixed, x_selected_account_id="globex")).json()["tenant"]["name"] == "globex"


async def test_a_disabled_subject_or_tenant_ends_tokens_at_once(seeded: tuple[Server, Seeder], issuer: Issuer) -> None:
    _, seed = seeded
    token = issuer.token("alice", tenants="acme")
    me = (await ask(seed, token)).json()
    await seed.execute("UPDATE subjects SET disabled_at = now() WHERE id = $1", me["id"])
    assert (await ask(seed, token)).status_code == 401
    await seed.execute("UPDATE subjects SET disabled_at = NULL WHERE id = $1", me["id"])
    await seed.execute("DELETE FROM relationships WHERE subject_id = $1", me["id"])
    assert (await ask(seed, token)).json()["role"] is None, "a role that was taken away does not come back"
    await seed.execute("UPDATE tenants SET disabled_at = now() WHERE name = 'acme'")
    assert (await ask(seed, token)).status_code == 403


async def test_a_token_and_a_key_must_be_of_one_principal(seeded: tuple[Server, Seeder], issuer: Issuer) -> None:
    _, seed = seeded
    acme = (await seed.fetch("SELECT id FROM tenants WHERE name = 'acme'"))[0]["id"]
    by_hand = await seed.make_subject(acme, "alice")
    answer = await ask(seed, issuer.token("alice", tenants="acme"), x_api_key=by_hand.secret)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:remit:problem:credentials-disagree")


async def test_rotated_keys_are_found_and_an_outage_is_503(seeded: tuple[Server, Seeder], issuer: Issuer) -> None:
    _, seed = seeded
    issuer.away = True
    cold = await ask(seed, issuer.token(tenants="acme"))
    assert cold.status_code == 503
    assert cold.headers["retry-after"]
    issuer.away = False
    assert (await ask(seed, issuer.token(tenants="acme"))).status_code == 200
    fetches = issuer.fetches
    for _ in range(5):
        assert (await ask(seed, issuer.token(tenants="acme"))).status_code == 200
    assert issuer.fetches == fetches, "known keys are not fetched for each request"
    issuer.published.clear()
    issuer.add_key("k2")
    assert (await ask(seed, issuer.token(tenants="acme", kid="k2"))).status_code == 200
    assert (await ask(seed, issuer.token(tenants="acme", kid="k1"))).status_code == 401, "k1 was taken back"
    issuer.away = True
    issuer.add_key("k3")
    assert (await ask(seed, issuer.token(tenants="acme", kid="k2"))).status_code == 200, (
        "a known key outlives an outage"
    )
    assert (await ask(seed, issuer.token(tenants="acme", kid="k3"))).status_code == 503


async def test_keys_have_their_time(issuer: Issuer) -> None:
    now = 1000.0
    provider = IdentityProvider(**issuer.provider(refetch_seconds=60))
    async with httpx.AsyncClient(trust_env=False) as http:
        keys = KeySet(provider, http, lambda: now)
        await keys.find("k1", "ES256")
        for number in range(20):
            with pytest.raises(Unauthenticated):
                await keys.find(f"made-up-{number}", "ES256")
        assert issuer.fetches == 1, "made-up key ids are no way to have the set fetched"
        now += 61
        with pytest.raises(Unauthenticated):
            await keys.find("made-up", "ES256")
        assert issuer.fetches == 2
        issuer.away = True
        now += FRESH_SECONDS + 61
        await keys.find("k1", "ES256")
        assert issuer.fetches == 3
        now += LONGEST_STALE_SECONDS
        with pytest.raises(Unavailable):
            await keys.find("k1", "ES256")
        issuer.away = False
        now += 61
        await keys.find("k1", "ES256")


async def test_keys_of_another_kind_are_left_out(issuer: Issuer) -> None:
    published = issuer.published[0]
    for bad in (
        {"kty": "oct", "k": "c2VjcmV0", "kid": "k1"},
        {**published, "use": "enc"},
        {**published, "alg": "ES384"},
        {**published, "d": "c2VjcmV0"},
        {"kty": "new", "kid": "k1"},
    ):
        issuer.published[:] = [bad]
        async with httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(Unauthenticated):
                await KeySet(IdentityProvider(**issuer.provider()), http).find("k1", "ES256")


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant": "acme"},
        {"tenant_claim": None},
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": []},
        {"jwks_url": "http://keys.example/keys"},
        {"issuer": "http://issuer.example"},
        {"role": "owner"},
        {"surprise": 1},
    ],
)
def test_a_provider_that_cannot_be_trusted_is_no_setting(wrong: dict[str, Any]) -> None:
    fine = {"issuer": "https://issuer.example", "audience": "remit", "tenant_claim": "t"}
    IdentityProvider(**fine)
    with pytest.raises(ValueError, match=r".+"):
        IdentityProvider(**{**fine, **wrong})
    with pytest.raises(ValueError, match="same issuer"):
        Settings(identity_providers=[fine, fine])
