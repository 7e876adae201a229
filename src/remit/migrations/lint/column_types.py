"""Which changes of a column's type leave the rows as they are."""

from remit.migrations.lint.model import Node
from remit.migrations.lint.parse import deparse_type, join_names
from remit.migrations.lint.schema import Schema

_UNBOUNDED = {"text", "varchar", "character varying"}
_TIMES = ("timestamp", "timestamptz", "time", "timetz", "varbit", "interval")


def is_widening(schema: Schema, table: str, command: Node) -> bool:
    """Whether a change of type leaves every row as it is: to text or to a longer varchar, or a wider numeric."""
    known = schema.tables.get(table)
    column = known.columns.get(command["name"]) if known else None
    definition = command["def"]["column_def"]
    if column is None or not _keeps_value(definition, command["name"]):
        return False
    if schema.domains.get(deparse_type(definition["type_name"]), _NO_DOMAIN).constrained:
        return False
    old_name, old_sizes, old_dimensions = _split_type(_find_base(schema, column.type))
    new_name, new_sizes, new_dimensions = _split_type(_find_base(schema, deparse_type(definition["type_name"])))
    if (old_name, old_sizes, old_dimensions) == (new_name, new_sizes, new_dimensions):
        return "coll_clause" not in definition or not _is_indexed(schema, table, command["name"])
    if old_dimensions or new_dimensions:
        return False
    if old_name in _UNBOUNDED and new_name in _UNBOUNDED:
        return not new_sizes or (bool(old_sizes) and new_sizes[0] >= old_sizes[0])
    if old_name == new_name == "numeric" and old_sizes:
        scales = [(*sizes, 0)[1] for sizes in (old_sizes, new_sizes or old_sizes)]
        return not new_sizes or (new_sizes[0] >= old_sizes[0] and scales[0] == scales[1])
    if old_name == new_name and old_name in _TIMES:
        full = 6 if old_name != "varbit" else None  # a time without a precision has six digits
        if not new_sizes or new_sizes[0] == full:
            return True
        return bool(old_sizes) and new_sizes[0] >= old_sizes[0]
    if {old_name, new_name} == {"timestamp", "timestamptz"} and schema.timezone == "UTC":
        return new_sizes == old_sizes
    return (old_name, new_name) == ("cidr", "inet")


def _is_indexed(schema: Schema, table: str, column: str) -> bool:
    """Whether an index is over a column, or may be: an index of a changed order is built again."""
    keys = [index.columns for index in schema.indexes.values() if index.table == table]
    return any(column in key or "" in key for key in (*keys, *schema.list_keys(table)))


def _find_base(schema: Schema, type_name: str) -> str:
    """The type that a domain is over, or the type itself."""
    while type_name in schema.domains:
        type_name = schema.domains[type_name].base
    return type_name


class _NoDomain:
    constrained = False


_NO_DOMAIN = _NoDomain()


def _keeps_value(definition: Node, column: str) -> bool:
    """Whether USING, if there is one, is the column itself, or the column cast to the new type."""
    expression = definition.get("raw_default")
    if expression is None:
        return True
    if "type_cast" in expression:
        if deparse_type(expression["type_cast"]["type_name"]) != deparse_type(definition["type_name"]):
            return False
        expression = expression["type_cast"]["arg"]
    fields = expression.get("column_ref", {}).get("fields", ())
    return bool(fields) and join_names([fields[-1]]) == column if "string" in (fields or [{}])[-1] else False


def _split_type(text: str) -> tuple[str, tuple[int, ...], int]:
    """The name, the sizes and the number of dimensions."""
    bare = text.rstrip("[]")
    dimensions = (len(text) - len(bare)) // 2
    name, _, sizes = bare.rstrip(")").partition("(")
    return name, tuple(int(size) for size in sizes.split(",") if size), dimensions
