"""Which tables decide by their size how long a statement takes. After the notes of PostgreSQL's ALTER TABLE, CREATE
INDEX and VALIDATE CONSTRAINT; tests/lint/test_statement_effects.py holds it to what a server does.
"""

from remit.migrations.lint.column_types import is_widening
from remit.migrations.lint.locks import is_full_vacuum, list_reindexed, moves_index, reads_domain
from remit.migrations.lint.model import Node, Statement
from remit.migrations.lint.new_column import describe_new_column
from remit.migrations.lint.parse import commands_of, join_names, name_of, subtype_of, walk
from remit.migrations.lint.rows import measure, measure_merge
from remit.migrations.lint.schema import Schema


def find_work(statement: Statement, schema: Schema) -> dict[str, str]:
    """The tables whose size decides how long a statement takes, each with what it does to them."""
    found: dict[str, str] = {}
    for part in (statement, *statement.inner):
        found.update(_find_work(part.kind, part.body, schema))
    return found


def _find_work(kind: str, body: Node, schema: Schema) -> dict[str, str]:  # noqa: C901, PLR0912 - a table
    match kind:
        case "alter_table_stmt" if body.get("objtype") == "OBJECT_TABLE":
            return _find_alter_work(body, schema)
        case "alter_table_stmt" if body.get("objtype") == "OBJECT_INDEX" and moves_index(body):
            index = schema.find_index(name_of(body["relation"]))
            return {index.table: "copies an index of it"} if index is not None else {}
        case "alter_table_move_all_stmt" if body["objtype"] == "OBJECT_TABLE":
            return dict.fromkeys(schema.tables, "rewrites it")
        case "create_stmt" if "partbound" in body:
            return _find_default_work([name_of(item["range_var"]) for item in body["inh_relations"]], schema)
        case "index_stmt":
            table = name_of(body["relation"])
            partitions = schema.list_partitions(table) if body["relation"].get("inh") else []
            only = not body["relation"].get("inh") and table in schema.tables and schema.tables[table].partitioned
            return {} if only else dict.fromkeys((table, *partitions), "builds an index over it")
        case "reindex_stmt":
            return dict.fromkeys(list_reindexed(body, schema), "builds its indexes again")
        case "update_stmt" | "delete_stmt":
            table = name_of(body["relation"])
            return {} if measure(body, schema, table) == "few" else {table: "changes its rows"}
        case "merge_stmt":
            return {} if measure_merge(body) == "few" else {name_of(body["relation"]): "changes its rows"}
        case "insert_stmt" if "from_clause" in body.get("select_stmt", {}).get("select_stmt", {}):
            return dict.fromkeys(read_tables(body["select_stmt"]), "copies its rows")
        case "create_table_as_stmt" if not body["into"].get("skip_data"):
            return dict.fromkeys(read_tables(body["query"]), "copies its rows")
        case "select_stmt" if "into_clause" in body:
            return dict.fromkeys(read_tables(body.get("from_clause", [])), "copies its rows")
        case "vacuum_stmt" if is_full_vacuum(body):
            return {name_of(item["vacuum_relation"]["relation"]): "rewrites it" for item in body.get("rels", ())}
        case "cluster_stmt" if "relation" in body:
            return {name_of(body["relation"]): "rewrites it"}
        case "refresh_mat_view_stmt" if not body.get("skip_data"):
            return {name_of(body["relation"]): "computes it again"}
        case "alter_domain_stmt" if reads_domain(body):
            return dict.fromkeys(schema.find_users(join_names(body["type_name"])), "reads every row")
    return {}


def read_tables(node: object) -> list[str]:
    """The tables named below a node, without those that are computed from a few values."""
    return [name_of(value) for key, value in walk(node) if key == "range_var"]


def _find_alter_work(body: Node, schema: Schema) -> dict[str, str]:
    table = name_of(body["relation"])
    children = schema.list_children(table) if body["relation"].get("inh") else []
    for command in commands_of(body):
        what = _describe_command(command, table, schema)
        if what is not None:
            return dict.fromkeys((table, *children), what)
        if subtype_of(command) == "AT_AttachPartition":
            part = name_of(command["def"]["partition_cmd"]["name"])
            read = {} if _proves_bound(schema, table, part) else {part: "reads every row"}
            return read | _find_default_work([table], schema)
    return {}


def _find_default_work(parents: list[str], schema: Schema) -> dict[str, str]:
    """The default partition is read for rows that now belong elsewhere."""
    defaults = [(table, schema.find_default_partition(table)) for table in parents]
    return {
        part: "reads every row"
        for table, part in defaults
        if part is not None and not _proves_bound(schema, table, part)
    }


def _describe_command(command: Node, table: str, schema: Schema) -> str | None:
    definition = command.get("def", {})
    match subtype_of(command):
        case "AT_ValidateConstraint":
            known = schema.tables[table].constraints.get(command["name"]) if table in schema.tables else None
            return None if known is not None and known.valid else "reads every row"
        case "AT_AddConstraint" if reads_rows(definition["constraint"], schema, table):
            return "reads every row"
        case "AT_AddConstraint" if list_nullable_keys(definition["constraint"], schema, table):
            return "reads every row"
        case "AT_SetNotNull" if not is_known_not_null(schema, table, command["name"]):
            return "reads every row"
        case "AT_AlterColumnType" if not is_widening(schema, table, command):
            return "rewrites it"
        case "AT_AddColumn":
            column = definition["column_def"]
            known_columns = schema.tables[table].columns if table in schema.tables else {}
            exists = bool(command.get("missing_ok")) and column["colname"] in known_columns
            return None if exists else describe_new_column(column, schema)
        case "AT_SetTableSpace" | "AT_SetLogged" | "AT_SetUnLogged" | "AT_SetAccessMethod" | "AT_SetExpression":
            return "rewrites it"
        case "AT_AddIdentity":
            return None
    return None


def reads_rows(constraint: Node, schema: Schema, table: str) -> bool:
    """Whether adding a constraint reads the table: not when it is NOT VALID, takes over an index, or is known."""
    if constraint.get("contype") == "CONSTR_NOTNULL":
        columns = [key["string"]["sval"] for key in constraint.get("keys", ())]
        if columns and all(is_known_not_null(schema, table, column) for column in columns):
            return False
    return not constraint.get("skip_validation") and "indexname" not in constraint


def list_nullable_keys(constraint: Node, schema: Schema, table: str) -> list[str]:
    """The columns that a primary key over an index makes NOT NULL, which reads the table as SET NOT NULL does."""
    known, index = schema.tables.get(table), schema.find_index(constraint.get("indexname", ""))
    if constraint.get("contype") != "CONSTR_PRIMARY" or known is None or index is None:
        return []
    return [name for name in index.columns if name in known.columns and not is_known_not_null(schema, table, name)]


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


def _proves_bound(schema: Schema, parent: str, part: str) -> bool:
    """Whether a valid CHECK of the table to attach is about the partition key: PostgreSQL then reads no row."""
    known, above = schema.tables.get(part), schema.tables.get(parent)
    if known is None:
        return False
    keys = set(above.partition_keys) if above is not None else set()
    for constraint in known.constraints.values():
        if constraint.kind == "CONSTR_CHECK" and constraint.valid:
            named = {
                field["string"]["sval"]
                for kind, node in walk({"": dict(constraint.expression)})
                if kind == "column_ref"
                for field in node.get("fields", ())
                if "string" in field
            }
            if not keys or named & keys:
                return True
    return False
