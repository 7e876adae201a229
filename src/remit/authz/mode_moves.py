"""Moving a tenant's resource types from one mode to another: what stands in the way, and the move itself.

A step forward waits for its gates; a step back from relationships to roles widens access and has to be wanted in so
many words. Every move is in the audit trail. Functions work in the caller's transaction.
"""

from dataclasses import dataclass
from datetime import datetime

from remit.authz.model import Resource
from remit.authz.modes import BEFORE, MODES, NEW, TYPES, Mode, ModePolicy, Ruling, Standing, rank
from remit.db.pool import Connection
from remit.errors import Conflict
from remit.identity.operator import operator_name, record_change

CLEAN_RECONCILIATIONS = 2


@dataclass(frozen=True, slots=True)
class TypeMode:
    """How one resource type of a tenant stands.

    Attributes:
        resource_type: the type.
        stored: the stored mode, None where none was set.
        effective: the mode that holds in this process's environment.
        decided_by: `roles`, `relationships` or `both`.
        ever_enforced: relationships have decided before.
        registering_since: since when every new resource is registered; None while the type is unsynced, or where it
            always was.
        changed_at: when the mode was set, None where it never was.
        changed_by: by whom.
        next_mode: the mode that comes next, None in `enforce`.
        gates: what the next mode still waits for.
    """

    resource_type: str
    stored: Mode | None
    effective: Mode
    decided_by: str
    ever_enforced: bool
    registering_since: datetime | None
    changed_at: datetime | None
    changed_by: str | None
    next_mode: Mode | None
    gates: tuple[str, ...]


_ROWS = """
SELECT resource_type, mode, enforced_at IS NOT NULL AS ever_enforced, registering_since, changed_at, changed_by
  FROM authz_modes WHERE tenant_id = $1
"""
_DEAD = "SELECT count(*) FROM outbox WHERE tenant_id = $1 AND resource_type = $2 AND dead_at IS NOT NULL"
_RECONCILED = """
SELECT clean FROM authz_reconciliations
 WHERE tenant_id = $1 AND resource_type = $2 AND started_at >= $3 ORDER BY started_at DESC LIMIT $4
"""
_WOULD_ALLOW = """
SELECT coalesce(sum(count), 0)::bigint FROM authz_shadow_counts
 WHERE tenant_id = $1 AND resource_type = $2 AND outcome = 'would_allow'
"""
# The next version is taken under a lock, so that versions follow the order of commits and no process misses one.
_LOCK = "LOCK TABLE authz_modes IN SHARE ROW EXCLUSIVE MODE"
_SET = """
INSERT INTO authz_modes AS m (tenant_id, resource_type, mode, enforced_at, registering_since, changed_by, version)
SELECT $1, $2, $3, CASE WHEN $4 OR $3 = 'enforce' THEN now() END, CASE WHEN $3 <> 'off' THEN now() END, $5,
       coalesce(max(version), 0) + 1 FROM authz_modes
ON CONFLICT (tenant_id, resource_type) DO UPDATE SET
  mode = EXCLUDED.mode, enforced_at = coalesce(m.enforced_at, EXCLUDED.enforced_at),
  registering_since = CASE WHEN EXCLUDED.mode <> 'off' THEN coalesce(m.registering_since, now()) END,
  changed_at = now(), changed_by = EXCLUDED.changed_by, version = EXCLUDED.version
"""
_ADOPT = """
INSERT INTO authz_modes (tenant_id, resource_type, mode, changed_by, version)
SELECT $1, t.name, NULL, $3, (SELECT coalesce(max(version), 0) FROM authz_modes) + t.place
  FROM unnest($2::text[]) WITH ORDINALITY t(name, place)
"""


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is stored of one type, or stands for it where nothing is."""

    standing: Standing
    registering_since: datetime | None = None
    changed_at: datetime | None = None
    changed_by: str | None = None

    @property
    def mode(self) -> Mode:
        """The mode apart from environment and flags."""
        return self.standing.mode or "off"


async def _read(connection: Connection, tenant_id: str) -> dict[str, _Stored]:
    rows = {row["resource_type"]: row for row in await connection.fetch(_ROWS, tenant_id)}
    return {
        name: _Stored(
            Standing(rows[name]["mode"], rows[name]["ever_enforced"]),
            rows[name]["registering_since"],
            rows[name]["changed_at"] if rows[name]["mode"] else None,
            rows[name]["changed_by"],
        )
        if name in rows
        else _Stored(NEW)
        for name in TYPES
    }


async def read_rulings(connection: Connection, policy: ModePolicy, tenant_id: str) -> dict[str, Ruling]:
    """The ruling on each type of a tenant at this moment."""
    stored = await _read(connection, tenant_id)
    return {name: policy.rule(tenant_id, name, one.standing) for name, one in stored.items()}


async def adopt(connection: Connection, tenant_id: str) -> None:
    """Begin with all types of a new tenant in `off`: its roles decide, as they did where it comes from."""
    await connection.execute(_LOCK)
    await connection.execute(_ADOPT, tenant_id, list(TYPES), operator_name())


async def show_modes(connection: Connection, policy: ModePolicy, tenant_id: str) -> list[TypeMode]:
    """Every type of a tenant: its mode, and what its next one waits for."""
    stored = await _read(connection, tenant_id)
    shown = []
    for name, one in stored.items():
        ruling = policy.rule(tenant_id, name, one.standing)
        following = None if one.mode == "enforce" else MODES[rank(one.mode) + 1]
        gates = [] if following is None else [*_out_of_order(stored, name, following)]
        if following is not None:
            gates += await find_gates(connection, tenant_id, name, one.registering_since, following)
        shown.append(
            TypeMode(
                name,
                one.standing.mode if one.changed_by else None,
                ruling.mode,
                ruling.by,
                one.standing.ever_enforced,
                one.registering_since,
                one.changed_at,
                one.changed_by,
                following,
                tuple(gates),
            )
        )
    return shown


async def find_gates(
    connection: Connection, tenant_id: str, resource_type: str, registering_since: datetime | None, mode: Mode
) -> list[str]:
    """What a step forward to `mode` still waits for, each with what to do about it.

    Args:
        connection: where to look.
        tenant_id: the tenant.
        resource_type: the type.
        registering_since: since when its new resources are registered.
        mode: the mode it would have.
    """
    if rank(mode) <= rank("write"):
        return []
    of_type = f"--tenant {tenant_id} --type {resource_type}"
    if registering_since is None:
        return ["it is not synced: set `write`, run `remit authz backfill`, then reconcile twice"]
    gates = []
    if dead := await connection.fetchval(_DEAD, tenant_id, resource_type):
        gates.append(f"{dead} dead letters: `remit authz outbox list {of_type}`")
    last = await connection.fetch(_RECONCILED, tenant_id, resource_type, registering_since, CLEAN_RECONCILIATIONS)
    clean = sum(row["clean"] for row in last)
    if clean < CLEAN_RECONCILIATIONS:
        gates.append(
            f"{clean} of the last {CLEAN_RECONCILIATIONS} reconciliations were clean: `remit authz reconcile {of_type}`"
        )
    if mode == "enforce" and (holes := await connection.fetchval(_WOULD_ALLOW, tenant_id, resource_type)):
        gates.append(
            f"{holes} answers would allow what roles deny: `remit authz shadow report {of_type}`, and once what caused "
            f"them is removed `remit authz shadow reset {of_type}`"
        )
    return gates


async def set_mode(
    connection: Connection,
    tenant_id: str,
    resource_type: str,
    mode: Mode,
    *,
    force: bool = False,
    allow_widening: bool = False,
) -> bool:
    """Move a type to a mode. Every process acts on it within a second.

    Args:
        connection: in a transaction.
        tenant_id: the tenant.
        resource_type: the type.
        mode: where to.
        force: do not wait for the gates of a step forward.
        allow_widening: let it give somebody what he may not do now.

    Returns:
        Whether that changed anything.

    Raises:
        Conflict: the order of types, a gate, or the word for a wider access is missing; nothing was changed.
    """
    await connection.execute(_LOCK)
    stored = await _read(connection, tenant_id)
    here = stored[resource_type]
    if here.changed_by is not None and here.standing.mode == mode:
        return False
    if broken := _out_of_order(stored, resource_type, mode):
        raise Conflict("; ".join(broken) + ".")
    if here.mode == "enforce" and mode != "enforce" and not allow_widening:
        raise Conflict(
            f"In `{mode}` the roles decide about {resource_type}: every member of the tenant reads all of them. "
            "Say --allow-widening if that is meant; REMIT_AUTHZ_MODE_CAP is the way back that widens nothing."
        )
    gates = []
    if rank(mode) > rank(here.mode):
        gates = await find_gates(connection, tenant_id, resource_type, here.registering_since, mode)
    if gates and not force:
        raise Conflict(f"`{mode}` waits: {'; '.join(gates)}. --force goes on without.")
    holes = mode == "enforce" and await connection.fetchval(_WOULD_ALLOW, tenant_id, resource_type)
    if holes and here.mode != "enforce" and not allow_widening:
        raise Conflict(f"{holes} answers would allow what roles deny; say --allow-widening if that is meant.")
    await connection.execute(_SET, tenant_id, resource_type, mode, here.standing.ever_enforced, operator_name())
    if mode == "shadow":
        await forget_shadow(connection, tenant_id, resource_type)
    detail: dict[str, object] = {
        "type": resource_type,
        "from": here.standing.mode,
        "to": mode,
        "forced": gates,
        "allow_widening": allow_widening,
    }
    await record_change(connection, tenant_id, "mode.set", Resource("tenant", tenant_id), detail)
    return True


def in_order(mode: Mode, stored: dict[str, Ruling]) -> list[str]:
    """All types in the order in which they can move to `mode`: forward from the tenant on, back from the leaves."""
    ahead = [name for name, ruling in stored.items() if rank(ruling.mode) > rank(mode)]
    return [*reversed(ahead), *(name for name in stored if name not in ahead)]


async def forget_shadow(connection: Connection, tenant_id: str, resource_type: str) -> None:
    """Remove what shadow comparisons of a type have found, so that counting begins again."""
    for table in ("authz_shadow_counts", "authz_shadow_samples"):
        await connection.execute(
            f"DELETE FROM {table} WHERE tenant_id = $1 AND resource_type = $2", tenant_id, resource_type
        )


def _out_of_order(stored: dict[str, _Stored], resource_type: str, mode: Mode) -> list[str]:
    broken = [
        f"{name} is in `{stored[name].mode}`: move it to `{mode}` before {resource_type}"
        for name in BEFORE[resource_type]
        if rank(stored[name].mode) < rank(mode)
    ]
    return broken + [
        f"{name} is in `{stored[name].mode}`: move it back to `{mode}` before {resource_type}"
        for name, before in BEFORE.items()
        if resource_type in before and rank(stored[name].mode) > rank(mode)
    ]
