"""What a statement locks, and whether it takes time in proportion to a table. After PostgreSQL's manual, chapter 13.3,
and the notes of ALTER TABLE, CREATE INDEX and VALIDATE CONSTRAINT.
"""

from enum import IntEnum

from remit.migrations.lint.column_types import is_widening
from remit.migrations.lint.model import Node, Statement
from remit.migrations.lint.parse import deparse_type, name_of, walk
from remit.migrations.lint.schema import Schema, commands_of, dropped_names, subtype_of


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
    "AT_SetRelOptions": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_ResetRelOptions": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_ClusterOn": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_DropCluster": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_AttachPartition": Mode.SHARE_UPDATE_EXCLUSIVE,
    "AT_EnableTrig": Mode.SHARE_ROW_EXCLUSIVE,
    "AT_DisableTrig": Mode.SHARE_ROW_EXCLUSIVE,
    "AT_EnableAlwaysTrig": Mode.SHARE_ROW_EXCLUSIVE,
    "AT_EnableReplicaTrig": Mode.SHARE_ROW_EXCLUSIVE,
}


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
        case "rename_stmt" if "relation" in body and body["rename_type"] in ("OBJECT_TABLE", "OBJECT_COLUMN"):
            return [(name_of(body["relation"]), Mode.ACCESS_EXCLUSIVE)]
        case "rename_stmt" if body["rename_type"] == "OBJECT_TABCONSTRAINT":
            return [(name_of(body["relation"]), Mode.ACCESS_EXCLUSIVE)]
        case "index_stmt":
            mode = Mode.SHARE_UPDATE_EXCLUSIVE if body.get("concurrent") else Mode.SHARE
            return [(name_of(body["relation"]), mode)]
        case "drop_stmt":
            return _find_drop_locks(body, schema)
        case "truncate_stmt":
            return [(name_of(item["range_var"]), Mode.ACCESS_EXCLUSIVE) for item in body["relations"]]
        case "vacuum_stmt" if is_full_vacuum(body):
            return [
                (name_of(item["vacuum_relation"]["relation"]), Mode.ACCESS_EXCLUSIVE) for item in body.get("rels", ())
            ]
        case "cluster_stmt" if "relation" in body:
            return [(name_of(body["relation"]), Mode.ACCESS_EXCLUSIVE)]
        case "reindex_stmt" if "relation" in body:
            name = name_of(body["relation"])
            table = schema.indexes[name].table if name in schema.indexes else name
            return [(table, Mode.SHARE_UPDATE_EXCLUSIVE if is_concurrent_reindex(body) else Mode.ACCESS_EXCLUSIVE)]
        case "create_trig_stmt":
            return [(name_of(body["relation"]), Mode.SHARE_ROW_EXCLUSIVE)]
        case "lock_stmt":
            mode = Mode(body.get("mode", 8))
            return [(name_of(item["range_var"]), mode) for item in body["relations"]]
        case "create_policy_stmt" | "alter_policy_stmt":
            return [(name_of(body["table"]), Mode.ACCESS_EXCLUSIVE)]
        case "create_stmt":
            parents = body.get("inh_relations", ()) if "partbound" in body else ()
            found = [(name_of(item["range_var"]), Mode.ACCESS_EXCLUSIVE) for item in parents]
            return found + [(target, Mode.SHARE_ROW_EXCLUSIVE) for target in _find_referenced(body)]
        case "update_stmt" | "delete_stmt" | "insert_stmt" | "merge_stmt":
            return [(name_of(body["relation"]), Mode.ROW_EXCLUSIVE)]
        case "refresh_mat_view_stmt":
            return [(name_of(body["relation"]), Mode.EXCLUSIVE if body.get("concurrent") else Mode.ACCESS_EXCLUSIVE)]
    return []


def _find_alter_locks(body: Node, schema: Schema) -> list[tuple[str, Mode]]:
    table = name_of(body["relation"])
    found = []
    for command in commands_of(body):
        kind, definition = subtype_of(command), command.get("def", {})
        constraint = definition.get("constraint", {})
        mode = _ALTER_MODES.get(kind, Mode.ACCESS_EXCLUSIVE)
        if constraint.get("contype") == "CONSTR_FOREIGN":
            mode = Mode.SHARE_ROW_EXCLUSIVE
        if kind == "AT_DetachPartition" and definition.get("partition_cmd", {}).get("concurrent"):
            mode = Mode.SHARE_UPDATE_EXCLUSIVE
        found.append((table, mode))
        if kind == "AT_AttachPartition":
            found.append((name_of(definition["partition_cmd"]["name"]), Mode.ACCESS_EXCLUSIVE))
        found += [(target, Mode.SHARE_ROW_EXCLUSIVE) for target in _find_referenced(definition)]
        if kind == "AT_DropConstraint":
            known = schema.tables[table].constraints.get(command["name"]) if table in schema.tables else None
            if known is not None and known.references:
                found.append((known.references, Mode.ACCESS_EXCLUSIVE))
    return found


def _find_referenced(node: Node) -> list[str]:
    return [name_of(part["pktable"]) for kind, part in walk(dict(node)) if kind == "constraint" and "pktable" in part]


def _find_drop_locks(body: Node, schema: Schema) -> list[tuple[str, Mode]]:
    found = []
    if body["remove_type"] == "OBJECT_TABLE":
        for name in dropped_names(body):
            found.append((name, Mode.ACCESS_EXCLUSIVE))
            constraints = schema.tables[name].constraints.values() if name in schema.tables else ()
            found += [(item.references, Mode.ACCESS_EXCLUSIVE) for item in constraints if item.references]
    elif body["remove_type"] == "OBJECT_INDEX":
        mode = Mode.SHARE_UPDATE_EXCLUSIVE if body.get("concurrent") else Mode.ACCESS_EXCLUSIVE
        found = [(schema.indexes[name].table, mode) for name in dropped_names(body) if name in schema.indexes]
    elif body["remove_type"] in ("OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE"):
        found = [(name.rpartition(".")[0], Mode.ACCESS_EXCLUSIVE) for name in dropped_names(body)]
    return found


def find_work(statement: Statement, schema: Schema) -> dict[str, str]:
    """The tables whose size decides how long a statement takes, each with what it does to them."""
    found: dict[str, str] = {}
    for part in (statement, *statement.inner):
        found.update(_find_work(part.kind, part.body, schema))
    return found


def _find_work(kind: str, body: Node, schema: Schema) -> dict[str, str]:
    match kind:
        case "alter_table_stmt" if body.get("objtype") == "OBJECT_TABLE":
            return _find_alter_work(body, schema)
        case "index_stmt":
            return {name_of(body["relation"]): "builds an index over it"}
        case "reindex_stmt" if "relation" in body:
            name = name_of(body["relation"])
            return {schema.indexes[name].table if name in schema.indexes else name: "builds its indexes again"}
        case "update_stmt" | "delete_stmt":
            return {name_of(body["relation"]): "changes its rows"}
        case "insert_stmt" if "select_stmt" in body and "from_clause" in body["select_stmt"].get("select_stmt", {}):
            return dict.fromkeys(_read_tables(body["select_stmt"]), "copies its rows")
        case "create_table_as_stmt":
            return dict.fromkeys(_read_tables(body["query"]), "copies its rows")
        case "vacuum_stmt" if is_full_vacuum(body):
            return {name_of(item["vacuum_relation"]["relation"]): "rewrites it" for item in body.get("rels", ())}
        case "cluster_stmt" if "relation" in body:
            return {name_of(body["relation"]): "rewrites it"}
        case "refresh_mat_view_stmt":
            return {name_of(body["relation"]): "computes it again"}
    return {}


def _read_tables(node: Node) -> list[str]:
    return [name_of(value) for key, value in walk(dict(node)) if key == "range_var"]


def _find_alter_work(body: Node, schema: Schema) -> dict[str, str]:
    table = name_of(body["relation"])
    for command in commands_of(body):
        definition = command.get("def", {})
        match subtype_of(command):
            case "AT_ValidateConstraint":
                return {table: "reads every row"}
            case "AT_AddConstraint" if reads_rows(definition["constraint"]):
                return {table: "reads every row"}
            case "AT_SetNotNull" if not is_known_not_null(schema, table, command["name"]):
                return {table: "reads every row"}
            case "AT_AlterColumnType" if not is_widening(schema, table, command):
                return {table: "rewrites it"}
            case "AT_AddColumn" if what := _describe_new_column(definition["column_def"]):
                return {table: what}
            case "AT_SetTableSpace" | "AT_SetLogged" | "AT_SetUnLogged" | "AT_SetAccessMethod":
                return {table: "rewrites it"}
    return {}


def reads_rows(constraint: Node) -> bool:
    """Whether adding a constraint reads the table: not when it is NOT VALID or takes over an index."""
    return not constraint.get("skip_validation") and "indexname" not in constraint


def is_known_not_null(schema: Schema, table: str, column: str) -> bool:
    """Whether a valid CHECK already proves that a column holds no NULL: SET NOT NULL then skips its scan (12 on)."""
    known = schema.tables.get(table)
    if known is None:
        return False
    if column in known.columns and known.columns[column].not_null:
        return True
    return any(
        constraint.valid
        and (
            (constraint.kind == "CONSTR_NOTNULL" and column in constraint.columns)
            or (constraint.kind == "CONSTR_CHECK" and _proves_not_null(constraint.expression, column))
        )
        for constraint in known.constraints.values()
    )


def _proves_not_null(expression: Node, column: str) -> bool:
    """Whether a condition cannot hold for NULL; a conjunction proves what any of its parts proves."""
    if expression.get("bool_expr", {}).get("boolop") == "AND_EXPR":
        return any(_proves_not_null(part, column) for part in expression["bool_expr"]["args"])
    test = expression.get("null_test", {})
    fields = test.get("arg", {}).get("column_ref", {}).get("fields", ())
    return test.get("nulltesttype") == "IS_NOT_NULL" and [item.get("string", {}).get("sval") for item in fields] == [
        column
    ]


def rewrites_on_add(column: Node) -> bool:
    """Whether adding a column writes every row: a generated or identity column, or a default that is not the same for
    all of them (PostgreSQL 11 on).
    """
    for item in column.get("constraints", ()):
        constraint = item["constraint"]
        match constraint["contype"]:
            case "CONSTR_GENERATED":
                return bool(constraint.get("generated_kind", "s") == "s")
            case "CONSTR_IDENTITY":
                return True
            case "CONSTR_DEFAULT" if is_volatile(constraint.get("raw_expr", {})):
                return True
    return deparse_type(column["type_name"]) in ("serial", "bigserial", "smallserial", "serial4", "serial8")


def _describe_new_column(column: Node) -> str | None:
    kinds = {item["constraint"]["contype"] for item in column.get("constraints", ())}
    if rewrites_on_add(column):
        return "rewrites it"
    if kinds & {"CONSTR_UNIQUE", "CONSTR_PRIMARY"}:
        return "builds an index over it"
    # A foreign key on a new column without a default has nothing to look at; a check is evaluated for every row.
    if "CONSTR_CHECK" in kinds or {"CONSTR_FOREIGN", "CONSTR_DEFAULT"} <= kinds:
        return "reads every row"
    return None


_STABLE = {
    "now", "current_timestamp", "transaction_timestamp", "statement_timestamp", "current_user", "session_user",
    "current_setting", "current_database", "current_schema", "to_jsonb", "jsonb_build_object", "jsonb_build_array",
    "json_build_object", "lower", "upper", "coalesce", "make_interval", "date_trunc", "timezone", "concat",
    "array_fill",
    "to_timestamp", "make_date", "md5", "decode", "encode", "round", "abs", "length", "to_char", "txid_current",
    "pg_current_xact_id",
}  # fmt: skip


def is_volatile(expression: Node) -> bool:
    """Whether a default must be computed for each row: any function that is not known to be stable."""
    for kind, node in walk(dict(expression)):
        if kind == "func_call" and node["funcname"][-1]["string"]["sval"] not in _STABLE:
            return True
    return False


def is_full_vacuum(body: Node) -> bool:
    """Whether a VACUUM writes the table anew."""
    return any(item["def_elem"]["defname"] == "full" for item in body.get("options", ()))


def is_concurrent_reindex(body: Node) -> bool:
    """Whether a REINDEX lets writers pass."""
    return any(item["def_elem"]["defname"] == "concurrently" for item in body.get("params", ()))
