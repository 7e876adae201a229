"""Which columns of which tables a statement of the application names, by the query in it that names them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from remit.migrations.lint.parse import Parsed, name_of

_QUERIES = ("select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt")


@dataclass
class _Query:
    """A query within a statement: the tables it names by what it calls them, and the one that it writes."""

    above: "_Query | None"
    tables: dict[str, str] = field(default_factory=dict)
    target: str | None = None

    def resolve(self, called: str | None) -> list[str]:
        """The tables that a column may be of, by the name before it. Without one it is of the query's own."""
        query: _Query | None = self
        while query is not None:
            if called is None and query.tables:
                return list(query.tables.values())
            if called is not None and called in query.tables:
                return [query.tables[called]]
            query = query.above
        return list(self.tables.values())


def list_columns(statement: Parsed) -> set[tuple[str, str]]:
    """The columns that a statement reads or writes, each with its table."""
    return set(_read(statement.kind, statement.body, None))


def _read(kind: str, body: Any, above: _Query | None) -> Iterator[tuple[str, str]]:
    query = _Query(above)
    parts = list(_walk_query(body))
    for name, node in parts:
        if name in ("range_var", "relation") and "relname" in node:
            table = name_of(node)
            query.tables[node.get("alias", {}).get("aliasname") or node["relname"]] = table
            if name == "relation" and kind != "select_stmt":
                query.target = query.target or table
    renamed = [item["res_target"] for item in body.get("returning_clause", {}).get("exprs", ())]
    if query.target is not None:
        yield from ((query.target, item["string"]["sval"]) for item in body.get("attlist", ()))  # of COPY
    for name, node in parts:
        if _is_query(name, node):
            yield from _read(name, node, query)
        elif name == "column_ref":
            texts = [item["string"]["sval"] for item in node.get("fields", ()) if "string" in item]
            if texts and "string" in node["fields"][-1]:
                yield from ((table, texts[-1]) for table in query.resolve(texts[-2] if len(texts) > 1 else None))
        elif (
            name in ("res_target", "index_elem")
            and "name" in node
            and query.target is not None
            and node not in renamed  # which names what the query answers, and no column
        ):
            yield query.target, node["name"]


def _is_query(name: str, node: Any) -> bool:
    """Whether a node is a query of its own: a statement, or a side of UNION and the like. JOIN has sides as well."""
    return name in _QUERIES or (name in ("larg", "rarg") and "op" in node)


def _walk_query(node: Any) -> Iterator[tuple[str, Any]]:
    """The nodes of one query; of another one within it only its root."""
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, dict):
                yield key, value
            if not _is_query(key, value):
                yield from _walk_query(value)
    elif isinstance(node, list):
        for item in node:
            yield from _walk_query(item)
