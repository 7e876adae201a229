"""Which changes of a column's type leave the rows as they are."""

from remit.migrations.lint.model import Node
from remit.migrations.lint.parse import deparse_type
from remit.migrations.lint.schema import Schema

_UNBOUNDED = {"text", "varchar", "character varying"}


def is_widening(schema: Schema, table: str, command: Node) -> bool:
    """Whether a change of type leaves every row as it is: to text or to a longer varchar, or a wider numeric."""
    known = schema.tables.get(table)
    column = known.columns.get(command["name"]) if known else None
    definition = command["def"]["column_def"]
    if column is None or "raw_default" in definition:
        return False
    old_name, old_sizes = _split_type(column.type)
    new_name, new_sizes = _split_type(deparse_type(definition["type_name"]))
    if (old_name, old_sizes) == (new_name, new_sizes):
        return True
    if old_name in _UNBOUNDED and new_name in _UNBOUNDED:
        return not new_sizes or (bool(old_sizes) and new_sizes[0] >= old_sizes[0])
    if old_name == new_name == "numeric" and old_sizes:
        scales = [(*sizes, 0)[1] for sizes in (old_sizes, new_sizes or old_sizes)]
        return not new_sizes or (new_sizes[0] >= old_sizes[0] and scales[0] == scales[1])
    if old_name == new_name and old_name in ("timestamp", "timestamptz", "time", "timetz", "varbit", "interval"):
        return not new_sizes or (bool(old_sizes) and new_sizes[0] >= old_sizes[0])
    return {old_name, new_name} == {"inet", "cidr"} and new_name == "inet"


def _split_type(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rstrip(")").partition("(")
    return name, tuple(int(size) for size in sizes.split(",") if size)
