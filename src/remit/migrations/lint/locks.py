"""Which tables a statement locks, and how. After PostgreSQL's manual, chapter 13.3, and the notes of its commands;
tests/lint/test_statement_effects.py holds it to what a server does.
"""

from enum import IntEnum

from remit.migrations.lint.model import Node, Statement
from remit.migrations.lint.parse import commands_of, dropped_names, join_names, name_of, subtype_of, walk
from remit.migrations.lint.schema import Schema


class Mode(IntEnum):
    """The lock modes of tables, weakest first."""

    ACCESS_SHARE = 1
    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8


_ALTER_MODES = {
    "AT_ValidateConstraint": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_SetStatistics": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_SetOptions": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_ResetOptions": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_SetRelOptions": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_ResetRelOptions": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_ClusterOn": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_DropCluster": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_AttachPartition": Mode.SHARE_UPDATE_EXCLUSIVE,
    **{
        f"AT_{verb}{which}": Mode.SHARE_ROW_EXCLUSIVE
        for verb in ("Enable", "Disable", "EnableAlways", "EnableReplica")
        for which in ("Trig", "TrigAll", "TrigUser")
    },
}
_FOR_CHILDREN_TOO = {
    "AT_AddColumn", "AT_DropColumn", "AT_AlterColumnType", "AT_AddConstraint", "AT_DropConstraint", "AT_SetNotNull",
    "AT_DropNotNull", "AT_ValidateConstraint", "AT_ColumnDefault", "AT_SetExpression", "AT_DropExpression",
}  # fmt: skip
_TABLE_LIKE = ("OBJECT_TABLE", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE")


def find_locks(statement: Statement, schema: Schema) -> dict[str, Mode]:
    """The tables that a statement locks, each in its strongest mode."""
    found: dict[str, Mode] = {}
    for part in (statement, *statement.inner):
        for table, mode in _find_locks(part.kind, part.body, schema):
            found[table] = max(mode, found.get(table, mode))
    return found


def _find_locks(kind: str, body: Node, schema: Schema) -> list[tuple[str, Mode]]:  # noqa: C901, PLR0912 - a table
    match kind:
        case "alter_table_stmt" if body.get("objtype") == "OBJECT_TABLE":
            return _find_alter_locks(body, schema)
        case "alter_table_stmt" if body.get("objtype") == "OBJECT_INDEX" and moves_index(body):
            # It locks the index, which whoever plans a query of the table waits for.
            index = schema.find_index(name_of(body["relation"]))
            return [(index.table, Mode.ACCESS_EXCLUSIVE)] if index is not None else []
        case "alter_table_move_all_stmt" if body["objtype"] == "OBJECT_TABLE":
            return [(name, Mode.ACCESS_EXCLUSIVE) for name in schema.tables]
        case "rename_stmt" if "relation" in body and body["rename_type"] in (
            "OBJECT_TABLE", "OBJECT_COLUMN", "OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE",
        ):  # fmt: skip
            return [(name_of(body["relation"]), Mode.ACCESS_EXCLUSIVE)]
        case "alter_object_schema_stmt" if body["object_type"] in _TABLE_LIKE:
            return [(name_of(body["relation"]), Mode.ACCESS_EXCLUSIVE)]
        case "index_stmt":
            return _find_index_locks(body, schema)
        case "drop_stmt":
            return _find_drop_locks(body, schema)
        case "truncate_stmt":
            return [(name, Mode.ACCESS_EXCLUSIVE) for name in list_truncated(body, schema)]
        case "vacuum_stmt":
            mode = Mode.ACCESS_EXCLUSIVE if is_full_vacuum(body) else Mode.SHARE_UPDATE_EXCLUSIVE
            return [(name_of(item["vacuum_relation"]["relation"]), mode) for item in body.get("rels", ())]
        case "cluster_stmt" if "relation" in body:
            return [(name_of(body["relation"]), Mode.ACCESS_EXCLUSIVE)]
        case "reindex_stmt":
            mode = Mode.SHARE_UPDATE_EXCLUSIVE if is_concurrent_reindex(body) else Mode.SHARE
            return [(name, mode) for name in list_reindexed(body, schema)]
        case "create_trig_stmt" if body.get("relation"):
            return [(name_of(body["relation"]), Mode.SHARE_ROW_EXCLUSIVE)]
        case "lock_stmt":
            mode = Mode(body.get("mode", 8))
            return [(name_of(item["range_var"]), mode) for item in body["relations"]]
        case "create_policy_stmt" | "alter_policy_stmt":
            return [(name_of(body["table"]), Mode.ACCESS_EXCLUSIVE)]
        case "rule_stmt":
            return [(name_of(body["relation"]), Mode.ACCESS_EXCLUSIVE)]
        case "create_stmt":
            mode = Mode.ACCESS_EXCLUSIVE if "partbound" in body else Mode.SHARE_UPDATE_EXCLUSIVE
            found = [(name_of(item["range_var"]), mode) for item in body.get("inh_relations", ())]
            if "partbound" in body:
                found += [(other, mode) for name, _ in found if (other := schema.find_default_partition(name))]
            return found + [(target, Mode.SHARE_ROW_EXCLUSIVE) for target in find_referenced(body)]
        case "update_stmt" | "delete_stmt" | "insert_stmt" | "merge_stmt":
            return [(name_of(body["relation"]), Mode.ROW_EXCLUSIVE)]
        case "refresh_mat_view_stmt":
            return [(name_of(body["relation"]), Mode.EXCLUSIVE if body.get("concurrent") else Mode.ACCESS_EXCLUSIVE)]
        case "alter_domain_stmt" if reads_domain(body):
            return [(name, Mode.SHARE) for name in schema.find_users(join_names(body["type_name"]))]
        case "comment_stmt" if body["objtype"] in ("OBJECT_TABLE", "OBJECT_COLUMN"):
            parts = [item["string"]["sval"] for item in body["object"].get("list", {}).get("items", ())]
            names = [part for part in parts[: -1 if body["objtype"] == "OBJECT_COLUMN" else None] if part != "public"]
            return [(".".join(names), Mode.SHARE_UPDATE_EXCLUSIVE)]
        case "create_stats_stmt":
            tables = [item["range_var"] for item in body["relations"] if "range_var" in item]
            return [(name_of(table), Mode.SHARE_UPDATE_EXCLUSIVE) for table in tables]
        case "create_publication_stmt" | "alter_publication_stmt":
            tables = [node["relation"] for key, node in walk(dict(body)) if key == "pubtable"]
            return [(name_of(table), Mode.SHARE_UPDATE_EXCLUSIVE) for table in tables]
    return []


def moves_index(body: Node) -> bool:
    """Whether an ALTER INDEX copies the index to another place."""
    return any(subtype_of(command) == "AT_SetTableSpace" for command in commands_of(body))


def _find_alter_locks(body: Node, schema: Schema) -> list[tuple[str, Mode]]:
    table = name_of(body["relation"])
    found = []
    for command in commands_of(body):
        kind, definition = subtype_of(command), command.get("def", {})
        constraint = definition.get("constraint", {})
        mode = _ALTER_MODES.get(kind, Mode.ACCESS_EXCLUSIVE)
        if constraint.get("contype") == "CONSTR_FOREIGN":
            mode = Mode.SHARE_ROW_EXCLUSIVE
        partition = definition.get("partition_cmd", {})
        if kind == "AT_DetachPartition" and partition.get("concurrent"):
            mode = Mode.SHARE_UPDATE_EXCLUSIVE
        found.append((table, mode))
        if kind in _FOR_CHILDREN_TOO and body["relation"].get("inh"):
            found += [(child, mode) for child in schema.list_children(table)]
        if kind == "AT_AttachPartition":
            found.append((name_of(partition["name"]), Mode.ACCESS_EXCLUSIVE))
            default = schema.find_default_partition(table)
            found += [(default, Mode.ACCESS_EXCLUSIVE)] if default is not None else []
        elif kind == "AT_DetachPartition":
            found.append((name_of(partition["name"]), mode))
        found += [(target, Mode.SHARE_ROW_EXCLUSIVE) for target in find_referenced(definition)]
        if kind == "AT_DropConstraint":
            known = schema.tables[table].constraints.get(command["name"]) if table in schema.tables else None
            if known is not None and known.references:
                found.append((known.references, Mode.ACCESS_EXCLUSIVE))
    return found


def _find_index_locks(body: Node, schema: Schema) -> list[tuple[str, Mode]]:
    mode = Mode.SHARE_UPDATE_EXCLUSIVE if body.get("concurrent") else Mode.SHARE
    table = name_of(body["relation"])
    children = schema.list_partitions(table) if body["relation"].get("inh") else []
    return [(name, mode) for name in (table, *children)]


def find_referenced(node: Node) -> list[str]:
    """The tables that foreign keys in a definition refer to."""
    return [name_of(part["pktable"]) for kind, part in walk(dict(node)) if kind == "constraint" and "pktable" in part]


def _find_drop_locks(body: Node, schema: Schema) -> list[tuple[str, Mode]]:
    found = []
    if body["remove_type"] in _TABLE_LIKE:
        for name in dropped_names(body):
            found.append((name, Mode.ACCESS_EXCLUSIVE))
            constraints = schema.tables[name].constraints.values() if name in schema.tables else ()
            found += [(item.references, Mode.ACCESS_EXCLUSIVE) for item in constraints if item.references]
            found += [(other, Mode.ACCESS_EXCLUSIVE) for other in schema.list_children(name)]
            if body.get("behavior") == "DROP_CASCADE":
                found += [(other, Mode.ACCESS_EXCLUSIVE) for other in schema.list_referring(name)]
    elif body["remove_type"] == "OBJECT_INDEX":
        mode = Mode.SHARE_UPDATE_EXCLUSIVE if body.get("concurrent") else Mode.ACCESS_EXCLUSIVE
        known = [schema.find_index(name) for name in dropped_names(body)]
        found = [(index.table, mode) for index in known if index is not None]
    elif body["remove_type"] in ("OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE"):
        found = [(name.rpartition(".")[0], Mode.ACCESS_EXCLUSIVE) for name in dropped_names(body)]
    return found


def list_truncated(body: Node, schema: Schema) -> list[str]:
    """The tables that a TRUNCATE empties; with CASCADE also those that refer to them, as far as they are known."""
    names = [name_of(item["range_var"]) for item in body["relations"]]
    waiting = list(names)
    while waiting:
        table = waiting.pop()
        others = schema.list_children(table)
        if body.get("behavior") == "DROP_CASCADE":
            others = others + schema.list_referring(table)
        fresh = [name for name in others if name not in names]
        names += fresh
        waiting += fresh
    return names


def list_reindexed(body: Node, schema: Schema) -> list[str]:
    """The tables whose indexes a REINDEX builds again."""
    if "relation" not in body:
        return [name for name, table in schema.tables.items() if not table.partitioned] or ["every table"]
    name = name_of(body["relation"])
    index = schema.find_index(name)
    return [index.table if index is not None else name]


def reads_domain(body: Node) -> bool:
    """Whether an ALTER DOMAIN reads the rows of the tables that use it."""
    if body.get("subtype") == "C":
        return not body.get("def", {}).get("constraint", {}).get("skip_validation")
    return body.get("subtype") in ("O", "V")  # SET NOT NULL, VALIDATE


def is_full_vacuum(body: Node) -> bool:
    """Whether a VACUUM writes the table anew."""
    return any(
        item["def_elem"]["defname"] == "full" and not says_no(item["def_elem"]) for item in body.get("options", ())
    )


def is_concurrent_reindex(body: Node) -> bool:
    """Whether a REINDEX lets writers pass."""
    return any(
        item["def_elem"]["defname"] == "concurrently" and not says_no(item["def_elem"])
        for item in body.get("params", ())
    )


def says_no(option: Node) -> bool:
    """Whether an option is switched off."""
    argument = option.get("arg", {})
    text = argument.get("string", {}).get("sval", "") or str(argument.get("integer", {}).get("ival", ""))
    return text.lower() in ("false", "off", "0") or argument == {"integer": {}}
