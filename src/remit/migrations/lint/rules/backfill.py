"""Rows of a busy table written by the migration itself."""

from collections import Counter
from collections.abc import Iterator

from remit.migrations.lint.model import Finding, Node, Site, Statement
from remit.migrations.lint.parse import name_of, walk
from remit.migrations.lint.rules.finding import find
from remit.migrations.lint.schema import Schema
from remit.migrations.lint.view import History, RevisionView, Step

_CHANGES = ("update_stmt", "delete_stmt")


def check_backfills(history: History) -> Iterator[Finding]:
    """An UPDATE or DELETE of unknown size, a loop over all rows, or batches that share one transaction."""
    for view in history.asked:
        yield from _check_revision(view)


def _check_revision(view: RevisionView) -> Iterator[Finding]:
    runs = Counter(step.statement.sites for step in view.upgrade)
    read: set[str] = set()
    told: set[tuple[Site, ...]] = set()
    for step in view.upgrade:
        statement = step.statement
        read |= _find_whole_reads(statement, step)
        if statement.sites in told and statement.sites:
            continue
        reason = _find_reason(step, read, repeated=runs[statement.sites] > 1)
        if reason is not None:
            told.add(statement.sites)
            table, text = reason
            yield find(view, step, "backfill-in-migration", table=table, why=text.format(table=table))
        elif statement.kind in ("insert_stmt", "create_table_as_stmt") and step.work:
            told.add(statement.sites)
            table = next(iter(step.work))
            why = f"copies the rows of {table} in one transaction"
            yield find(view, step, "backfill-in-migration", level="warn", table=table, why=why)


def _find_reason(step: Step, read: set[str], *, repeated: bool) -> tuple[str, str] | None:
    for part in (step.statement, *step.statement.inner):
        if part.kind not in _CHANGES or not step.locks:
            continue
        table = name_of(part.body["relation"])
        if table not in step.locks:
            continue
        size = measure(part, step.before, table)
        inside = part is not step.statement
        if size == "whole":
            return table, "changes any number of rows of {table} in one statement"
        if size == "batch" and (inside or repeated) and step.statement.transaction is not None:
            return table, "changes {table} in batches, but all of them in one transaction"
        if size == "few" and read and step.statement.transaction is not None:
            return table, "reads all rows of {table} and changes them one by one in one transaction"
    return None


def measure(statement: Statement, schema: Schema, table: str) -> str:
    """How many rows an UPDATE or DELETE may change, by its condition: `few`, a `batch`, or the `whole` table."""
    body = dict(statement.body)
    if any("limit_count" in node for kind, node in walk(body) if kind in ("select_stmt", "subselect")):
        return "batch"
    where = body.get("where_clause")
    if where is None:
        return "whole"
    tests = _list_conjuncts(where)
    if any(_is_key_test(test, schema, table) for test in tests):
        return "few"
    return "batch" if _is_range(tests) else "whole"


def _list_conjuncts(where: Node) -> list[Node]:
    if where.get("bool_expr", {}).get("boolop") == "AND_EXPR":
        return [part for item in where["bool_expr"]["args"] for part in _list_conjuncts(item)]
    return [where]


def _column_of(expression: Node) -> str | None:
    fields = expression.get("column_ref", {}).get("fields", ())
    return fields[-1].get("string", {}).get("sval") if fields else None


def _is_value(node: Node) -> bool:
    if "list" in node:
        return all(_is_value(item) for item in node["list"]["items"])
    inner = node.get("type_cast", {}).get("arg", node)
    return "a_const" in inner or "param_ref" in inner


def _is_key_test(test: Node, schema: Schema, table: str) -> bool:
    comparison = test.get("a_expr", {})
    equal = comparison.get("kind") in ("AEXPR_OP", "AEXPR_IN") and comparison["name"][0]["string"]["sval"] == "="
    if not equal or not _is_value(comparison["rexpr"]):
        return False
    column = _column_of(comparison["lexpr"])
    known = schema.tables.get(table)
    keys = {
        constraint.columns
        for constraint in (known.constraints.values() if known else ())
        if constraint.kind in ("CONSTR_PRIMARY", "CONSTR_UNIQUE")
    } | {index.columns for index in schema.indexes.values() if index.unique and index.table == table}
    return column in ("id", "uuid", "pk") or (column is not None and (column,) in keys)


def _is_range(tests: list[Node]) -> bool:
    comparisons = [test.get("a_expr", {}) for test in tests]
    if any(item.get("kind") == "AEXPR_BETWEEN" for item in comparisons):
        return True
    operators: dict[str | None, set[str]] = {}
    for item in comparisons:
        if item.get("kind") == "AEXPR_OP" and _is_value(item["rexpr"]):
            operators.setdefault(_column_of(item["lexpr"]), set()).add(item["name"][0]["string"]["sval"])
    return any(found & {"<", "<="} and found & {">", ">="} for found in operators.values())


def _find_whole_reads(statement: Statement, step: Step) -> set[str]:
    body = statement.body
    if statement.kind != "select_stmt" or "limit_count" in body or "group_clause" in body:
        return set()
    tables = {name_of(item["range_var"]) for item in body.get("from_clause", ()) if "range_var" in item}
    return {
        table
        for table in tables
        if (known := step.before.tables.get(table)) is None or known.revision != statement.revision
    }
