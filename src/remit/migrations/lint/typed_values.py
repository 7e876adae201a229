"""The constants of a statement that may be values of an enum: not those that a column of another type takes."""

from collections.abc import Iterator, Mapping
from typing import Any

from remit.migrations.lint.model import Node
from remit.migrations.lint.parse import commands_of, join_names, name_of, subtype_of, walk
from remit.migrations.lint.schema import Schema


def find_values(body: Node, schema: Schema, values: Mapping[str, str]) -> Iterator[str]:
    """The string constants of a statement, as far as they may be values of one of the given enums.

    Args:
        body: the statement.
        schema: the tables before it.
        values: the values looked for, each with its enum.
    """
    taken = _Taken(schema, set(values.values()))
    taken.read(body)
    for kind, node in walk(dict(body)):
        if kind == "a_const" and "sval" in node and id(node) not in taken.ids:
            yield node["sval"].get("sval", "")


class _Taken:
    """The constants that are given to, or compared with, a column or a type that is none of the enums."""

    def __init__(self, schema: Schema, enums: set[str]) -> None:
        self.ids: set[int] = set()
        self._schema = schema
        self._enums = {name.rpartition(".")[2] for name in enums}  # a search path may leave the schema out

    def read(self, body: Node) -> None:
        """Look at every place of a statement whose type is known."""
        own = [name_of(body["relation"])] if "relname" in body.get("relation", {}) else []
        tables = [*own, *(name_of(node) for kind, node in walk(dict(body)) if kind == "range_var")]
        for table in own:
            self._read_insert(body, table)
            for target in self._list_assignments(body):
                self._take(target.get("val", {}), self._type_of(target.get("name", ""), [table]))
            defaults = [item for item in commands_of(body) if subtype_of(item) == "AT_ColumnDefault"]
            for command in defaults:
                self._take(command.get("def", {}), self._type_of(command["name"], [table]))
        for kind, node in walk(dict(body)):
            if kind == "type_cast":
                self._take(node["arg"], join_names(node["type_name"]["names"]))
            elif kind == "column_def" and "type_name" in node:
                for item in node.get("constraints", ()):
                    if item["constraint"].get("contype") == "CONSTR_DEFAULT":
                        self._take(item["constraint"]["raw_expr"], join_names(node["type_name"]["names"]))
            elif kind == "a_expr":
                self._read_comparison(node, tables)

    def _read_comparison(self, node: Node, tables: list[str]) -> None:
        for one, other in (("lexpr", "rexpr"), ("rexpr", "lexpr")):
            fields = node.get(one, {}).get("column_ref", {}).get("fields", ())
            if fields and "string" in fields[-1]:
                self._take(node.get(other, {}), self._type_of(fields[-1]["string"]["sval"], tables))

    @staticmethod
    def _list_assignments(body: Node) -> list[Node]:
        """What an UPDATE, an ON CONFLICT or a clause of a MERGE sets."""
        clauses = [item["merge_when_clause"] for item in body.get("merge_when_clauses", ())]
        places = [body, body.get("on_conflict_clause", {}), *clauses]
        return [item["res_target"] for place in places for item in place.get("target_list", ())]

    def _read_insert(self, body: Node, table: str) -> None:
        query = body.get("select_stmt", {}).get("select_stmt", {})
        known = self._schema.tables.get(table)
        named = [item["res_target"]["name"] for item in body.get("cols", ())]
        columns = named or (list(known.columns) if known is not None else [])
        rows = [item["list"]["items"] for item in query.get("values_lists", ())]
        rows.append([item["res_target"]["val"] for item in query.get("target_list", ())])
        for row in rows:
            for column, value in zip(columns, row, strict=False):
                self._take(value, self._type_of(column, [table]))

    def _type_of(self, column: str, tables: list[str]) -> str | None:
        """The type of a column; None unless every table that may have it is known and they agree."""
        found = set()
        for table in tables:
            known = self._schema.tables.get(table)
            if known is None:
                return None
            if column in known.columns:
                found.add(known.columns[column].type)
        return found.pop() if len(found) == 1 else None

    def _take(self, value: Any, kind: str | None) -> None:
        if kind is None:
            return
        bare = kind.removesuffix("[]")
        domain = self._schema.domains.get(bare)
        if (domain.base if domain is not None else bare).rpartition(".")[2] in self._enums:
            return
        items = value.get("list", {}).get("items", ()) if "list" in value else (value,)
        self.ids |= {id(item["a_const"]) for item in items if "a_const" in item}
