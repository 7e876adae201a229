"""Who is let in: credentials that are missing, bad, ended, or do not agree."""

from datetime import UTC, datetime, timedelta

import pytest
from support.graph import Party, World

from remit.identity.api_keys import insert_key, revoke_key
from remit.identity.secrets import make_secret


async def make_key(world: World, holder: Party, expires_at: datetime | None = None) -> tuple[str, Party]:
    async with world.seed.database.transaction() as connection:
        key = await insert_key(connection, tenant_id=holder.tenant_id, holder=holder.subject, expires_at=expires_at)
    return key.id, Party(holder.http, holder.kind, holder.id, holder.name, holder.tenant_id, key.secret)


async def test_nobody_is_401_with_a_challenge(world: World) -> None:
    for response in (
        await world.nobody.get("/tasks"),
        await world.nobody.get("/me"),
        await world.nobody.rpc("any", "task/create"),
        await world.nobody.delete("/tasks/name/any"),
    ):
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.json()["code"] == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer nonsense"},
        {"authorization": "Bearer " + make_secret("user")},
        {"authorization": "Bearer"},
        {"x-api-key": "remit_user_short"},
        {"x-agent-api-key": make_secret("agent")},
        {"x-agent-api-key": "\u00e9" * 20},
    ],
)
async def test_a_credential_that_is_not_good_is_401(world: World, headers: dict[str, str]) -> None:
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    response = await world.seed.http.get("/me", headers=sent)  # type: ignore[arg-type]  # bytes are fine
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    for value in headers.values():
        assert value.strip() == "Bearer" or value not in response.text


async def test_a_bad_credential_is_not_healed_by_a_good_one(world: World) -> None:
    response = await world.alice.call("GET", "/me", headers={"x-agent-api-key": make_secret("agent")})
    assert response.status_code == 401


async def test_every_header_for_keys_works(world: World) -> None:
    for headers in (
        {"authorization": f"Bearer {world.alice.key}"},
        {"authorization": f"bearer  {world.alice.key}"},
        {"x-api-key": world.alice.secret},
        {"x-agent-api-key": world.alice.secret},
    ):
        response = await world.seed.http.get("/me", headers=headers)
        assert response.json()["name"] == "alice"


async def test_a_revoked_key_ends_with_the_next_request(world: World) -> None:
    key_id, holder = await make_key(world, world.alice)
    assert (await holder.get("/me")).status_code == 200
    async with world.seed.database.connection() as connection:
        assert await revoke_key(connection, key_id) == "revoked"
        assert await revoke_key(connection, key_id) == "was revoked"
    assert (await holder.get("/me")).status_code == 401
    assert (await world.alice.get("/me")).status_code == 200


async def test_an_expired_key_is_401(world: World) -> None:
    now = datetime.now(UTC)
    _, expired = await make_key(world, world.alice, now - timedelta(seconds=1))
    _, lasting = await make_key(world, world.alice, now + timedelta(hours=1))
    assert (await expired.get("/me")).status_code == 401
    assert (await lasting.get("/me")).status_code == 200


@pytest.mark.parametrize("table", ["subjects", "tenants"])
async def test_disabling_the_holder_or_his_tenant_ends_his_keys(world: World, table: str) -> None:
    id = world.alice.id if table == "subjects" else world.tenant_id
    await world.seed.execute(f"UPDATE {table} SET disabled_at = now() WHERE id = $1", id)
    assert (await world.alice.get("/me")).status_code == 401
    assert (await world.bob.get("/me")).status_code == (200 if table == "subjects" else 401)
    assert (await world.mallory.get("/me")).status_code == 200


async def test_two_credentials_must_agree(world: World) -> None:
    agent = await world.make_agent(None)
    for other in (world.bob, world.mallory, agent):
        response = await world.alice.call("GET", "/me", headers={"x-api-key": other.key})
        assert response.status_code == 400
        assert response.json()["type"] == "urn:remit:problem:credentials-disagree"
    _, second = await make_key(world, world.alice)
    assert (await world.alice.call("GET", "/me", headers={"x-api-key": second.key})).json()["name"] == "alice"
    assert (await world.alice.call("GET", "/me", headers={"x-api-key": world.alice.secret})).status_code == 200


async def test_a_header_twice_is_refused(world: World) -> None:
    headers = [("x-api-key", world.alice.secret), ("x-api-key", world.bob.secret)]
    assert (await world.seed.http.get("/me", headers=headers)).status_code == 401


async def test_no_header_names_an_identity_and_is_believed(world: World) -> None:
    agent = await world.make_agent("http://127.0.0.1:9")
    task = await world.alice.make_task(agent)
    claims = {
        "x-agent-identity": agent.id,
        "x-user-id": world.alice.id,
        "x-acting-user-api-key": world.alice.secret,
        "x-forwarded-user": "alice",
        "cookie": f"session={world.alice.key}",
    }
    assert (await world.nobody.call("GET", "/me", headers=claims)).status_code == 401
    for party in (world.mallory, world.bob):
        me = (await party.call("GET", "/me", headers=claims)).json()
        assert (me["name"], me["tenant"]["id"]) == (party.name, party.tenant_id)
        assert (await party.call("GET", f"/tasks/{task['id']}", headers=claims)).status_code == 404


async def test_a_key_selects_no_account_but_its_own(world: World) -> None:
    own = (await world.alice.get("/me")).json()["tenant"]
    for account in (own["id"], own["name"]):
        me = await world.alice.call("GET", "/me", headers={"x-selected-account-id": account})
        assert me.json()["tenant"] == own
    for account in (world.mallory.tenant_id, "no-such-account", "*"):
        refused = await world.alice.call("GET", "/me", headers={"x-selected-account-id": account})
        assert refused.status_code == 403
        assert account not in refused.text or account == "*"
    assert (await world.nobody.call("GET", "/me", headers={"x-selected-account-id": own["id"]})).status_code == 401
