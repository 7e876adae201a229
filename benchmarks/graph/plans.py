"""Prints the plans of statements as they ran, with the library that PostgreSQL ships for it (`auto_explain`)."""

import re

from graph.timing import Row
from remit.db.pool import Database

# Enough calls to have the plan of a prepared statement in place, and to know which form suits a list's caller.
_WARM = 3
_HEAD = re.compile(r"^duration: ([\d.]+) ms  plan:\n.*?^(?=\S[^\n]*  \(cost=)", re.DOTALL | re.MULTILINE)
_IDS = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b")
_COST = re.compile(r"  \(cost=\S+ rows=\d+ width=\d+\)")
_NOISE = re.compile(r"\s*(Storage:|Heap Fetches: 0|Index Searches:|Sort Method:|Batches:)")


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
    """The plan without the statement's own text, which is longer, and without what never ran."""
    head = _HEAD.match(plan)
    if head is None:
        return plan
    lines, skipped = [f"{head[1]} ms"], 0
    for line in _COST.sub("", _IDS.sub("<id>", plan[head.end() :])).rstrip().split("\n"):
        indent = len(line) - len(line.lstrip())
        if skipped and indent > skipped:
            continue
        skipped = indent if "(never executed)" in line else 0
        if not skipped and not _NOISE.match(line):
            lines.append(line)
    return "\n".join(lines)
