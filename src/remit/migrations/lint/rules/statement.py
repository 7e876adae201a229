"""Single statements that squawk does not judge, or judges without knowing the table's history."""

from collections.abc import Iterator

from remit.migrations.lint.locks import Mode
from remit.migrations.lint.model import Finding, Node
from remit.migrations.lint.rules.finding import find
from remit.migrations.lint.schema import commands_of, subtype_of
from remit.migrations.lint.view import History, RevisionView, Step

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


def _is_only_checked(column: Node) -> bool:
    """A column with an inline check and nothing else that takes time; squawk passes it."""
    kinds = {item["constraint"]["contype"] for item in column.get("constraints", ())}
    return "CONSTR_CHECK" in kinds and not kinds & {"CONSTR_UNIQUE", "CONSTR_PRIMARY", "CONSTR_FOREIGN"}


def check_renames(history: History) -> Iterator[Finding]:
    """A table or column in use gets another name: code of before and of after cannot both run."""
    for view in history.asked:
        for step in each_step(view):
            body = step.statement.body
            if step.statement.kind == "alter_object_schema_stmt" and step.locks:
                known, what = history.code.tables.get(step.table, []), f"table {step.table}"
                used = f"; the code names it at {known[0]}" if known else ""
                new = f"{body['newschema']}.{step.table.rpartition('.')[2]}"
                yield find(view, step, "rename-breaks-running-code", what=what, used=used, column="", name=new)
                continue
            if step.statement.kind != "rename_stmt" or not step.locks:
                continue
            if body["rename_type"] == "OBJECT_COLUMN":
                known = history.code.columns.get((step.table, body["subname"]), [])
                what = f"column {step.table}.{body['subname']}"
            elif body["rename_type"] == "OBJECT_TABLE":
                known, what = history.code.tables.get(step.table, []), f"table {step.table}"
            else:
                continue
            used = f"; the code names it at {known[0]}" if known else ""
            yield find(
                view, step, "rename-breaks-running-code", what=what, used=used, column=body.get("subname", ""),
                name=body["newname"],
            )  # fmt: skip
