"""The tables and columns that the ORM classes of the code name."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_COLUMN_CALLS = ("Column", "mapped_column", "Field", "column_property")
Place = tuple[str, Path, int]
"""A column with its file and line."""


@dataclass
class _Class:
    name: str
    place: tuple[Path, int]
    bases: tuple[str, ...]
    table: str | None
    columns: list[Place] = field(default_factory=list)


class Classes:
    """The classes of the code, which inherit columns from each other across files."""

    def __init__(self) -> None:
        self._classes: dict[str, list[_Class]] = {}

    def add(self, node: ast.ClassDef, file: Path) -> None:
        """Take over a class."""
        bases = tuple(filter(None, map(_name_base, node.bases)))
        made = _Class(node.name, (file, node.lineno), bases, None, list(_list_columns(node, file)))
        made.table = _find_table(node, made)
        self._classes.setdefault(node.name, []).append(made)

    def list_tables(self) -> Iterator[tuple[str, tuple[Path, int], list[Place]]]:
        """Each class that has a table: its name, where the class is, and the columns with those of its bases."""
        for known in self._classes.values():
            for item in known:
                if item.table is not None:
                    yield item.table, item.place, self._inherit(item, set())

    def _inherit(self, item: _Class, seen: set[str]) -> list[Place]:
        found = list(item.columns)
        for base in item.bases:
            if base not in seen:
                seen.add(base)
                for above in self._classes.get(base, ()):
                    found += self._inherit(above, seen)
        return found


def _name_base(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return _name_base(value)
    return ""


def _list_assigned(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr | None, ast.expr | None, int]]:
    """What a class assigns or annotates: name, value, annotation, line."""
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name), *_], value=value):
                yield name, value, None, statement.lineno
            case ast.AnnAssign(target=ast.Name(id=name), value=given, annotation=annotation):
                yield name, given, annotation, statement.lineno


def _list_columns(node: ast.ClassDef, file: Path) -> Iterator[Place]:
    named = _name_in_meta(node) is not None
    has_table = named or any(name == "__tablename__" for name, *_ in _list_assigned(node)) or _is_sqlmodel(node)
    for name, value, annotation, line in _list_assigned(node):
        if name.startswith("__"):
            continue
        called = isinstance(value, ast.Call) and name_called(value) in _COLUMN_CALLS
        mapped = isinstance(annotation, ast.Subscript) and _name_base(annotation) == "Mapped"
        if has_table or called or mapped:
            given = _read_column(value, named=named) if isinstance(value, ast.Call) else None
            yield given or name, file, line
            if named and isinstance(value, ast.Call) and name_called(value).startswith(("ForeignKey", "OneToOne")):
                yield f"{name}_id", file, line


def _read_column(value: ast.Call, *, named: bool) -> str | None:
    """The column's name in a call; the first argument of a field of Django or Peewee is a title or another table."""
    if named:
        return read_keyword(value, "db_column") or read_keyword(value, "column_name") or None
    return read_name(value)


def _name_in_meta(node: ast.ClassDef) -> str | None:
    """The table that a class names as Django (`db_table`) and Peewee (`table_name`) do."""
    for inner in node.body:
        if isinstance(inner, ast.ClassDef) and inner.name == "Meta":
            for name, value, _, _ in _list_assigned(inner):
                if name in ("db_table", "table_name") and isinstance(value, ast.Constant):
                    return str(value.value)
    return None


def _find_table(node: ast.ClassDef, made: _Class) -> str | None:
    """The table of a class: as it says, or as SQLModel and Flask-SQLAlchemy name it."""
    assigned = {name: value for name, value, _, _ in _list_assigned(node)}
    given = assigned.get("__tablename__")
    name: str | None = None
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        name = given.value
    elif (named := _name_in_meta(node)) is not None:
        name = named.replace('"', "")
    elif _is_sqlmodel(node):
        name = node.name.lower()
    elif "Model" in made.bases and made.columns and not _is_abstract(assigned):
        name = re.sub(r"((?<=[a-z0-9])[A-Z]|(?!^)[A-Z](?=[a-z]))", r"_\1", node.name).lower()
    return join_schema(name, _find_schema(assigned.get("__table_args__"))) if name else None


def _is_sqlmodel(node: ast.ClassDef) -> bool:
    return any(
        item.arg == "table" and isinstance(item.value, ast.Constant) and item.value.value for item in node.keywords
    )


def _is_abstract(assigned: dict[str, ast.expr | None]) -> bool:
    given = assigned.get("__abstract__")
    return isinstance(given, ast.Constant) and bool(given.value)


def _find_schema(arguments: ast.expr | None) -> str:
    options = arguments.elts[-1] if isinstance(arguments, ast.Tuple) and arguments.elts else arguments
    for key, value in zip(options.keys, options.values, strict=True) if isinstance(options, ast.Dict) else ():
        if isinstance(key, ast.Constant) and key.value == "schema" and isinstance(value, ast.Constant):
            return str(value.value or "")
    return ""


def join_schema(name: str, schema: str) -> str:
    """A table's name as the linter compares it."""
    return name if schema in ("", "public") else f"{schema}.{name}"


def name_called(node: ast.Call) -> str:
    """The last name of what is called."""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def read_name(node: ast.Call) -> str | None:
    """The name that a call gives to a table or a column: its first argument, or `name`."""
    first = node.args[0] if node.args else None
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value
    return read_keyword(node, "name") or None


def read_keyword(node: ast.Call, name: str) -> str:
    """The text that a call gives to a keyword; empty if it gives none."""
    for keyword in node.keywords:
        if keyword.arg == name and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str):
            return keyword.value.value
    return ""
