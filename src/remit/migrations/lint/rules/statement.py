"""Single statements that squawk does not judge, or judges without knowing the table's history."""

from collections.abc import Iterator, Sequence

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.code import Mention
from remit.migrations.lint.locks import Mode
from remit.migrations.lint.model import Finding, Node
from remit.migrations.lint.new_column import rewrites_on_add
from remit.migrations.lint.parse import UNKNOWN, commands_of, join_names, name_of, subtype_of
from remit.migrations.lint.rewrite_parts import write_call
from remit.migrations.lint.rules.finding import fill_code, find
from remit.migrations.lint.view import History, RevisionView, Step
from remit.migrations.lint.work import list_nullable_keys

SQUAWK_NAMES = {
    "CONSTR_CHECK", "CONSTR_FOREIGN", "CONSTR_UNIQUE", "CONSTR_PRIMARY",
}  # fmt: skip


def each_step(view: RevisionView) -> Iterator[Step]:
    """The steps of both directions."""
    yield from view.upgrade
    yield from view.downgrade


def check_scans(history: History) -> Iterator[Finding]:
    """A lock that stops writers, held while a busy table is read or written from end to end."""
    for view in history.asked:
        for step in each_step(view):
            yield from _check_scan(view, step)


def _check_scan(view: RevisionView, step: Step) -> Iterator[Finding]:
    statement = step.statement
    parts = [part for part in (statement, *statement.inner) if part.kind == "alter_table_stmt"]
    commands = [command for part in parts for command in commands_of(part.body)]
    for command in commands:
        kind = subtype_of(command)
        if kind == "AT_SetNotNull" and step.work:
            yield find(view, step, "set-not-null-scans-table", column=command["name"])
            return
        if kind == "AT_AlterColumnType" and step.work:
            yield find(view, step, "column-type-rewrites-table", column=command["name"])
            return
        if kind == "AT_AddColumn" and step.work and _is_filled_by_type(command["def"]["column_def"], step):
            yield find(view, step, "adding-field-with-default", column=command["def"]["column_def"]["colname"])
            return
        if kind == "AT_AddConstraint" and step.work:
            nullable = list_nullable_keys(command["def"]["constraint"], step.before, step.table)
            if nullable:
                names = {"table": step.table, "column": nullable[0]}
                first = fill_code(CATALOG["set-not-null-scans-table"].fix, names, statement.sql)
                code = f"{first}\n{write_call(statement.sql)}"
                yield find(view, step, "set-not-null-scans-table", code=code, column=nullable[0])
                return
    if judged_by_squawk(statement.kind, statement.body):
        return
    if statement.kind == "refresh_mat_view_stmt" and statement.body.get("concurrent"):
        return  # nobody else writes a materialized view
    stopped = [table for table, mode in step.locks.items() if mode >= Mode.SHARE and table in step.work]
    for table in stopped[:1]:
        yield find(view, step, "long-work-under-lock", table=table, work=step.work[table])


def judged_by_squawk(kind: str, body: Node) -> bool:
    """Whether one of squawk's rules is about this kind of slow statement."""
    if kind in ("index_stmt", "reindex_stmt"):
        return True
    if kind != "alter_table_stmt":
        return False
    for command in commands_of(body):
        definition = command.get("def", {})
        match subtype_of(command):
            case "AT_AddConstraint" if definition["constraint"]["contype"] in SQUAWK_NAMES:
                return True
            case "AT_AddColumn" if not _is_only_checked(definition["column_def"]):
                return True
    return False


def _is_filled_by_type(column: Node, step: Step) -> bool:
    """A column of which only the type tells that every row gets a value or is checked, which squawk passes."""
    kinds = {item["constraint"]["contype"] for item in column.get("constraints", ())}
    known = {"CONSTR_PRIMARY", "CONSTR_UNIQUE", "CONSTR_FOREIGN", "CONSTR_CHECK", "CONSTR_DEFAULT"}
    return rewrites_on_add(column, step.before) and not kinds & {*known, "CONSTR_GENERATED", "CONSTR_IDENTITY"}


def _is_only_checked(column: Node) -> bool:
    """A column with an inline check and nothing else that takes time; squawk passes it."""
    kinds = {item["constraint"]["contype"] for item in column.get("constraints", ())}
    return "CONSTR_CHECK" in kinds and not kinds & {"CONSTR_UNIQUE", "CONSTR_PRIMARY", "CONSTR_FOREIGN"}


def check_renames(history: History) -> Iterator[Finding]:
    """What is in use gets another name: code of before and of after cannot both run."""
    for view in history.asked:
        for steps in (view.upgrade, view.downgrade):
            for place, step in enumerate(steps):
                renamed = _find_renamed(history, step)
                if renamed is None or _stays_as_view(step, steps[place + 1 :]):
                    continue
                what, known, names = renamed
                used = f"; the code names it at {known[0]}" if known else ""
                yield find(view, step, "rename-breaks-running-code", level=None, what=what, used=used, **names)


Renamed = tuple[str, list[Mention], dict[str, str]]
"""What it is, where the code names it, and the names for the texts."""


def _find_renamed(history: History, step: Step) -> Renamed | None:
    body, before, own = step.statement.body, step.before, step.statement.revision
    match step.statement.kind, body.get("rename_type"):
        case "alter_object_schema_stmt", _ if step.locks:
            new = f"{body['newschema']}.{step.table.rpartition('.')[2]}"
            return f"table {step.table}", history.code.tables.get(step.table, []), {"name": new}
        case "alter_enum_stmt", _ if "old_val" in body:
            name = join_names(body["type_name"])
            return (
                None if before.types.get(name) == own else (f"value {body['old_val']} of {name}", [], {"table": name})
            )
        case "rename_stmt", "OBJECT_COLUMN" if step.locks:
            known = history.code.columns.get((step.table, body["subname"]), [])
            names = {"column": body["subname"], "name": body["newname"]}
            return f"column {step.table}.{body['subname']}", known, names
        case "rename_stmt", "OBJECT_TABLE" if step.locks:
            return f"table {step.table}", history.code.tables.get(step.table, []), {"name": body["newname"]}
        case "rename_stmt", "OBJECT_VIEW" | "OBJECT_MATVIEW":
            name = name_of(body["relation"])
            made = before.tables[name].revision if name in before.tables else before.views.get(name)
            known = history.code.tables.get(name, [])
            return None if made == own else (f"view {name}", known, {"table": name, "name": body["newname"]})
        case "rename_stmt", "OBJECT_SCHEMA":
            inside = [name for name in before.tables if name.startswith(f"{body['subname']}.")]
            if any(before.tables[name].revision != own for name in inside):
                known = [mention for name in inside for mention in history.code.tables.get(name, [])]
                return f"schema {body['subname']}", known, {"table": body["subname"], "name": body["newname"]}
    return None


def _stays_as_view(step: Step, later: Sequence[Step]) -> bool:
    """Whether a view takes a table's old name before anybody can see that it is gone."""
    if step.statement.body.get("rename_type", step.statement.body.get("object_type")) != "OBJECT_TABLE":
        return False
    return any(
        other.statement.kind == "view_stmt"
        and other.statement.transaction is not None
        and other.statement.transaction == step.statement.transaction
        and name_of(other.statement.body["view"]) == step.table
        for other in later
    )


def check_dynamic(history: History) -> Iterator[Finding]:
    """What runs is put together when it runs, so that nothing of it can be judged."""
    for view in history.asked:
        for step in each_step(view):
            for part in (step.statement, *step.statement.inner):
                if part.kind == UNKNOWN:
                    yield find(view, step, "dynamic-sql-not-judged", what=part.sql)
                elif part.kind == "call_stmt" and not step.statement.inner:
                    name = join_names(part.body["funccall"]["funcname"])
                    yield find(view, step, "dynamic-sql-not-judged", what=f"the procedure {name}")
