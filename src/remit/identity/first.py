"""The first tenant and its admin, for trying out."""

from remit.authz.load import load_engine
from remit.authz.model import Resource, Subject
from remit.db.pool import Database
from remit.identity.api_keys import insert_key
from remit.identity.operator import record_change
from remit.identity.subjects import create_subject
from remit.identity.tenants import create_tenant
from remit.settings import Settings


async def make_first_admin(settings: Settings, dsn: str) -> str | None:
    """Make the tenant `default` with the admin `admin` in a database that has no tenant.

    Args:
        settings: the process's settings.
        dsn: the database.

    Returns:
        The secret of a key of the admin, None when there is a tenant already.
    """
    database = await Database.open(dsn, size=1)
    try:
        async with database.transaction() as connection:
            # Two servers may start at once.
            await connection.execute("LOCK TABLE tenants IN SHARE ROW EXCLUSIVE MODE")
            if await connection.fetchval("SELECT 1 FROM tenants LIMIT 1"):
                return None
            engine = await load_engine(connection, settings)
            tenant_id = await create_tenant(connection, "default")
            admin = await create_subject(connection, engine, tenant_id, "user", "admin", role="admin")
            key = await insert_key(connection, tenant_id=tenant_id, holder=Subject("user", admin))
            await record_change(connection, tenant_id, "key.create", Resource("api_key", key.id))
            return key.secret
    finally:
        await database.close()
