"""The application."""

import asyncpg


async def list_users(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    return await connection.fetch("SELECT * FROM users WHERE id = $1", 1)


async def list_orders(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    return await connection.fetch("SELECT id, total FROM orders")
