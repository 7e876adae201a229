"""What the history says about the tables before each statement."""

from copy import deepcopy

from remit.migrations.lint.model import Node, Statement
from remit.migrations.lint.parse import (
    SERIALS,
    commands_of,
    deparse_type,
    dropped_names,
    join_names,
    name_of,
    subtype_of,
)
from remit.migrations.lint.schema_objects import Column, Constraint, Domain, Index, Table, default_name


class Schema:
    """The tables, changed by one statement after the other."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.indexes: dict[str, Index] = {}
        self.types: dict[str, str] = {}  # the revision that made it
        self.domains: dict[str, Domain] = {}
        self.functions: dict[str, bool] = {}  # whether it is volatile
        self.views: dict[str, str] = {}  # the revision that made it
        self.timezone: str | None = None

    def copy(self) -> "Schema":
        """The tables as they are now; a table is never changed in place, so that copies are cheap."""
        other = Schema()
        for name, value in vars(self).items():
            setattr(other, name, value.copy() if hasattr(value, "copy") else value)
        return other

    def list_children(self, table: str) -> list[str]:
        """The tables that inherit from one or are its partitions, at any depth."""
        found: list[str] = []
        level = [table]
        while level:
            level = [
                child
                for child, known in self.tables.items()
                if child not in found and any(name in known.parents for name in level)
            ]
            found += level
        return found

    def list_partitions(self, table: str) -> list[str]:
        """The partitions of a table, none for one that is only inherited from."""
        known = self.tables.get(table)
        return self.list_children(table) if known is not None and known.partitioned else []

    def find_default_partition(self, table: str) -> str | None:
        """The partition of a table that takes the rows of no other."""
        return next((name for name, known in self.tables.items() if known.default and table in known.parents), None)

    def list_referring(self, table: str) -> list[str]:
        """The tables with a foreign key to one."""
        return [
            name
            for name, known in self.tables.items()
            if name != table and any(constraint.references == table for constraint in known.constraints.values())
        ]

    def list_keys(self, table: str) -> set[tuple[str, ...]]:
        """The columns of a table that name one row."""
        known = self.tables.get(table)
        constraints = known.constraints.values() if known is not None else ()
        keys = {item.columns for item in constraints if item.kind in ("CONSTR_PRIMARY", "CONSTR_UNIQUE")}
        whole = (index for index in self.indexes.values() if index.unique and not index.partial)
        return keys | {index.columns for index in whole if index.table == table}

    def find_users(self, type_name: str) -> list[str]:
        """The tables with a column of a type, or of an array of it."""
        return [
            name
            for name, table in self.tables.items()
            if any(column.type.rstrip("[]") == type_name for column in table.columns.values())
        ]

    def find_index(self, name: str) -> Index | None:
        """An index by its name, with or without the schema."""
        return self.indexes.get(name) or self.indexes.get(name.rpartition(".")[2])

    def apply(self, statement: Statement) -> None:
        """Take over what a statement does."""
        for part in (statement, *statement.inner):
            change = getattr(self, f"_apply_{part.kind}", None)
            if change is not None:
                change(part, part.body)

    def _apply_create_stmt(self, statement: Statement, body: Node) -> None:
        parents = tuple(name_of(item["range_var"]) for item in body.get("inh_relations", ()))
        parts = body.get("partspec", {}).get("part_params", ())
        keys = tuple(item["partition_elem"].get("name", "") for item in parts)
        table = Table(
            name_of(body["relation"]), statement.revision, partitioned="partspec" in body, parents=parents,
            partition_keys=keys, default=bool(body.get("partbound", {}).get("is_default")),
        )  # fmt: skip
        if table.name in self.tables and body.get("if_not_exists"):
            return
        for parent in parents:
            if parent in self.tables:
                table.columns.update(deepcopy(self.tables[parent].columns))
        self.tables[table.name] = table
        for element in body.get("table_elts", ()):
            if "column_def" in element:
                self._add_column(table, element["column_def"])
            elif "constraint" in element:
                self._add_constraint(table, element["constraint"])
            elif "table_like_clause" in element:
                source = self.tables.get(name_of(element["table_like_clause"]["relation"]))
                table.columns.update(deepcopy(source.columns) if source is not None else {})

    def _apply_create_table_as_stmt(self, statement: Statement, body: Node) -> None:
        name = name_of(body["into"]["rel"])
        self.tables[name] = Table(name, statement.revision)

    def _apply_select_stmt(self, statement: Statement, body: Node) -> None:
        if "into_clause" in body:
            name = name_of(body["into_clause"]["rel"])
            self.tables[name] = Table(name, statement.revision)

    def _apply_view_stmt(self, statement: Statement, body: Node) -> None:
        self.views.setdefault(name_of(body["view"]), statement.revision)

    def _apply_create_enum_stmt(self, statement: Statement, body: Node) -> None:
        self.types[join_names(body["type_name"])] = statement.revision

    def _apply_create_domain_stmt(self, _: Statement, body: Node) -> None:
        kinds = {item["constraint"]["contype"] for item in body.get("constraints", ())}
        constrained = bool(kinds & {"CONSTR_CHECK", "CONSTR_NOTNULL"})
        self.domains[join_names(body["domainname"])] = Domain(deparse_type(body["type_name"]), constrained)

    def _apply_alter_domain_stmt(self, _: Statement, body: Node) -> None:
        name = join_names(body["type_name"])
        if name in self.domains and body.get("subtype") in ("C", "O"):
            self.domains[name] = Domain(self.domains[name].base, constrained=True)

    def _apply_create_function_stmt(self, _: Statement, body: Node) -> None:
        options = {item["def_elem"]["defname"]: item["def_elem"].get("arg", {}) for item in body.get("options", ())}
        word = options.get("volatility", {}).get("string", {}).get("sval", "volatile")
        self.functions[body["funcname"][-1]["string"]["sval"]] = word == "volatile"

    def _apply_variable_set_stmt(self, _: Statement, body: Node) -> None:
        if body.get("name", "").lower() == "timezone":
            constants = [item.get("a_const", {}).get("sval", {}).get("sval", "") for item in body.get("args", ())]
            self.timezone = "UTC" if constants and constants[0].upper() in ("UTC", "GMT", "ETC/UTC") else None

    def _apply_index_stmt(self, statement: Statement, body: Node) -> None:
        columns = tuple(item["index_elem"].get("name", "") for item in body.get("index_params", ()))
        table = name_of(body["relation"])
        index = Index(table, columns, bool(body.get("unique")), statement.revision, "where_clause" in body)
        schema, _, _ = table.rpartition(".")
        name = body.get("idxname", "") or f"({table} {' '.join(columns)})"
        self.indexes.setdefault(f"{schema}.{name}" if schema else name, index)

    def _apply_drop_stmt(self, _: Statement, body: Node) -> None:
        for name in dropped_names(body):
            match body["remove_type"]:
                case "OBJECT_TABLE" | "OBJECT_MATVIEW":
                    self.tables.pop(name, None)
                    for index in [key for key, known in self.indexes.items() if known.table == name]:
                        del self.indexes[index]
                case "OBJECT_INDEX":
                    self.indexes.pop(name, None) or self.indexes.pop(name.rpartition(".")[2], None)
                case "OBJECT_VIEW":
                    self.views.pop(name, None)
                case "OBJECT_TYPE" | "OBJECT_DOMAIN":
                    self.types.pop(name, None)
                    self.domains.pop(name, None)

    def _apply_rename_stmt(self, _: Statement, body: Node) -> None:
        if body["rename_type"] == "OBJECT_TYPE" and "object" in body:
            name = join_names(body["object"].get("list", {}).get("items", ()))
            if name in self.types:
                self.types[body["newname"]] = self.types.pop(name)
            return
        if "relation" not in body:
            return
        name = name_of(body["relation"])
        match body["rename_type"]:
            case "OBJECT_TABLE" | "OBJECT_MATVIEW":
                self._move(name, _rename_in_schema(name, body["newname"]))
            case "OBJECT_VIEW" if name in self.views:
                self.views[_rename_in_schema(name, body["newname"])] = self.views.pop(name)
            case "OBJECT_COLUMN" if name in self.tables and body["subname"] in self.tables[name].columns:
                table = self.tables[name] = deepcopy(self.tables[name])
                table.columns[body["newname"]] = table.columns.pop(body["subname"])
            case "OBJECT_INDEX" if self.find_index(name) is not None:
                key = name if name in self.indexes else name.rpartition(".")[2]
                self.indexes[_rename_in_schema(name, body["newname"])] = self.indexes.pop(key)
            case "OBJECT_TABCONSTRAINT" if name in self.tables and body["subname"] in self.tables[name].constraints:
                table = self.tables[name] = deepcopy(self.tables[name])
                table.constraints[body["newname"]] = table.constraints.pop(body["subname"])

    def _apply_alter_object_schema_stmt(self, _: Statement, body: Node) -> None:
        if "relation" in body:
            name, new = name_of(body["relation"]), body["newschema"]
            bare = name.rpartition(".")[2]
            self._move(name, bare if new == "public" else f"{new}.{bare}")

    def _move(self, name: str, new: str) -> None:
        table = deepcopy(self.tables.pop(name, None))
        if table is None:
            return
        table.name = new
        self.tables[new] = table
        for key, index in list(self.indexes.items()):
            if index.table == name:
                self.indexes[key] = Index(new, index.columns, index.unique, index.revision, index.partial)

    def _apply_alter_table_stmt(self, _: Statement, body: Node) -> None:
        if body.get("objtype") != "OBJECT_TABLE":
            return
        name = name_of(body["relation"])
        # What is known of a table from outside of the history begins with its first change.
        table = self.tables[name] = deepcopy(self.tables.get(name)) or Table(name, "")
        for command in commands_of(body):
            self._change_table(table, command)

    def _change_table(self, table: Table, command: Node) -> None:  # noqa: C901 - a table
        name, definition = command.get("name", ""), command.get("def", {})
        column = table.columns.get(name)
        match subtype_of(command):
            case "AT_AddColumn":
                if not (command.get("missing_ok") and definition["column_def"]["colname"] in table.columns):
                    self._add_column(table, definition["column_def"])
            case "AT_DropColumn":
                table.columns.pop(name, None)
                for key in [key for key, value in table.constraints.items() if name in value.columns]:
                    del table.constraints[key]
            case "AT_AddConstraint":
                self._add_constraint(table, definition["constraint"])
            case "AT_DropConstraint":
                table.constraints.pop(name, None)
            case "AT_ValidateConstraint" if name in table.constraints:
                table.constraints[name].valid = True
            case "AT_SetNotNull" if column:
                column.not_null = True
            case "AT_DropNotNull" if column:
                column.not_null = False
            case "AT_AlterColumnType" if column:
                column.type = _name_type(definition["column_def"])
            case "AT_AttachPartition" | "AT_DetachPartition" as kind:
                self._move_partition(table, definition["partition_cmd"], kind)

    def _move_partition(self, table: Table, command: Node, kind: str) -> None:
        part = name_of(command["name"])
        child = deepcopy(self.tables.get(part)) or Table(part, "")
        child.default = kind == "AT_AttachPartition" and bool(command.get("bound", {}).get("is_default"))
        child.parents = (table.name,) if kind == "AT_AttachPartition" else ()
        table.partitioned = True
        self.tables[part] = child

    def _add_column(self, table: Table, definition: Node) -> None:
        kinds = [item["constraint"]["contype"] for item in definition.get("constraints", ())]
        type_name = _name_type(definition)
        serial = deparse_type(definition["type_name"]) in SERIALS
        not_null = serial or bool({"CONSTR_NOTNULL", "CONSTR_PRIMARY", "CONSTR_IDENTITY"} & set(kinds))
        name = definition["colname"]
        table.columns[name] = Column(type_name, not_null)
        for item in definition.get("constraints", ()):
            constraint = item["constraint"]
            if constraint["contype"] in ("CONSTR_CHECK", "CONSTR_FOREIGN", "CONSTR_UNIQUE", "CONSTR_PRIMARY"):
                self._add_constraint(table, constraint, column=name)

    def _add_constraint(self, table: Table, definition: Node, column: str | None = None) -> None:
        kind = definition["contype"]
        keys = definition.get("fk_attrs") or definition.get("keys") or ()
        columns = (column,) if column else tuple(key["string"]["sval"] for key in keys)
        if "indexname" in definition and definition["indexname"] in self.indexes:
            columns = self.indexes[definition["indexname"]].columns
        target = definition.get("pktable")
        name = definition.get("conname") or definition.get("indexname") or default_name(table.name, kind, columns)
        table.constraints[name] = Constraint(
            kind,
            columns,
            not definition.get("skip_validation", False),
            definition.get("raw_expr", {}),
            name_of(target) if target else None,
        )
        if kind == "CONSTR_PRIMARY":
            for key in columns:
                if key in table.columns:
                    table.columns[key].not_null = True


def _name_type(definition: Node) -> str:
    """The type of a column; what a serial is underneath."""
    name = deparse_type(definition["type_name"])
    return SERIALS.get(name, name)


def _rename_in_schema(name: str, new: str) -> str:
    schema, dot, _ = name.rpartition(".")
    return f"{schema}{dot}{new}"
