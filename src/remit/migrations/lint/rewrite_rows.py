"""The safe forms of statements that change rows."""

from typing import Any

from remit.migrations.lint.new_column import is_volatile
from remit.migrations.lint.parse import join_names, parse, walk
from remit.migrations.lint.rewrite_parts import BLOCK, deparse, name_relation, quote_name, write_call, write_expression
from remit.migrations.lint.schema import Schema

_OF_NOW = ("now", "transaction_timestamp", "statement_timestamp", "txid_current", "pg_current_xact_id")
_GRAPH = "(resource_type, resource_id, relation, subject_type, subject_id)"


def write_in_batches(body: Any, kind: str, before: Schema) -> str | None:
    """An UPDATE with values that stay the same, or a DELETE, a thousand rows at a time."""
    if kind not in ("update_stmt", "delete_stmt") or body.with_clause.ctes:
        return None
    if (body.from_clause if kind == "update_stmt" else body.using_clause) or body.relation.relname == "unknown_name":
        return None
    table = name_relation(body.relation)
    alias = f" {quote_name(body.relation.alias.aliasname)}" if body.relation.alias.aliasname else ""
    conditions = [f"({write_expression(body.where_clause)})"] if body.where_clause.WhichOneof("node") else []
    if kind == "update_stmt":
        targets = [item.res_target for item in body.target_list]
        if any(not target.val.WhichOneof("node") or target.val.HasField("multi_assign_ref") for target in targets):
            return None
        pairs = [(quote_name(target.name), write_expression(target.val)) for target in targets]
        names = {body.relation.relname, body.relation.alias.aliasname}
        columns = {target.name for target in targets}
        if not all(_settles(value, names, columns, before) for _, value in pairs):
            return None
        changed = " OR ".join(f"{column} IS DISTINCT FROM {value}" for column, value in pairs)
        conditions.append(changed if len(pairs) == 1 else f"({changed})")
        verb = f"UPDATE {table}{alias} SET {', '.join(f'{column} = {value}' for column, value in pairs)}"
    else:
        verb = f"DELETE FROM {table}{alias}"
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    change = write_call(f"{verb} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}{alias}{where} LIMIT 1000))")
    return (
        "# outside of the migration, or in an autocommit block: each batch commits\n"
        f"{BLOCK}    while {change.replace('op.execute(', 'op.get_bind().execute(sa.text(', 1)}).rowcount:\n"
        "        pass"
    )


def _settles(value: str, names: set[str], columns: set[str], before: Schema) -> bool:
    """Whether a row that was given this value has it for good: batches of those that differ then come to an end."""
    [select] = parse(f"SELECT {value}")
    for kind, node in walk(dict(select.body)):
        if kind in ("sqlvalue_function", "set_to_default"):
            return False
        if kind == "func_call" and join_names(node["funcname"]) in _OF_NOW:
            return False
        if kind == "column_ref":
            *table, column = (field.get("string", {}).get("sval", "") for field in node["fields"])
            if column in columns and (not table or table[-1] in names):
                return False
    return not is_volatile(select.body, before)


def register(body: Any, kind: str, _: Schema) -> str | None:
    """The change with that of the relationships, in the same transaction."""
    if kind not in ("insert_stmt", "delete_stmt"):
        return None
    table, type_name = name_relation(body.relation), body.relation.relname.removesuffix("s")
    change = write_call(deparse(kind, body))
    if kind == "insert_stmt":
        graph = (
            f"INSERT INTO relationships {_GRAPH} SELECT '{type_name}', id, 'RELATION', 'SUBJECT_TYPE', SUBJECT_ID "
            f"FROM {table} WHERE CONDITION"
        )
        return f"{change}\n{write_call(graph)}  # or a message that makes them, in the same transaction"
    where = f" WHERE {write_expression(body.where_clause)}" if body.where_clause.WhichOneof("node") else ""
    graph = (
        f"DELETE FROM relationships WHERE resource_type = '{type_name}' AND resource_id IN "
        f"(SELECT id::text FROM {table}{where})"
    )
    return f"{write_call(graph)}  # or a message that removes them, in the same transaction\n{change}"
