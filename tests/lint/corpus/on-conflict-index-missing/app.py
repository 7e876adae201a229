import asyncpg


async def remember(connection: asyncpg.Connection, key: int, email: str) -> None:
    await connection.execute(
        "INSERT INTO users (id, email) VALUES ($1, $2) ON CONFLICT (email) DO UPDATE SET id = excluded.id", key, email
    )
