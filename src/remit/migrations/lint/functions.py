"""What the functions and procedures of a history run when a statement calls them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from remit.migrations.lint.parse import Parsed, SyntaxUnknownError, join_names, parse, parse_body, walk

_CALLS = ("select_stmt", "call_stmt")


class Functions:
    """Those that were made so far, by name."""

    def __init__(self) -> None:
        self._made: dict[str, Parsed] = {}

    def note(self, parsed: Parsed) -> None:
        """Keep a CREATE FUNCTION or CREATE PROCEDURE."""
        if parsed.kind == "create_function_stmt":
            self._made[_bare(parsed.body["funcname"])] = parsed

    def list_called(self, parts: Iterable[Parsed]) -> list[Parsed]:
        """What is run by the functions that statements call, and by those that these call."""
        found: list[Parsed] = []
        waiting, seen = list(parts), set[str]()
        while waiting:
            for name in _find_calls(waiting.pop()):
                if name in self._made and name not in seen:
                    seen.add(name)
                    body = _read_body(self._made[name])
                    found += body
                    waiting += body
        return found


def _find_calls(parsed: Parsed) -> Iterator[str]:
    if parsed.kind in _CALLS:
        for kind, node in walk(dict(parsed.body)):
            if kind in ("func_call", "funccall"):
                yield _bare(node["funcname"])


def _bare(name: Any) -> str:
    return join_names(name).rpartition(".")[2]


def _read_body(parsed: Parsed) -> list[Parsed]:
    """The statements of a body. What is passed to the function is a value of one statement's."""
    options = {item["def_elem"]["defname"]: item["def_elem"].get("arg", {}) for item in parsed.body.get("options", ())}
    given = {item["function_parameter"].get("name", "") for item in parsed.body.get("parameters", ())}
    language = options.get("language", {}).get("string", {}).get("sval", "sql").lower()
    if "sql_body" in parsed.body:
        lists = parsed.body["sql_body"].get("list", {}).get("items", ())
        nodes = [node for item in lists for node in item.get("list", {}).get("items", ())]
        found = [Parsed(parsed.sql, kind, body) for node in nodes for kind, body in node.items()]
    elif language == "sql":
        text = options.get("as", {}).get("list", {}).get("items", ({},))[0].get("string", {}).get("sval", "")
        try:
            found = list(parse(text))
        except SyntaxUnknownError:
            found = []
    else:
        found = parse_body(parsed.sql)
    function = _bare(parsed.body["funcname"])
    names: set[tuple[str, ...]] = {way for name in given for way in ((name,), (function, name))}
    return [Parsed(part.sql, part.kind, _put_values(part.body, names)) for part in found]


def _put_values(node: Any, given: set[tuple[str, ...]]) -> Any:
    """A tree with the names of parameters, alone or after the function's, replaced by values."""
    if isinstance(node, Mapping):
        fields = node.get("column_ref", {}).get("fields", ())
        if tuple(field.get("string", {}).get("sval") for field in fields) in given:
            return {"param_ref": {}}
        return {key: _put_values(value, given) for key, value in node.items()}
    return [_put_values(item, given) for item in node] if isinstance(node, list) else node
