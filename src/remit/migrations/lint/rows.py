"""How many rows a statement changes, as far as its condition tells."""

from remit.migrations.lint.model import Node
from remit.migrations.lint.parse import walk
from remit.migrations.lint.schema import Schema


def measure(statement_body: Node, schema: Schema, table: str) -> str:
    """How many rows an UPDATE or DELETE may change, by its condition: `few`, a `batch`, or the `whole` table."""
    body = dict(statement_body)
    where = body.get("where_clause")
    if where is None:
        return "whole"
    tests = _list_conjuncts(where)
    keyed = [test for test in tests if _is_key_test(test, schema, table)]
    if any(map(_is_never, tests)) or any(_is_of_target(test, body) for test in keyed):
        return "few"
    if (keyed or _is_listed(body)) and any(_is_key_join(test, schema, table) for test in tests):
        return "few"
    if any("limit_count" in node for kind, node in walk(body) if kind in ("select_stmt", "subselect")):
        return "batch"
    return "batch" if _is_range(tests) else "whole"


def measure_merge(body: Node) -> str:
    """How many rows a MERGE may change: `few` where the statement itself lists what is merged, else the `whole`."""
    unlisted = any(
        item["merge_when_clause"].get("match_kind") == "MERGE_WHEN_NOT_MATCHED_BY_SOURCE"
        for item in body["merge_when_clauses"]
    )
    listed = any(kind == "select_stmt" and "values_lists" in node for kind, node in walk({"": body["source_relation"]}))
    read = any(kind == "range_var" for kind, _ in walk({"": body["source_relation"]}))
    return "few" if listed and not read and not unlisted else "whole"


def _list_conjuncts(where: Node) -> list[Node]:
    if where.get("bool_expr", {}).get("boolop") == "AND_EXPR":
        return [part for item in where["bool_expr"]["args"] for part in _list_conjuncts(item)]
    return [where]


def _column_of(expression: Node) -> str | None:
    if "type_cast" in expression:
        return _column_of(expression["type_cast"]["arg"])
    fields = expression.get("column_ref", {}).get("fields", ())
    return fields[-1].get("string", {}).get("sval") if fields else None


def _is_value(node: Node) -> bool:
    if "list" in node:
        return all(_is_value(item) for item in node["list"]["items"])
    if "a_array_expr" in node:
        return all(_is_value(item) for item in node["a_array_expr"].get("elements", ()))
    if "type_cast" in node:
        return _is_value(node["type_cast"]["arg"])
    return "a_const" in node or "param_ref" in node


def _is_never(test: Node) -> bool:
    """`WHERE false`, which only asks whether the statement parses."""
    constant = test.get("a_const", {})
    return "boolval" in constant and not constant["boolval"].get("boolval", False)


def _is_key_test(test: Node, schema: Schema, table: str) -> bool:
    comparison = test.get("a_expr", {})
    if comparison.get("kind") not in ("AEXPR_OP", "AEXPR_IN", "AEXPR_OP_ANY"):
        return False
    if comparison["name"][-1]["string"]["sval"] != "=":
        return False
    left, right = comparison["lexpr"], comparison["rexpr"]
    if _is_value(left):
        left, right = right, left
    if not _is_value(right):
        return False
    return _is_key(_column_of(left), schema, table)


def _is_of_target(key_test: Node, body: Node) -> bool:
    """Whether the tested column is of the table that the statement changes, and not of one beside it."""
    target = body.get("relation")
    sides = (key_test["a_expr"][side] for side in ("lexpr", "rexpr"))
    [fields] = [side.get("column_ref", {}).get("fields", ()) for side in sides if _column_of(side) is not None]
    if target is None or len(fields) < 2:
        return True
    called = target.get("alias", {}).get("aliasname", target["relname"])
    return bool(fields[-2].get("string", {}).get("sval") == called)


def _is_listed(body: Node) -> bool:
    """Whether the rows are joined with nothing but rows that the statement itself lists."""
    sources = [item.get("range_subselect", {}).get("subquery", {}) for item in body.get("from_clause", ())]
    return bool(sources) and all("values_lists" in source.get("select_stmt", {}) for source in sources)


def _is_key_join(test: Node, schema: Schema, table: str) -> bool:
    comparison = test.get("a_expr", {})
    if comparison.get("kind") != "AEXPR_OP" or comparison["name"][-1]["string"]["sval"] != "=":
        return False
    columns = [_column_of(comparison[side]) for side in ("lexpr", "rexpr") if side in comparison]
    return len(columns) == 2 and all(columns) and any(_is_key(column, schema, table) for column in columns)


def _is_key(column: str | None, schema: Schema, table: str) -> bool:
    return column in ("id", "uuid", "pk") or (column is not None and (column,) in schema.list_keys(table))


def _is_range(tests: list[Node]) -> bool:
    comparisons = [test.get("a_expr", {}) for test in tests]
    if any(item.get("kind") == "AEXPR_BETWEEN" for item in comparisons):
        return True
    operators: dict[str | None, set[str]] = {}
    for item in comparisons:
        if item.get("kind") == "AEXPR_OP" and _is_value(item["rexpr"]):
            operators.setdefault(_column_of(item["lexpr"]), set()).add(item["name"][0]["string"]["sval"])
    return any(found & {"<", "<="} and found & {">", ">="} for found in operators.values())
