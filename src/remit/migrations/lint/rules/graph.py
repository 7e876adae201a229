"""Tables whose rows are resources of the relationship graph, as the project's settings name them."""

from collections.abc import Iterator

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.model import Finding, Node, Statement
from remit.migrations.lint.parse import commands_of, dropped_names, find_constants, name_of, subtype_of, walk
from remit.migrations.lint.rules.finding import fill, find
from remit.migrations.lint.schema_objects import Table
from remit.migrations.lint.view import History, RevisionView, Step

_ID_TYPES = ("int2", "int4", "int8", "integer", "bigint", "smallint", "uuid")
"""Of the keys of rows; an id that another system gave is a text."""


def check_rows(history: History) -> Iterator[Finding]:
    """Rows inserted, deleted or given another parent, of which the graph learns nothing."""
    registered = history.settings.registered_tables
    if not registered:
        return
    for view in history.asked:
        if _registers(view, history.settings.registration_tables):
            continue
        for step in view.upgrade:
            for part in (step.statement, *step.statement.inner):
                done = _change(part, step, registered)
                if done is not None:
                    yield find(view, step, "registered-rows-changed", table=done[0], done=done[1])


def _registers(view: RevisionView, tables: frozenset[str]) -> bool:
    for step in view.upgrade:
        for part in (step.statement, *step.statement.inner):
            if part.kind in ("insert_stmt", "update_stmt", "delete_stmt") and name_of(part.body["relation"]) in tables:
                return True
    return False


def _change(statement: Statement, step: Step, registered: frozenset[str]) -> tuple[str, str] | None:
    body = statement.body
    match statement.kind:
        case "insert_stmt" if name_of(body["relation"]) in registered:
            return name_of(body["relation"]), "inserts rows into"
        case "delete_stmt" if name_of(body["relation"]) in registered:
            return name_of(body["relation"]), "deletes rows of"
        case "copy_stmt" if body.get("is_from") and name_of(body["relation"]) in registered:
            return name_of(body["relation"]), "inserts rows into"
        case "merge_stmt" if name_of(body["relation"]) in registered:
            return _find_merged(body, step, registered)
        case "truncate_stmt":
            names = [name_of(item["range_var"]) for item in body["relations"]]
            return next(((name, "deletes all rows of") for name in names if name in registered), None)
        case "drop_stmt" if body["remove_type"] == "OBJECT_TABLE":
            return next(((name, "drops") for name in dropped_names(body) if name in registered), None)
        case "update_stmt" if name_of(body["relation"]) in registered:
            table = name_of(body["relation"])
            if _sets_parent(body, step.before.tables.get(table), registered):
                return table, "gives another parent to rows of"
    return None


def _find_merged(body: Node, step: Step, registered: frozenset[str]) -> tuple[str, str] | None:
    table = name_of(body["relation"])
    clauses = [item["merge_when_clause"] for item in body["merge_when_clauses"]]
    for kind, done in (("CMD_INSERT", "inserts rows into"), ("CMD_DELETE", "deletes rows of")):
        if any(clause["command_type"] == kind for clause in clauses):
            return table, done
    if any(_sets_parent(clause, step.before.tables.get(table), registered) for clause in clauses):
        return table, "gives another parent to rows of"
    return None


def _sets_parent(body: Node, known: Table | None, registered: frozenset[str]) -> bool:
    """Whether an assignment is to what a row belongs to: a reference to a registered table, or the id of anything."""
    columns = {item["res_target"]["name"] for item in body.get("target_list", ())}
    constraints = list(known.constraints.values()) if known else []
    if any(item.references in registered and columns & set(item.columns) for item in constraints):
        return True
    types = {name: known.columns[name].type for name in columns if known and name in known.columns}
    return any(name.endswith("_id") and types.get(name, "uuid") in _ID_TYPES for name in columns)


def check_cascades(history: History) -> Iterator[Finding]:
    """ON DELETE CASCADE removes rows of a registered table, and their relationships stay."""
    registered = history.settings.registered_tables
    for view in history.asked if registered else ():
        for step in view.upgrade:
            for table in _list_cascades(step.statement):
                if table in registered:
                    yield find(view, step, "registered-rows-cascade", table=table)


def _list_cascades(statement: Statement) -> list[str]:
    if statement.kind not in ("create_stmt", "alter_table_stmt"):
        return []
    if statement.kind == "alter_table_stmt":
        kinds = {subtype_of(command) for command in commands_of(statement.body)}
        if not kinds & {"AT_AddConstraint", "AT_AddColumn"}:
            return []
    table = name_of(statement.body["relation"])
    constraints = [node for kind, node in walk(dict(statement.body)) if kind == "constraint"]
    return [table for node in constraints if node.get("fk_del_action") == "c"][:1]


def check_dropped_relations(history: History) -> Iterator[Finding]:
    """A relation that the schema file no longer has, though the migrations delete none of its relationships."""
    tables = history.settings.registration_tables
    last = history.asked[-1].revision if history.asked else None
    deleted = list(_list_deleting(history, tables))
    for file, (dropped, commit) in history.dropped_relations.items():
        for kind, relation in sorted(dropped):
            if last is None or any(_is_about(statement, relation) for statement in deleted):
                continue
            info = CATALOG["dropped-relation-has-relationships"]
            names = {
                "what": f"relation {kind}#{relation}", "file": file, "why": f"which {commit} still has", "type": kind,
                "name": relation,
            }  # fmt: skip
            yield Finding(
                last.id, info.id, info.level, fill(info.message, names), last.file, last.line, "", fill(info.fix, names)
            )


def _list_deleting(history: History, tables: frozenset[str]) -> Iterator[Statement]:
    for view in history.asked:
        for step in view.upgrade:
            for part in (step.statement, *step.statement.inner):
                if part.kind in ("delete_stmt", "update_stmt") and name_of(part.body["relation"]) in tables:
                    yield part


def _is_about(statement: Statement, relation: str) -> bool:
    """Whether a statement names the relation, or a value that is only known when it runs."""
    body = dict(statement.body)
    named = list(find_constants(body))
    unknown = any(kind == "param_ref" for kind, _ in walk(body))
    return unknown or relation in named or any(text.endswith(f"#{relation}") for text in named)
