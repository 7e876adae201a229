"""Prints the plans of statements as they ran, with the library that PostgreSQL ships for it (`auto_explain`)."""

import re

from graph.timing import Row
from remit.db.pool import Database

# Enough calls to have the plan of a prepared statement in place, and to know which form suits a list's caller.
_WARM = 3
_TEXT = re.compile(r"^duration: ([\d.]+) ms  plan:\nQuery Text: (.*?)\n(?=\S.*  \(cost=)", re.DOTALL)
_IDS = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b")


async def print_plans(database: Database, rows: list[Row]) -> None:
    """Ask each row once and print the plan of every statement that it ran.

    Args:
        database: whose connection is used.
        rows: which.
    """
    async with database.connection() as connection:
        found: list[str] = []

        def note(_: object, message: object) -> None:
            found.append(str(getattr(message, "message", message)))

        connection.add_log_listener(note)
        await connection.execute("LOAD 'auto_explain'")
        for row in rows:
            for _ in range(_WARM):
                await row.ask(connection)
            for setting in ("log_level = notice", "log_analyze = on", "log_buffers = on", "log_min_duration = 0"):
                await connection.execute(f"SET auto_explain.{setting}")
            found.clear()
            await row.ask(connection)
            plans = [plan for plan in found if plan.startswith("duration:") and "SET auto_explain" not in plan]
            await connection.execute("SET auto_explain.log_min_duration = -1")
            print(f"\n## {row.name}\n")
            for plan in plans:
                print(f"```\n{_shorten(plan)}\n```")
        connection.remove_log_listener(note)


def _shorten(plan: str) -> str:
    """Without the statement's own text, which is longer than its plan."""
    head = _TEXT.match(plan)
    if head is None:
        return plan
    return f"{head[1]} ms\n" + _IDS.sub("<id>", plan[head.end() :]).rstrip()
