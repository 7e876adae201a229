"""Moving the types of a test's tenant, and waiting until servers of the test's own loop act on it."""

from support.graph import Seeder
from support.server import Server

from remit.authz.mode_moves import adopt, in_order, read_rulings, set_mode
from remit.authz.modes import Mode, ModePolicy


async def adopt_tenant(seed: Seeder, tenant_id: str, *servers: Server) -> None:
    """Make a tenant one that was adopted and never moved."""
    async with seed.database.transaction() as connection:
        await adopt(connection, tenant_id)
    await confirm(*servers)


async def move(seed: Seeder, tenant_id: str, mode: Mode, *servers: Server) -> None:
    """Move all types of a tenant, whatever they wait for."""
    async with seed.database.transaction() as connection:
        rulings = await read_rulings(connection, ModePolicy(), tenant_id)
        for name in in_order(mode, rulings):
            await set_mode(connection, tenant_id, name, mode, force=True, allow_widening=True)
    await confirm(*servers)


async def confirm(*servers: Server) -> None:
    """Let servers of this loop take over the stored modes now."""
    for server in servers:
        async with server.database.connection() as connection:
            await server.app.state.decider.modes.refresh(connection)
