"""What the history says about the tables before each statement."""

from copy import deepcopy
from dataclasses import dataclass, field

from remit.migrations.lint.model import Node, Statement
from remit.migrations.lint.parse import deparse_type, join_names, name_of


@dataclass
class Column:
    """A column as far as its definition was seen."""

    type: str
    not_null: bool = False


@dataclass
class Constraint:
    """A constraint: `kind` is PostgreSQL's, as CONSTR_CHECK."""

    kind: str
    columns: tuple[str, ...]
    valid: bool
    expression: Node = field(default_factory=dict)
    references: str | None = None


@dataclass
class Table:
    """A table that the history makes."""

    name: str
    revision: str
    columns: dict[str, Column] = field(default_factory=dict)
    constraints: dict[str, Constraint] = field(default_factory=dict)
    partitioned: bool = False


@dataclass
class Index:
    """An index and the table it belongs to."""

    table: str
    columns: tuple[str, ...]
    unique: bool
    revision: str


class Schema:
    """The tables, changed by one statement after the other."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.indexes: dict[str, Index] = {}
        self.types: dict[str, str] = {}  # the revision that made it

    def copy(self) -> "Schema":
        """The tables as they are now; a table is never changed in place, so that copies are cheap."""
        other = Schema()
        other.tables, other.indexes, other.types = dict(self.tables), dict(self.indexes), dict(self.types)
        return other

    def apply(self, statement: Statement) -> None:
        """Take over what a statement does."""
        for part in (statement, *statement.inner):
            change = getattr(self, f"_apply_{part.kind}", None)
            if change is not None:
                change(part, part.body)

    def _apply_create_stmt(self, statement: Statement, body: Node) -> None:
        table = Table(name_of(body["relation"]), statement.revision, partitioned="partspec" in body)
        if table.name in self.tables and body.get("if_not_exists"):
            return
        self.tables[table.name] = table
        for element in body.get("table_elts", ()):
            if "column_def" in element:
                self._add_column(table, element["column_def"])
            elif "constraint" in element:
                self._add_constraint(table, element["constraint"])

    def _apply_create_table_as_stmt(self, statement: Statement, body: Node) -> None:
        name = name_of(body["into"]["rel"])
        self.tables[name] = Table(name, statement.revision)

    def _apply_create_enum_stmt(self, statement: Statement, body: Node) -> None:
        self.types[join_names(body["type_name"])] = statement.revision

    def _apply_index_stmt(self, statement: Statement, body: Node) -> None:
        columns = tuple(item["index_elem"].get("name", "") for item in body.get("index_params", ()))
        index = Index(name_of(body["relation"]), columns, bool(body.get("unique")), statement.revision)
        self.indexes[body.get("idxname", "")] = index

    def _apply_drop_stmt(self, _: Statement, body: Node) -> None:
        for name in dropped_names(body):
            if body["remove_type"] == "OBJECT_TABLE":
                self.tables.pop(name, None)
            elif body["remove_type"] == "OBJECT_INDEX":
                self.indexes.pop(name, None)

    def _apply_rename_stmt(self, _: Statement, body: Node) -> None:
        if "relation" not in body:
            return
        name, new = name_of(body["relation"]), body["newname"]
        table = deepcopy(self.tables.get(name))
        if body["rename_type"] == "OBJECT_TABLE" and table is not None:
            del self.tables[name]
            table.name = new
            self.tables[new] = table
        elif body["rename_type"] == "OBJECT_COLUMN" and table is not None and body["subname"] in table.columns:
            table.columns[new] = table.columns.pop(body["subname"])
            self.tables[name] = table
        elif body["rename_type"] == "OBJECT_INDEX" and name in self.indexes:
            self.indexes[new] = self.indexes.pop(name)

    def _apply_alter_table_stmt(self, _: Statement, body: Node) -> None:
        name = name_of(body["relation"])
        # What is known of a table from outside of the history begins with its first change.
        table = self.tables[name] = deepcopy(self.tables.get(name)) or Table(name, "")
        for command in commands_of(body):
            self._change_table(table, command)

    def _change_table(self, table: Table, command: Node) -> None:
        name, definition = command.get("name", ""), command.get("def", {})
        column = table.columns.get(name)
        match command.get("subtype", "AT_AddColumn"):
            case "AT_AddColumn":
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
                column.type = deparse_type(definition["column_def"]["type_name"])

    def _add_column(self, table: Table, definition: Node) -> None:
        kinds = [item["constraint"]["contype"] for item in definition.get("constraints", ())]
        not_null = "CONSTR_NOTNULL" in kinds or "CONSTR_PRIMARY" in kinds
        name = definition["colname"]
        table.columns[name] = Column(deparse_type(definition["type_name"]), not_null)
        for item in definition.get("constraints", ()):
            constraint = item["constraint"]
            if constraint["contype"] in ("CONSTR_CHECK", "CONSTR_FOREIGN", "CONSTR_UNIQUE", "CONSTR_PRIMARY"):
                self._add_constraint(table, constraint, column=name)

    def _add_constraint(self, table: Table, definition: Node, column: str | None = None) -> None:
        kind = definition["contype"]
        keys = definition.get("fk_attrs") or definition.get("keys") or ()
        columns = (column,) if column else tuple(key["string"]["sval"] for key in keys)
        name = definition.get("conname") or f"({kind} {' '.join(columns)})"
        target = definition.get("pktable")
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


def commands_of(body: Node) -> list[Node]:
    """The sub-commands of an ALTER TABLE."""
    return [item["alter_table_cmd"] for item in body.get("cmds", ())]


def subtype_of(command: Node) -> str:
    """The kind of a sub-command, as AT_AddColumn."""
    return str(command.get("subtype", "AT_AddColumn"))


def dropped_names(body: Node) -> list[str]:
    """The objects that a DROP names."""
    return [join_names(item["list"]["items"]) for item in body.get("objects", ()) if "list" in item]
