"""Moves between modes: order of types, gates, wider access, the record of it; over the product's own functions."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from remit.authz.flags import read_policy
from remit.authz.mode_moves import adopt, set_mode, show_modes
from remit.authz.modes import TYPES, Mode, ModePolicy, Standing
from remit.authz.reconciliations import record_reconciliation
from remit.db.pool import Connection, Database
from remit.errors import Conflict
from remit.identity.tenants import create_tenant


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    opened = await Database.open(database, size=1)
    async with opened.connection() as free:
        yield free
    await opened.close()


@pytest.fixture
async def adopted(connection: Connection) -> str:
    async with connection.transaction():
        tenant_id = await create_tenant(connection, "adopted")
        await adopt(connection, tenant_id)
    return tenant_id


async def moves(connection: Connection, tenant_id: str, type: str, mode: Mode, **how: bool) -> bool:
    async with connection.transaction():
        return await set_mode(connection, tenant_id, type, mode, **how)


async def all_move(connection: Connection, tenant_id: str, mode: Mode, **how: bool) -> None:
    for type in TYPES:
        await moves(connection, tenant_id, type, mode, **how)


async def reconcile(connection: Connection, tenant_id: str, *outcomes: bool, type: str = "tenant") -> None:
    for clean in outcomes:
        now = await connection.fetchval("SELECT clock_timestamp()")
        await record_reconciliation(connection, tenant_id, type, started_at=now, clean=clean)


async def stored(connection: Connection, tenant_id: str) -> dict[str, tuple[str | None, str, str]]:
    shown = await show_modes(connection, ModePolicy(), tenant_id)
    return {one.resource_type: (one.stored, one.effective, one.decided_by) for one in shown}


async def test_where_tenants_begin(connection: Connection, adopted: str) -> None:
    fresh = await create_tenant(connection, "fresh")
    assert await stored(connection, fresh) == dict.fromkeys(TYPES, (None, "enforce", "relationships"))
    assert await stored(connection, adopted) == dict.fromkeys(TYPES, (None, "off", "roles"))


async def test_a_type_is_never_ahead_of_what_it_reads(connection: Connection, adopted: str) -> None:
    with pytest.raises(Conflict, match="tenant is in `off`: move it to `write` before task"):
        await moves(connection, adopted, "task", "write", force=True)
    for type in ("tenant", "agent", "task"):
        assert await moves(connection, adopted, type, "write")
    with pytest.raises(Conflict, match="task is in `write`: move it back to `off` before agent"):
        await moves(connection, adopted, "agent", "off", force=True, allow_widening=True)
    assert not await moves(connection, adopted, "task", "write"), "it is there already"


async def test_a_step_forward_waits_for_its_gates(connection: Connection, adopted: str) -> None:
    with pytest.raises(Conflict, match="not synced"):
        await moves(connection, adopted, "tenant", "shadow")
    # What was clean before every new resource was registered proves nothing.
    await reconcile(connection, adopted, True, True)
    await all_move(connection, adopted, "write")
    with pytest.raises(Conflict, match="0 of the last 2 reconciliations were clean"):
        await moves(connection, adopted, "tenant", "shadow")
    await reconcile(connection, adopted, True, False)
    with pytest.raises(Conflict, match="1 of the last 2"):
        await moves(connection, adopted, "tenant", "shadow")
    await reconcile(connection, adopted, True)
    with pytest.raises(Conflict, match="1 of the last 2"):
        await moves(connection, adopted, "tenant", "shadow")
    await reconcile(connection, adopted, True)
    await connection.execute(
        "INSERT INTO outbox (tenant_id, resource_type, resource_id, version, dead_at) "
        "VALUES ($1, 'tenant', $1, 1, now())",
        adopted,
    )
    with pytest.raises(Conflict, match="1 dead letters"):
        await moves(connection, adopted, "tenant", "shadow")
    await connection.execute("DELETE FROM outbox")
    assert await moves(connection, adopted, "tenant", "shadow")
    await connection.execute(
        "INSERT INTO authz_shadow_counts (tenant_id, resource_type, permission, outcome, class, count) "
        "VALUES ($1, 'tenant', 'manage', 'would_allow', 'drift', 3), ($1, 'tenant', 'manage', 'would_deny', 'x', 9)",
        adopted,
    )
    with pytest.raises(Conflict, match="3 answers would allow"):
        await moves(connection, adopted, "tenant", "enforce")
    with pytest.raises(Conflict, match="--allow-widening"):
        await moves(connection, adopted, "tenant", "enforce", force=True)
    await connection.execute("DELETE FROM authz_shadow_counts WHERE outcome = 'would_allow'")
    assert await moves(connection, adopted, "tenant", "enforce")
    assert (await stored(connection, adopted))["tenant"] == ("enforce", "enforce", "relationships")


async def test_a_move_that_widens_has_to_be_wanted(connection: Connection) -> None:
    tenant = await create_tenant(connection, "fresh")
    for type in reversed(TYPES):
        with pytest.raises(Conflict, match="--allow-widening"):
            await moves(connection, tenant, type, "off", force=True)
        assert await moves(connection, tenant, type, "off", allow_widening=True)
    assert (await stored(connection, tenant))["task"] == ("off", "off", "roles")


async def test_a_return_to_off_is_unsynced(connection: Connection, adopted: str) -> None:
    await all_move(connection, adopted, "write")
    await reconcile(connection, adopted, True, True)
    for type in reversed(TYPES):
        await moves(connection, adopted, type, "off")
    with pytest.raises(Conflict, match="not synced"):
        await moves(connection, adopted, "tenant", "shadow")
    await all_move(connection, adopted, "write")
    with pytest.raises(Conflict, match="0 of the last 2"):
        await moves(connection, adopted, "tenant", "shadow")


async def test_moves_are_audited_with_what_was_forced(connection: Connection, adopted: str) -> None:
    await moves(connection, adopted, "tenant", "enforce", force=True)
    row = await connection.fetchrow("SELECT * FROM audit WHERE tenant_id = $1 AND action = 'mode.set'", adopted)
    assert row is not None
    assert {name: row["detail"][name] for name in ("type", "from", "to")} == {
        "type": "tenant",
        "from": None,
        "to": "enforce",
    }
    assert "not synced" in row["detail"]["forced"][0]


POLICIES: dict[tuple[Mode | None, bool], dict[tuple[Mode | None, bool], tuple[Mode, str]]] = {
    # (cap, raised): {(stored mode, ever enforced): (mode, who decides)}
    (None, False): {(None, False): ("off", "roles"), ("enforce", True): ("enforce", "relationships")},
    (None, True): {(None, False): ("write", "roles"), ("off", False): ("off", "roles")},
    ("off", True): {(None, False): ("off", "roles"), ("enforce", True): ("off", "both")},
    ("write", False): {
        ("shadow", False): ("write", "roles"),
        ("shadow", True): ("write", "both"),
        ("write", True): ("write", "roles"),
        ("off", True): ("off", "roles"),
    },
    ("enforce", False): {("shadow", True): ("shadow", "roles"), ("enforce", True): ("enforce", "relationships")},
}


@pytest.mark.parametrize(("cap", "raised"), POLICIES)
def test_precedence(cap: Mode | None, raised: bool) -> None:
    policy = ModePolicy(cap, frozenset({"task"} if raised else ()))
    for (mode, enforced), expected in POLICIES[cap, raised].items():
        ruling = policy.rule("0", "task", Standing(mode, enforced))
        assert (ruling.mode, ruling.by) == expected


def test_the_aliases_are_read_from_the_environment() -> None:
    from remit.settings import Settings

    read = read_policy(Settings(), {"FGAC_TASKS_DUAL_WRITE": "TRUE", "FGAC_AGENT_API_KEYS_DUAL_WRITE": "false"})
    assert read.raised == {"task"}


async def test_what_is_registered_is_what_the_ruling_says(connection: Connection, adopted: str) -> None:
    """The SQL that writes and the ruling that answers are two readings of one rule."""
    from remit.db.params import Params

    caps: tuple[Mode | None, ...] = (None, "off", "write")
    stored: tuple[tuple[Mode | None, bool], ...] = (
        (None, False),
        ("off", False),
        ("off", True),
        ("write", False),
        ("enforce", True),
    )
    for cap in caps:
        for raised in (frozenset[str](), frozenset({"task"})):
            policy = ModePolicy(cap, raised)
            for mode, enforced in stored:
                await connection.execute(
                    "UPDATE authz_modes SET mode = $2, enforced_at = $3 WHERE tenant_id = $1",
                    adopted,
                    mode,
                    datetime.now(UTC) - timedelta(days=1) if enforced else None,
                )
                params = Params()
                sql = policy.registers_sql(params, adopted, "task")
                registers = await connection.fetchval(f"SELECT {sql}", *params.values)
                ruling = policy.rule(adopted, "task", Standing(mode, enforced))
                assert registers == ruling.registers, (cap, raised, mode, enforced)
