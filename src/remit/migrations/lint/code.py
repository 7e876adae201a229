"""Where the application's code names tables and columns: ORM classes, Table objects, and SQL in strings and files."""

import ast
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from remit.migrations.lint.code_classes import Classes, join_schema, name_called, read_keyword, read_name
from remit.migrations.lint.code_sql import list_columns
from remit.migrations.lint.parse import Parsed, SyntaxUnknownError, name_of, parse, walk

_SKIPPED = {"node_modules", "site-packages", "__pycache__", "tests", "test", "build", "dist"}
_VERBS = ("select", "insert", "update", "delete", "with", "merge", "copy", "truncate", "lock")
_DRIVERS = {"asyncpg": "asyncpg", "psycopg": "psycopg"}
_CACHE_SIZES = ("statement_cache_size", "prepared_statement_cache_size", "prepare_threshold")


@dataclass(frozen=True)
class Mention:
    """A place in the code."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Conflict:
    """What an INSERT takes as its conflict: columns, or a constraint by its name."""

    columns: frozenset[str]
    constraint: str
    mention: Mention


@dataclass
class CodeIndex:
    """What the code names.

    Args:
        tables: where each table is named.
        columns: where each column of a table is named.
        stars: where `SELECT *` reads a table.
        answers: where a column is answered by a query.
        conflicts: where an INSERT names the columns or the constraint of its ON CONFLICT, by its table; the table is
            empty where it is not written out.
        drivers: the drivers in use that keep the plans of statements.
        uncached: whether the code switches that off.
    """

    tables: dict[str, list[Mention]] = field(default_factory=lambda: defaultdict(list))
    columns: dict[tuple[str, str], list[Mention]] = field(default_factory=lambda: defaultdict(list))
    stars: dict[str, list[Mention]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[tuple[str, str], list[Mention]] = field(default_factory=lambda: defaultdict(list))
    conflicts: dict[str, list[Conflict]] = field(default_factory=lambda: defaultdict(list))
    drivers: set[str] = field(default_factory=set)
    uncached: bool = False


def index_code(folders: Sequence[Path], migrations: Path, root: Path) -> CodeIndex:
    """Read the code, without the migrations and the tests; a file that cannot be parsed names nothing."""
    index, classes = CodeIndex(), Classes()
    for folder in folders:
        for file in _list_files(folder, migrations.resolve()):
            shown = file.relative_to(root) if file.is_relative_to(root) else file
            text = file.read_text(errors="replace")
            if file.suffix == ".sql":
                _index_sql(index, text, Mention(shown, 1))
                continue
            try:
                tree = ast.parse(text)
            except (SyntaxError, ValueError):
                continue
            _index_python(index, classes, tree, shown)
    for table, place, columns in classes.list_tables():
        index.tables[table].append(Mention(*place))
        for column, file, line in columns:
            index.columns[table, column].append(Mention(file, line))
    return index


def _list_files(folder: Path, migrations: Path) -> Iterator[Path]:
    for name, folders, files in os.walk(folder):
        here = Path(name)
        folders[:] = sorted(
            child
            for child in folders
            if child not in _SKIPPED
            and not child.startswith(".")
            and (here / child).resolve() != migrations
            and not (here / child / "pyvenv.cfg").exists()
        )
        yield from (here / file for file in sorted(files) if file.endswith((".py", ".sql")) and not _is_test(file))


def _is_test(file: str) -> bool:
    return file.startswith("test_") or file.endswith("_test.py") or file == "conftest.py"


def _index_python(index: CodeIndex, classes: Classes, tree: ast.AST, file: Path) -> None:  # noqa: C901 - a table
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef():
                classes.add(node, file)
            case ast.Call():
                _index_table_call(index, node, file)
                _index_conflict_call(index, node, file)
                _index_foreign_key(index, node, file)
            case ast.keyword(arg=str(name), value=ast.Constant(value=0 | None)) if name in _CACHE_SIZES:
                index.uncached = True
            case ast.Dict():
                _index_options(index, node)
            case ast.Import():
                index.drivers.update(_DRIVERS.keys() & {alias.name.split(".")[0] for alias in node.names})
            case ast.ImportFrom(module=str(module)):
                index.drivers.update(_DRIVERS.keys() & {module.split(".")[0]})
            case ast.Constant(value=str(text)):
                if "+asyncpg" in text:
                    index.drivers.add("asyncpg")
                if any(f"{name}=0" in text for name in _CACHE_SIZES):
                    index.uncached = True
                _index_sql(index, text, Mention(file, node.lineno))
            case ast.JoinedStr():
                parts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values]
                _index_sql(index, "".join(str(part) for part in parts), Mention(file, node.lineno))


def _index_table_call(index: CodeIndex, node: ast.Call, file: Path) -> None:
    if name_called(node) not in ("Table", "table"):
        return
    name = read_name(node)
    if name is None:
        return
    table = join_schema(name, read_keyword(node, "schema"))
    index.tables[table].append(Mention(file, node.lineno))
    for argument in node.args[1:]:
        if isinstance(argument, ast.Call) and name_called(argument) in ("Column", "column"):
            column = read_name(argument)
            if column is not None:
                index.columns[table, column].append(Mention(file, argument.lineno))


def _index_foreign_key(index: CodeIndex, node: ast.Call, file: Path) -> None:
    """`ForeignKey("table.column")`: who creates or joins by it names both."""
    if name_called(node) not in ("ForeignKey", "ForeignKeyConstraint"):
        return
    for argument in node.args:
        for part in ast.walk(argument):
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and "." in part.value:
                table, _, column = part.value.rpartition(".")
                index.tables[table].append(Mention(file, part.lineno))
                index.columns[table, column].append(Mention(file, part.lineno))


def _index_options(index: CodeIndex, node: ast.Dict) -> None:
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and key.value in _CACHE_SIZES and isinstance(value, ast.Constant):
            index.uncached = index.uncached or not value.value


def _index_conflict_call(index: CodeIndex, node: ast.Call, file: Path) -> None:
    """`insert(…).on_conflict_do_update(index_elements=[…])` of SQLAlchemy."""
    if name_called(node) not in ("on_conflict_do_update", "on_conflict_do_nothing"):
        return
    columns: list[str] = []
    constraint = ""
    for keyword in node.keywords:
        if keyword.arg == "constraint" and isinstance(keyword.value, ast.Constant):
            constraint = str(keyword.value.value)
        elif keyword.arg == "index_elements" and isinstance(keyword.value, ast.List | ast.Tuple):
            columns = [_name_element(item) for item in keyword.value.elts]
    if constraint or (columns and all(columns)):
        index.conflicts[""].append(Conflict(frozenset(columns), constraint, Mention(file, node.lineno)))


def _name_element(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(name)) | ast.Attribute(attr=name):
            return name
    return ""


def _index_sql(index: CodeIndex, text: str, mention: Mention) -> None:
    if mention.file.suffix != ".sql" and not _skip_comments(text).lower().startswith(_VERBS):
        return
    try:
        statements = parse(_fill_parameters(text))
    except SyntaxUnknownError:
        return
    for statement in statements:
        _index_statement(index, statement, mention)


def _skip_comments(text: str) -> str:
    rest = text.lstrip()
    while rest.startswith(("--", "/*")):
        rest = rest.partition("\n" if rest.startswith("--") else "*/")[2].lstrip()
    return rest


def _fill_parameters(text: str) -> str:
    """Replace the parameters of drivers and of SQLAlchemy, and the places of `str.format`, by what is SQL."""
    words = re.sub(r"\{\w*\}", "x", text).replace("%s", "$1").replace("%(", ":").split(":")
    filled = words[0]
    for before, word in pairwise(words):
        name = len(word) - len(word.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789"))
        cast = not before or not word or word[0].isspace()
        filled += f":{word}" if cast or not name else "$1" + word[name:].removeprefix(")s")
    return filled


def _index_statement(index: CodeIndex, statement: Parsed, mention: Mention) -> None:
    nodes = [(statement.kind, statement.body), *walk(dict(statement.body))]
    tables = {name_of(node) for kind, node in nodes if kind in ("range_var", "relation") and "relname" in node}
    for table in tables:
        index.tables[table].append(mention)
    for table, column in list_columns(statement):
        index.columns[table, column].append(mention)
    _index_answers(index, statement, tables, mention)
    if statement.kind == "insert_stmt" and "infer" in statement.body.get("on_conflict_clause", {}):
        infer = statement.body["on_conflict_clause"]["infer"]
        names = frozenset(item["index_elem"].get("name", "") for item in infer.get("index_elems", ()))
        conflict = Conflict(names, infer.get("conname", ""), mention)
        index.conflicts[name_of(statement.body["relation"])].append(conflict)


def _index_answers(index: CodeIndex, statement: Parsed, tables: set[str], mention: Mention) -> None:
    """The columns that a query answers with, or the tables that `*` stands for."""
    returned = statement.body.get("returning_clause", {}).get("exprs", ())
    for item in statement.body.get("target_list", ()) if statement.kind == "select_stmt" else returned:
        fields = item.get("res_target", {}).get("val", {}).get("column_ref", {}).get("fields", ())
        if not fields:
            continue
        chosen = tables
        if len(fields) > 1:
            chosen = _find_alias(statement, fields[0].get("string", {}).get("sval", "")) or tables
        for table in chosen:
            if "a_star" in fields[-1]:
                index.stars[table].append(mention)
            else:
                index.answers[table, fields[-1]["string"]["sval"]].append(mention)


def _find_alias(statement: Parsed, alias: str) -> set[str]:
    """The tables that a query calls by a name."""
    nodes = [node for kind, node in walk(dict(statement.body)) if kind in ("range_var", "relation")]
    return {
        name_of(node)
        for node in nodes
        if "relname" in node and node.get("alias", {}).get("aliasname", node["relname"]) == alias
    }
