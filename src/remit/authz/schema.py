"""Reads a schema in SpiceDB's language: the parse tree (`schema_grammar.py`) becomes definitions and expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from lark import Token, Transformer, v_args
from lark.exceptions import VisitError

from remit.authz.errors import SchemaError
from remit.authz.schema_grammar import COMMENT, FLAG_KEYWORDS, parse_text, place_of
from remit.authz.schema_tree import (
    AllowedType,
    Arrow,
    Definition,
    Exclusion,
    Expression,
    Intersection,
    Nil,
    Permission,
    Reference,
    Relation,
    Schema,
    Self,
    Union,
    error_at,
)

_NAME_RULE: Final = re.compile(r"[a-z][a-z0-9_]{1,62}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class _Flag:
    token: Token


@lru_cache(maxsize=16)
def parse_schema(source: str, file: str = "schema.zed") -> Schema:
    """Read a schema; `check_schema` then checks its names and types.

    Args:
        source: the text.
        file: the file's name, for error messages.

    Raises:
        SchemaError: the text does not parse, breaks the rules for names, or uses what is not covered.
    """
    tree = parse_text(source, file)
    try:
        return _Builder(source, file).transform(tree)
    except VisitError as error:
        if isinstance(error.orig_exc, SchemaError):
            raise error.orig_exc from None
        raise


class _Builder(Transformer[Token, Schema]):
    """Turns the parse tree into the syntax tree."""

    def __init__(self, source: str, file: str) -> None:
        super().__init__()
        self._source = source
        self._file = file
        self._comments = [(match.start(), match.end(), match.group()) for match in COMMENT.finditer(source)]

    def _fail(self, reason: str, token: Token, suggestion: str | None = None) -> SchemaError:
        return error_at(reason, self._source, self._file, place_of(token), suggestion)

    def _check_name(self, token: Token, what: str) -> str:
        name = str(token)
        if not _NAME_RULE.fullmatch(name):
            raise self._fail(
                f"{name!r} cannot name a {what}",
                token,
                "names have 3 to 64 characters, a-z, 0-9 and _, begin with a letter and do not end with _",
            )
        return name

    def _doc_before(self, start: int) -> tuple[str, ...]:
        doc: list[str] = []
        for begin, end, comment in reversed(self._comments):
            if end <= start:
                if self._source[end:start].strip():
                    break
                # A comment that ends a line of code belongs to that line, not to what follows.
                line_start = self._source.rfind("\n", 0, begin) + 1
                if self._source[line_start:begin].strip():
                    break
                doc.append("\n".join(line.strip() for line in comment.split("\n")))
                start = begin
        return tuple(reversed(doc))

    def start(self, items: list[object]) -> Schema:
        definitions = tuple(item for item in items if isinstance(item, Definition))
        flags = []
        for number, item in enumerate(items):
            if isinstance(item, _Flag):
                if any(isinstance(earlier, Definition) for earlier in items[:number]):
                    raise self._fail("'use' stands behind a definition", item.token, "put it at the top of the file")
                flags.append(str(item.token))
        return Schema(definitions, tuple(sorted(set(flags))), self._source, self._file)

    @v_args(inline=True)
    def use(self, _use: Token, flag: Token) -> _Flag:
        if flag not in FLAG_KEYWORDS:
            raise self._fail(f"'use {flag}' is not supported", flag, f"supported: {', '.join(sorted(FLAG_KEYWORDS))}")
        return _Flag(flag)

    def definition(self, items: list[object]) -> Definition:
        keyword, path, *members = items
        assert isinstance(keyword, Token)
        assert isinstance(path, tuple)
        name = "/".join(self._check_name(token, "definition") for token in path)
        return Definition(
            name,
            tuple(member for member in members if isinstance(member, Relation | Permission)),
            self._doc_before(keyword.start_pos or 0),
            place_of(path[0]),
        )

    def path(self, tokens: list[Token]) -> tuple[Token, ...]:
        return tuple(tokens)

    def relation(self, items: list[object]) -> Relation:
        keyword, name, *allowed = items
        assert isinstance(keyword, Token)
        assert isinstance(name, Token)
        types = tuple(item for item in allowed if isinstance(item, AllowedType))
        doc = self._doc_before(keyword.start_pos or 0)
        return Relation(self._check_name(name, "relation"), types, doc, place_of(name))

    @v_args(inline=True)
    def allowed(self, path: tuple[Token, ...], relation: Token | None, expiration: bool | None) -> AllowedType:
        ellipsis = relation is None or relation == "..."
        return AllowedType(
            "/".join(path), None if ellipsis else str(relation), False, bool(expiration), place_of(path[0])
        )

    @v_args(inline=True)
    def wildcard(self, path: tuple[Token, ...], _star: Token, expiration: bool | None) -> AllowedType:
        return AllowedType("/".join(path), None, True, bool(expiration), place_of(path[0]))

    def traits(self, items: list[object]) -> bool:
        for path in items:
            # Without its flag `expiration` is a name, and the checker says which flag is missing.
            if isinstance(path, tuple) and "/".join(path) != "expiration":
                raise self._fail(
                    f"caveats are not supported: 'with {'/'.join(path)}'",
                    path[0],
                    "remove the caveat, or use the engine 'spicedb'",
                )
        return True

    @v_args(inline=True)
    def permission(
        self, keyword: Token, name: Token, annotation: tuple[str, ...] | None, expression: Expression
    ) -> Permission:
        doc = self._doc_before(keyword.start_pos or 0)
        return Permission(self._check_name(name, "permission"), expression, annotation or (), doc, place_of(name))

    def annotation(self, paths: list[tuple[Token, ...]]) -> tuple[str, ...]:
        return tuple("/".join(path) for path in paths)

    @v_args(inline=True)
    def exclude(self, base: Expression, removed: Expression) -> Exclusion:
        return Exclusion(base, removed)

    def intersect(self, parts: list[Expression]) -> Intersection:
        return Intersection(tuple(parts))

    def unite(self, parts: list[Expression]) -> Union:
        return Union(tuple(parts))

    @v_args(inline=True)
    def reference(self, name: Token) -> Reference:
        return Reference(str(name), place_of(name))

    def nil(self, _items: list[Token]) -> Nil:
        return Nil()

    def self_(self, _items: list[Token]) -> Self:
        return Self()

    @v_args(inline=True)
    def arrow(self, relation: Token, name: Token) -> Arrow:
        return Arrow(str(relation), str(name), False, place_of(relation))

    @v_args(inline=True)
    def function(self, relation: Token, function: Token, name: Token) -> Arrow:
        if function not in ("any", "all"):
            raise self._fail(f"unknown function {str(function)!r}", function, "use .any(…) or .all(…)")
        return Arrow(str(relation), str(name), function == "all", place_of(relation))
