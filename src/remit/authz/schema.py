"""Reads a schema in SpiceDB's language: the parse tree (`schema_grammar.py`) becomes definitions and expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Final

from lark import Token, Transformer, v_args
from lark.exceptions import VisitError

from remit.authz.errors import SchemaError
from remit.authz.schema_comments import Span, assign_comments
from remit.authz.schema_grammar import FLAG_KEYWORDS, parse_text, place_of
from remit.authz.schema_tree import (
    AllowedType,
    Arrow,
    Definition,
    Exclusion,
    Expression,
    Intersection,
    Nil,
    Permission,
    Place,
    Reference,
    Relation,
    Schema,
    Self,
    Union,
    error_at,
)

_NAME_RULE: Final = re.compile(r"[a-z][a-z0-9_]{1,62}[a-z0-9]")

_AT_FLAGS: Final = ("", "use")
_AT_END: Final = ("", "end")


@dataclass(frozen=True, slots=True)
class _Flag:
    start: int
    token: Token


@dataclass(frozen=True, slots=True)
class _Member:
    """A relation or permission that lacks its comments; `stop` is known once its statement has ended."""

    start: int
    node: Relation | Permission
    stop: int = 0


@dataclass(frozen=True, slots=True)
class _Definition:
    """A definition that lacks its comments."""

    start: int
    brace: int
    name: str
    place: Place
    members: tuple[_Member, ...]


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

    def start(self, items: list[object]) -> Schema:
        flags: list[_Flag] = []
        definitions: list[_Definition] = []
        spans: list[Span] = []
        for item in items:
            if isinstance(item, _Definition):
                definitions.append(item)
                spans.append(Span(item.start, item.start, item.name))
                spans += [Span(member.start, member.stop, (item.name, member.node.name)) for member in item.members]
                spans.append(Span(item.brace, item.brace, (item.name, "}")))
            elif isinstance(item, _Flag):
                if definitions:
                    raise self._fail("'use' stands behind a definition", item.token, "put it at the top of the file")
                flags.append(item)
                spans.append(Span(item.start, item.start, _AT_FLAGS))
        end = len(self._source)
        docs = assign_comments(self._source, [*spans, Span(end, end, _AT_END)])
        return Schema(
            tuple(self._with_docs(definition, docs) for definition in definitions),
            tuple(sorted({str(flag.token) for flag in flags})),
            self._source,
            self._file,
            docs.get(_AT_FLAGS, ()),
            docs.get(_AT_END, ()),
        )

    def _with_docs(self, definition: _Definition, docs: dict[object, tuple[str, ...]]) -> Definition:
        name = definition.name
        return Definition(
            name,
            tuple(replace(member.node, doc=docs.get((name, member.node.name), ())) for member in definition.members),
            docs.get(name, ()),
            definition.place,
            docs.get((name, "}"), ()),
        )

    @v_args(inline=True)
    def use(self, use: Token, flag: Token) -> _Flag:
        if flag not in FLAG_KEYWORDS:
            raise self._fail(f"'use {flag}' is not supported", flag, f"supported: {', '.join(sorted(FLAG_KEYWORDS))}")
        return _Flag(use.start_pos or 0, flag)

    def definition(self, items: list[object]) -> _Definition:
        keyword, path, *inside, brace = items
        assert isinstance(keyword, Token)
        assert isinstance(brace, Token)
        assert isinstance(path, tuple)
        members = tuple(
            replace(item, stop=following.start_pos or 0)
            for item, following in pairwise(inside)
            if isinstance(item, _Member) and isinstance(following, Token)
        )
        name = "/".join(self._check_name(token, "definition") for token in path)
        return _Definition(keyword.start_pos or 0, brace.start_pos or 0, name, place_of(path[0]), members)

    def path(self, tokens: list[Token]) -> tuple[Token, ...]:
        return tuple(tokens)

    def relation(self, items: list[object]) -> _Member:
        keyword, name, *allowed = items
        assert isinstance(keyword, Token)
        assert isinstance(name, Token)
        types = tuple(item for item in allowed if isinstance(item, AllowedType))
        relation = Relation(self._check_name(name, "relation"), types, (), place_of(name))
        return _Member(keyword.start_pos or 0, relation)

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
    ) -> _Member:
        checked = self._check_name(name, "permission")
        return _Member(keyword.start_pos or 0, Permission(checked, expression, annotation or (), (), place_of(name)))

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
