"""What tests of deliveries share: the settings of an engine elsewhere, and the worker's relay at once."""

from datetime import timedelta
from typing import Any

from support.server import Server
from support.spicedb_host import SpiceProcess

from remit.relay import relay_once


def spicedb_settings(spice: SpiceProcess) -> dict[str, Any]:
    """Of a server that has a SpiceDB beside it."""
    return {
        "authz_engine": "spicedb",
        "spicedb_endpoint": spice.endpoint,
        "spicedb_token": spice.token,
        "spicedb_tls": False,
    }


async def relay(server: Server) -> None:
    """Deliver everything that is not given up, as the worker does once its time has come."""
    state = server.app.state
    async with server.database.connection() as connection:
        await connection.execute("UPDATE projections SET retry_at = now()")
    while await relay_once(server.database, state.agents, state.delivery, timedelta(0)):
        pass
