"""Migrations against the code that runs while they do."""

from collections.abc import Iterator

from remit.migrations.lint.code import Conflict, Mention
from remit.migrations.lint.model import Finding, Level
from remit.migrations.lint.parse import commands_of, dropped_names, name_of, subtype_of
from remit.migrations.lint.rewrite_parts import quote_name, write_call
from remit.migrations.lint.rules.finding import find
from remit.migrations.lint.schema import Schema
from remit.migrations.lint.view import History, Step

_TABLES = ("OBJECT_TABLE", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE")


def check_dropped_names(history: History) -> Iterator[Finding]:
    """A column or table dropped though the code in the tree still names it."""
    for view in history.asked:
        for step in view.upgrade:
            for table, column in _list_dropped(step):
                if _exists(history.final, table, column):
                    continue
                known = history.code.columns.get((table, column), []) if column else history.code.tables.get(table, [])
                if known:
                    what = f"column {table}.{column}" if column else f"{_kind_of(step)} {table}"
                    places = ", ".join(str(mention) for mention in known[:3])
                    code = _keep_optional(step.before, table, column)
                    yield find(
                        view, step, "dropped-but-code-names-it", code=code, table=table, what=what, places=places
                    )


def _list_dropped(step: Step) -> list[tuple[str, str]]:
    body = step.statement.body
    if step.statement.kind == "drop_stmt" and body["remove_type"] in _TABLES:
        return [(name, "") for name in dropped_names(body) if name in step.locks]
    if step.statement.kind == "drop_stmt" and body["remove_type"] == "OBJECT_VIEW":
        own = step.statement.revision
        return [(name, "") for name in dropped_names(body) if step.before.views.get(name) != own]
    if step.statement.kind == "alter_table_stmt" and step.locks:
        table = name_of(body["relation"])
        return [(table, item["name"]) for item in commands_of(body) if subtype_of(item) == "AT_DropColumn"]
    return []


def _kind_of(step: Step) -> str:
    return {"OBJECT_VIEW": "view", "OBJECT_MATVIEW": "materialized view"}.get(
        step.statement.body.get("remove_type", ""), "table"
    )


def _keep_optional(schema: Schema, table: str, column: str) -> str | None:
    """Let code insert that no longer names a required column, which is dropped in the release after."""
    known = schema.tables[table].columns.get(column) if table in schema.tables else None
    if known is None or not known.not_null or any(column in key for key in schema.list_keys(table)):
        return None
    call = write_call(f"ALTER TABLE {quote_name(table)} ALTER COLUMN {quote_name(column)} DROP NOT NULL")
    return f"{call}\n# then a release whose code does not name it, then the migration that drops it"


def check_dropped_defaults(history: History) -> Iterator[Finding]:
    """A required column is added with a default that the same revision drops: old code relies on it for longer."""
    for view in history.asked:
        added: set[tuple[str, str]] = set()
        required = {pair for step in view.upgrade for pair in _list_commands(step, "AT_SetNotNull")}
        for step in view.upgrade:
            for table, column in _list_commands(step, "AT_ColumnDefault"):
                known = step.before.tables[table].columns.get(column) if table in step.before.tables else None
                if (table, column) in added and ((table, column) in required or (known is not None and known.not_null)):
                    yield find(view, step, "default-dropped-too-early", table=table, column=column)
            added |= set(_list_commands(step, "AT_AddColumn"))


def _list_commands(step: Step, subtype: str) -> list[tuple[str, str]]:
    """The table and column of each sub-command of a kind, on busy tables; of the defaults those that are dropped."""
    if step.statement.kind != "alter_table_stmt" or not step.locks:
        return []
    table = name_of(step.statement.body["relation"])
    found = []
    for command in commands_of(step.statement.body):
        definition = command.get("def", {})
        sets_default = bool(definition) and "isnull" not in definition.get("a_const", {})
        if subtype_of(command) == subtype and not (subtype == "AT_ColumnDefault" and sets_default):
            found.append((table, command.get("name") or definition.get("column_def", {}).get("colname", "")))
    return found


def _exists(schema: Schema, table: str, column: str) -> bool:
    if table in schema.views and not column:
        return True
    known = schema.tables.get(table)
    return known is not None and (not column or column in known.columns)


def check_cached_plans(history: History) -> Iterator[Finding]:
    """A driver that keeps plans fails once per connection when the columns of its answer change."""
    if not history.code.drivers or history.code.uncached:
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
                    code = _name_columns(step.before, table, stars[0])
                    yield find(view, step, "cached-plan-breaks", code=code, table=table, driver=driver, why=why)
                    break
                answers = history.code.answers.get((table, command.get("name", "")), [])
                if kind == "AT_AlterColumnType" and table in step.locks:
                    where = f"the query at {answers[0]}" if answers else "each query"
                    why = f"{where} that reads {table}.{command['name']} answers with another type"
                    level: Level = "error" if answers else "note"
                    yield find(view, step, "cached-plan-breaks", level=level, table=table, driver=driver, why=why)
                    break


def _name_columns(schema: Schema, table: str, place: Mention) -> str | None:
    columns = ", ".join(quote_name(name) for name in schema.tables[table].columns) if table in schema.tables else ""
    if not columns:
        return None
    return f'COLUMNS = "{columns}"  # at {place}, in place of *; then recycle the connections after the migration'


def check_conflict_targets(history: History) -> Iterator[Finding]:
    """A unique index or constraint gone for a while: ON CONFLICT does not find it, and nothing stops a second row."""
    for view in history.asked:
        for place, step in enumerate(view.upgrade):
            for name, table, columns in _list_unique_dropped(step):
                if table not in step.locks or _has_other(step.before, table, columns, name):
                    continue
                back = _find_return(view.upgrade[place + 1 :], table, columns)
                if (
                    back is not None
                    and back.statement.transaction is not None
                    and (back.statement.transaction == step.statement.transaction)
                ):
                    continue  # nobody sees the table without it
                used = _find_conflicts(history, table, columns, name)
                if used:
                    yield find(
                        view, step, "on-conflict-index-missing", table=table, name=name, column=", ".join(columns),
                        why=f"the INSERT … ON CONFLICT at {used[0].mention} fails until an index on "
                        f"{', '.join(columns)} is there again",
                    )  # fmt: skip
                elif back is not None:
                    yield find(
                        view, step, "on-conflict-index-missing", level="warn", table=table, name=name,
                        column=", ".join(columns),
                        why="until it is built again an INSERT … ON CONFLICT fails, and nothing stops the second row "
                        "of a kind, on which the build then fails",
                    )  # fmt: skip


def _list_unique_dropped(step: Step) -> list[tuple[str, str, tuple[str, ...]]]:
    """The unique indexes and constraints that a statement drops: name, table, columns."""
    body, before = step.statement.body, step.before
    if step.statement.kind == "drop_stmt" and body["remove_type"] == "OBJECT_INDEX":
        known = [(name, before.find_index(name)) for name in dropped_names(body)]
        return [(name, index.table, index.columns) for name, index in known if index is not None and index.unique]
    if step.statement.kind != "alter_table_stmt":
        return []
    table = name_of(body["relation"])
    constraints = before.tables[table].constraints if table in before.tables else {}
    names = [command["name"] for command in commands_of(body) if subtype_of(command) == "AT_DropConstraint"]
    return [
        (name, table, constraints[name].columns)
        for name in names
        if name in constraints and constraints[name].kind in ("CONSTR_UNIQUE", "CONSTR_PRIMARY")
    ]


def _has_other(schema: Schema, table: str, columns: tuple[str, ...], name: str) -> bool:
    known = schema.tables.get(table)
    indexes = {
        key: item.columns
        for key, item in schema.indexes.items()
        if item.unique and not item.partial and item.table == table
    }
    constraints = {
        key: item.columns
        for key, item in (known.constraints.items() if known is not None else ())
        if item.kind in ("CONSTR_UNIQUE", "CONSTR_PRIMARY")
    }
    others = {**indexes, **constraints}
    return any(set(found) == set(columns) for key, found in others.items() if key != name)


def _find_return(steps: tuple[Step, ...], table: str, columns: tuple[str, ...]) -> Step | None:
    """The statement that makes such an index again."""
    for step in steps:
        body = step.statement.body
        if step.statement.kind == "index_stmt" and body.get("unique") and name_of(body["relation"]) == table:
            if {item["index_elem"].get("name") for item in body.get("index_params", ())} == set(columns):
                return step
        elif step.statement.kind == "alter_table_stmt" and name_of(body["relation"]) == table:
            made = [command.get("def", {}).get("constraint", {}) for command in commands_of(body)]
            keys = [{key["string"]["sval"] for key in item.get("keys", ())} for item in made]
            if set(columns) in keys:
                return step
    return None


def _find_conflicts(history: History, table: str, columns: tuple[str, ...], name: str) -> list[Conflict]:
    known = [*history.code.conflicts.get(table, ()), *history.code.conflicts.get("", ())]
    return [item for item in known if item.constraint == name or (item.columns and item.columns == set(columns))]
