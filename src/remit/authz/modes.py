"""Who decides: the mode of a tenant's resource type, and the ruling that a process makes of it.

    mode      who decides     resources registered    relationships asked
    off       roles           no                      no
    write     roles           yes                     no
    shadow    roles           yes                     yes, off the response path
    enforce   relationships   yes                     yes

What is stored holds for every process. The environment and a flag provider may only raise a tenant that was adopted
and never set from `off` to `write`, and cap. A cap below the mode of a type that has been in `enforce` does not give
the decision back to the roles: they and the relationships must both allow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol

import structlog

from remit.db.pool import UNREACHABLE
from remit.errors import Unavailable

if TYPE_CHECKING:
    from remit.db.params import Params
    from remit.db.pool import Connection, Database

log = structlog.get_logger(__name__)

Mode = Literal["off", "write", "shadow", "enforce"]
Decider = Literal["roles", "relationships", "both"]

MODES: Final[tuple[Mode, ...]] = ("off", "write", "shadow", "enforce")

# In the order in which they move forward: a type is never ahead of one whose relationships its permissions read.
BEFORE: Final[Mapping[str, tuple[str, ...]]] = {
    "tenant": (),
    "agent": ("tenant",),
    "task": ("tenant", "agent"),
    "api_key": ("tenant", "agent", "task"),
    "schedule": ("tenant", "agent", "task"),
}
TYPES: Final = tuple(BEFORE)

POLL_SECONDS: Final = 0.25
CONFIRMED_SECONDS: Final = 1.0


def rank(mode: Mode) -> int:
    """How far a mode is, from 0 for `off`."""
    return MODES.index(mode)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is stored about a tenant's resource type.

    Attributes:
        mode: None for an adopted tenant whose mode was never set.
        ever_enforced: it has been in `enforce` at some time.
    """

    mode: Mode | None
    ever_enforced: bool


# Of a tenant about which nothing is stored: a new installation starts here.
NEW: Final = Standing("enforce", ever_enforced=True)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a mode means for one question.

    Attributes:
        mode: the mode that holds, caps and aliases counted in.
        by: who decides.
    """

    mode: Mode
    by: Decider

    @property
    def registers(self) -> bool:
        """Whether the relationships of new resources are written."""
        return self.mode != "off" or self.by != "roles"

    @property
    def shadowed(self) -> bool:
        """Whether the relationships are asked as well, for comparison."""
        return self.mode == "shadow" and self.by == "roles"


ENFORCED: Final = Ruling("enforce", "relationships")


class Flags(Protocol):
    """What a flag provider says about one tenant."""

    def raises(self, tenant_id: str, resource_type: str) -> bool:
        """Whether an adopted tenant without a stored mode is in `write`."""

    def cap(self, tenant_id: str, resource_type: str) -> Mode | None:
        """The furthest mode that the tenant may have."""


class NoFlags:
    """No flag provider is configured."""

    def raises(self, tenant_id: str, resource_type: str) -> bool:  # noqa: ARG002 - no flag, so whoever it is
        """Nothing is raised."""
        return False

    def cap(self, tenant_id: str, resource_type: str) -> Mode | None:  # noqa: ARG002 - no flag, so no cap
        """Nothing is capped."""
        return None


@dataclass(frozen=True, slots=True)
class ModePolicy:
    """What the environment and the flag provider add to the stored modes.

    Attributes:
        cap: the furthest mode of all tenants.
        raised: types that adopted tenants without a stored mode have in `write`.
        flags: the flag provider.
    """

    cap: Mode | None = None
    raised: frozenset[str] = frozenset()
    flags: Flags = field(default_factory=NoFlags)

    def rule(self, tenant_id: str, resource_type: str, standing: Standing | None) -> Ruling:
        """The ruling on a type of a tenant: cap, then stored mode, then alias, then where an installation starts."""
        if resource_type not in BEFORE:
            return ENFORCED
        standing = standing or NEW
        mode = standing.mode or ("write" if self._raises(tenant_id, resource_type) else "off")
        cap = self._cap(tenant_id, resource_type)
        if cap is None or rank(cap) >= rank(mode):
            return Ruling(mode, "relationships" if mode == "enforce" else "roles")
        return Ruling(cap, "both" if standing.ever_enforced else "roles")

    def _raises(self, tenant_id: str, resource_type: str) -> bool:
        return resource_type in self.raised or self.flags.raises(tenant_id, resource_type)

    def _cap(self, tenant_id: str, resource_type: str) -> Mode | None:
        flag = self.flags.cap(tenant_id, resource_type)
        if self.cap is None or flag is None:
            return self.cap or flag
        return min(self.cap, flag, key=rank)

    def registers_sql(self, params: Params, tenant_id: str, resource_type: str) -> str:
        """A SQL condition, never NULL: relationships of a new resource of the type are written.

        It is read in the statement that writes them, so that no process acts on a mode that it has not heard of yet.
        """
        silent = ["m.mode = 'off'"]
        capped_off = self._cap(tenant_id, resource_type) == "off"
        if capped_off:
            silent.append("m.enforced_at IS NULL")
        if capped_off or not self._raises(tenant_id, resource_type):
            silent.append("m.mode IS NULL")
        return (
            f"NOT EXISTS (SELECT 1 FROM authz_modes m WHERE m.tenant_id = {params.add(tenant_id, 'uuid')}"
            f" AND m.resource_type = {params.add(resource_type, 'text')} AND ({' OR '.join(silent)}))"
        )


_CHANGED = """
SELECT tenant_id::text AS tenant_id, resource_type, mode, enforced_at IS NOT NULL AS ever_enforced, version
  FROM authz_modes WHERE version > $1 ORDER BY version
"""


class ModeBook:
    """The stored modes as one process knows them, confirmed several times a second.

    A mode that could not be confirmed for a second may have been changed by another process: until it is, the
    strictest that this process knew holds.

    Args:
        policy: what environment and flags add.
        database: where the modes are stored.
        clock: seconds that only go forward.
    """

    def __init__(self, policy: ModePolicy, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self.policy = policy
        self._database = database
        self._clock = clock
        self._standings: dict[tuple[str, str], Standing] = {}
        self._known: dict[tuple[str, str], set[Standing]] = {}
        self._version = 0
        self._confirmed = float("-inf")

    async def refresh(self, connection: Connection) -> None:
        """Take over what has changed: one statement, which reads nothing when nothing has."""
        asked = self._clock()
        for row in await connection.fetch(_CHANGED, self._version):
            key = (row["tenant_id"], row["resource_type"])
            standing = Standing(row["mode"], row["ever_enforced"])
            self._known.setdefault(key, {self._standings.get(key, NEW)}).add(standing)
            self._standings[key] = standing
            self._version = row["version"]
        self._confirmed = asked

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            await self._try_refresh()
            await asyncio.sleep(POLL_SECONDS)

    async def confirm(self) -> None:
        """Refresh now, if that is overdue: a database that has just come back must not cost a creator his task."""
        if not self._is_confirmed:
            await self._try_refresh()

    async def _try_refresh(self) -> None:
        try:
            async with asyncio.timeout(CONFIRMED_SECONDS), self._database.connection() as connection:
                await self.refresh(connection)
        except (TimeoutError, Unavailable, *UNREACHABLE) as error:
            log.warning("the modes cannot be confirmed; the strictest known hold", cause=repr(error))

    @property
    def _is_confirmed(self) -> bool:
        return self._clock() - self._confirmed <= CONFIRMED_SECONDS

    def rule(self, tenant_id: str, resource_type: str) -> Ruling:
        """The ruling on a type of a tenant at this moment."""
        key = (tenant_id, resource_type)
        ruling = self.policy.rule(tenant_id, resource_type, self._standings.get(key))
        if self._is_confirmed:
            return ruling
        return _strictest(
            [self.policy.rule(tenant_id, resource_type, known) for known in self._known.get(key, ())]
        ) or (ruling)


def _strictest(rulings: list[Ruling]) -> Ruling | None:
    """The ruling that allows nothing which one of these denies; None for none."""
    if not rulings:
        return None
    deciders = {ruling.by for ruling in rulings}
    mode = max((ruling.mode for ruling in rulings), key=rank)
    return Ruling(mode, deciders.pop() if len(deciders) == 1 else "both")
