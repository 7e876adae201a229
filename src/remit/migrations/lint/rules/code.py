"""Migrations against the code that runs while they do."""

from collections.abc import Iterator

from remit.migrations.lint.column_types import is_widening
from remit.migrations.lint.model import Finding
from remit.migrations.lint.parse import name_of
from remit.migrations.lint.rules.finding import find
from remit.migrations.lint.schema import Schema, commands_of, dropped_names, subtype_of
from remit.migrations.lint.view import History, Step


def check_dropped_names(history: History) -> Iterator[Finding]:
    """A column or table dropped though the code in the tree still names it."""
    for view in history.asked:
        for step in view.upgrade:
            for table, column in _list_dropped(step):
                if _exists(history.final, table, column):
                    continue
                known = history.code.columns.get((table, column), []) if column else history.code.tables.get(table, [])
                if known:
                    what = f"column {table}.{column}" if column else f"table {table}"
                    places = ", ".join(str(mention) for mention in known[:3])
                    yield find(view, step, "dropped-but-code-names-it", table=table, what=what, places=places)


def _list_dropped(step: Step) -> list[tuple[str, str]]:
    body = step.statement.body
    if step.statement.kind == "drop_stmt" and body["remove_type"] == "OBJECT_TABLE":
        return [(name, "") for name in dropped_names(body) if name in step.locks]
    if step.statement.kind == "alter_table_stmt" and step.locks:
        table = name_of(body["relation"])
        return [(table, item["name"]) for item in commands_of(body) if subtype_of(item) == "AT_DropColumn"]
    return []


def _exists(schema: Schema, table: str, column: str) -> bool:
    known = schema.tables.get(table)
    return known is not None and (not column or column in known.columns)


def check_cached_plans(history: History) -> Iterator[Finding]:
    """A driver that keeps plans fails once per connection when the columns of its answer change."""
    if not history.code.drivers:
        return
    driver = min(history.code.drivers)
    for view in history.asked:
        for step in view.upgrade:
            if step.statement.kind != "alter_table_stmt" or not step.locks:
                continue
            table = name_of(step.statement.body["relation"])
            for command in commands_of(step.statement.body):
                kind = subtype_of(command)
                stars = history.code.stars.get(table, [])
                if kind in ("AT_AddColumn", "AT_DropColumn", "AT_AlterColumnType") and stars and table in step.locks:
                    why = f"SELECT * at {stars[0]} answers with other columns"
                    yield find(view, step, "cached-plan-breaks", table=table, driver=driver, why=why)
                    break
                if kind == "AT_AlterColumnType" and is_widening(step.before, table, command):
                    why = f"every query that answers {table}.{command['name']} answers with another type"
                    yield find(view, step, "cached-plan-breaks", level="note", table=table, driver=driver, why=why)
                    break
