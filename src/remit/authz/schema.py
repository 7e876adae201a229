"""SpiceDB's schema language: the grammar, and the parser that makes a tree of a text.

The grammar and its precedence follow SpiceDB (github.com/authzed/spicedb, pkg/schemadsl): union binds tightest, then
intersection, then exclusion, so `a + b & c` is `(a + b) & c` and `a - b + c` is `a - (b + c)`; each is read from the
left. What is not covered (caveats, partials, imports) is refused by name, never ignored.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from lark import Lark, Token, Transformer, UnexpectedInput, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedToken, VisitError

from remit.authz.errors import SchemaError
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

MAX_NESTING: Final = 50
SUPPORTED_FLAGS: Final = frozenset({"expiration", "self", "typechecking"})
KEYWORDS: Final = frozenset({"caveat", "definition", "nil", "permission", "relation", "with"})


GRAMMAR: Final = r"""
start: (use | definition | caveat | unsupported)*
use: "use" NAME _end
definition: DEFINITION path "{" (relation | permission | unsupported_partial)* "}" _end
caveat: CAVEAT /[\s\S]+/
unsupported: UNSUPPORTED /[\s\S]+/
unsupported_partial: ELLIPSIS path _end

relation: RELATION NAME ":" allowed ("|" allowed)* _end
allowed: path ["#" (NAME | ELLIPSIS)] [traits]
       | path ":" STAR [traits] -> wildcard
traits: WITH path ["and" path]

permission: PERMISSION NAME [":" annotation] "=" exclusion _end
annotation: path ("|" path)*
?exclusion: intersection | exclusion "-" intersection -> exclude
?intersection: union | union ("&" union)+ -> intersect
?union: term | term ("+" term)+ -> unite
?term: NAME -> reference
     | NIL -> nil
     | NAME "->" NAME -> arrow
     | NAME "." NAME "(" NAME ")" -> function
     | "(" exclusion ")"

path: NAME ("/" NAME)*
_end: ";"*

DEFINITION: "definition"
RELATION: "relation"
PERMISSION: "permission"
CAVEAT: "caveat"
UNSUPPORTED: /(partial|import|from)\b/
NIL: "nil"
WITH: "with"
STAR: "*"
ELLIPSIS: "..."
NAME: /[a-zA-Z_][a-zA-Z0-9_]*/
COMMENT: /\/\/[^\n]*/ | /\/\*[\s\S]*?\*\//
%ignore /\s+/
%ignore COMMENT
"""

_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_NAME_RULE: Final = re.compile(r"[a-z][a-z0-9_]{1,62}[a-z0-9]")
_TOKEN_NAMES: Final = {
    "NAME": "a name",
    "RBRACE": "}",
    "LBRACE": "{",
    "EQUAL": "=",
    "COLON": ":",
    "LPAR": "(",
    "RPAR": ")",
    "HASH": "#",
    "STAR": "*",
    "VBAR": "|",
    "SLASH": "/",
    "$END": "the end of the file",
}


@lru_cache(maxsize=16)
def parse_schema(source: str, file: str = "schema.zed") -> Schema:
    """Read a schema; `check_schema` then checks its names and types.

    Args:
        source: the text.
        file: the file's name, for error messages.

    Raises:
        SchemaError: the text does not parse, breaks the rules for names, or uses what is not covered.
    """
    _refuse_deep_nesting(source, file)
    try:
        tree = _PARSER.parse(source)
        return _Builder(source, file).transform(tree)
    except UnexpectedInput as error:
        raise _syntax_error(error, source, file) from None
    except VisitError as error:
        if isinstance(error.orig_exc, SchemaError):
            raise error.orig_exc from None
        raise


def _refuse_deep_nesting(source: str, file: str) -> None:
    depth = 0
    bare = _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), source)
    for match in re.finditer(r"[()]", bare):
        depth += 1 if match.group() == "(" else -1
        if depth > MAX_NESTING:
            line = bare.count("\n", 0, match.start()) + 1
            column = match.start() - bare.rfind("\n", 0, match.start())
            raise error_at(
                f"parentheses are nested more than {MAX_NESTING} deep",
                source,
                file,
                Place(line, column),
                "name the inner parts as permissions of their own",
            )


def _syntax_error(error: UnexpectedInput, source: str, file: str) -> SchemaError:
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        place = Place(error.token.line or 1, error.token.column or 1)
        found = f"unexpected {str(error.token).split()[0][:40]!r}"
        expected = set(map(str, error.accepts or error.expected))
    elif isinstance(error, UnexpectedCharacters):
        place = Place(error.line, error.column)
        found = f"unexpected character {error.char!r}"
        expected = set(map(str, error.allowed or ()))
    else:
        lines = source.rstrip().split("\n")
        place = Place(len(lines), len(lines[-1]) + 1)
        found = "the file ends too early"
        expected = set(map(str, error.expected)) if isinstance(error, UnexpectedToken | UnexpectedEOF) else set()
    names = sorted({_TOKEN_NAMES.get(name, name.lower()) for name in expected if not name.startswith("__")})
    return error_at(found, source, file, place, f"expected {' or '.join(names)}" if 0 < len(names) <= 8 else None)


class _Builder(Transformer[Token, Schema]):
    """Turns the parse tree into the syntax tree."""

    def __init__(self, source: str, file: str) -> None:
        super().__init__()
        self._source = source
        self._file = file
        self._flags: set[str] = set()
        self._comments = [(match.start(), match.end(), match.group()) for match in _COMMENT.finditer(source)]

    def _fail(self, reason: str, token: Token, suggestion: str | None = None) -> SchemaError:
        return error_at(reason, self._source, self._file, _place(token), suggestion)

    def _check_name(self, token: Token, what: str) -> str:
        name = str(token)
        if name in KEYWORDS:
            raise self._fail(f"{name!r} is a keyword and cannot name a {what}", token)
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
        flags = tuple(sorted(item for item in items if isinstance(item, str)))
        schema = Schema(definitions, flags, self._source, self._file)
        return _mark_self(schema) if "self" in flags else schema

    @v_args(inline=True)
    def use(self, flag: Token) -> str:
        if flag not in SUPPORTED_FLAGS:
            raise self._fail(f"'use {flag}' is not supported", flag, f"supported: {', '.join(sorted(SUPPORTED_FLAGS))}")
        return str(flag)

    @v_args(inline=True)
    def caveat(self, keyword: Token, _rest: Token) -> object:
        raise self._fail("caveats are not supported", keyword, "remove the caveat, or use the engine 'spicedb'")

    @v_args(inline=True)
    def unsupported(self, keyword: Token, _rest: Token) -> object:
        raise self._fail(f"{keyword!s} is not supported", keyword, "write the definitions into this file")

    @v_args(inline=True)
    def unsupported_partial(self, keyword: Token, _path: object) -> object:
        raise self._fail("partials are not supported", keyword, "write the relations and permissions out")

    def definition(self, items: list[object]) -> Definition:
        keyword, path, *members = items
        assert isinstance(keyword, Token)
        assert isinstance(path, tuple)
        name = "/".join(self._check_name(token, "definition") for token in path)
        return Definition(
            name,
            tuple(member for member in members if isinstance(member, Relation | Permission)),
            self._doc_before(keyword.start_pos or 0),
            _place(path[0]),
        )

    def path(self, tokens: list[Token]) -> tuple[Token, ...]:
        return tuple(tokens)

    def relation(self, items: list[object]) -> Relation:
        keyword, name, *allowed = items
        assert isinstance(keyword, Token)
        assert isinstance(name, Token)
        types = tuple(item for item in allowed if isinstance(item, AllowedType))
        doc = self._doc_before(keyword.start_pos or 0)
        return Relation(self._check_name(name, "relation"), types, doc, _place(name))

    @v_args(inline=True)
    def allowed(self, path: tuple[Token, ...], relation: Token | None, expiration: bool | None) -> AllowedType:
        ellipsis = relation is None or relation == "..."
        return AllowedType(
            "/".join(path), None if ellipsis else str(relation), False, bool(expiration), _place(path[0])
        )

    @v_args(inline=True)
    def wildcard(self, path: tuple[Token, ...], _star: Token, expiration: bool | None) -> AllowedType:
        return AllowedType("/".join(path), None, True, bool(expiration), _place(path[0]))

    def traits(self, items: list[object]) -> bool:
        for path in items[1:]:
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
        return Permission(self._check_name(name, "permission"), expression, annotation or (), doc, _place(name))

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
        return Reference(str(name), _place(name))

    def nil(self, _items: list[Token]) -> Nil:
        return Nil()

    @v_args(inline=True)
    def arrow(self, relation: Token, name: Token) -> Arrow:
        return Arrow(str(relation), str(name), False, _place(relation))

    @v_args(inline=True)
    def function(self, relation: Token, function: Token, name: Token) -> Arrow:
        if function not in ("any", "all"):
            raise self._fail(f"unknown function {str(function)!r}", function, "use .any(…) or .all(…)")
        return Arrow(str(relation), str(name), function == "all", _place(relation))


def _place(token: Token) -> Place:
    return Place(token.line or 1, token.column or 1)


def _mark_self(schema: Schema) -> Schema:
    """Under `use self` the word is a keyword: replace each reference of that name."""

    def mark(expression: Expression) -> Expression:
        match expression:
            case Reference("self"):
                return Self()
            case Union(parts):
                return Union(tuple(mark(part) for part in parts))
            case Intersection(parts):
                return Intersection(tuple(mark(part) for part in parts))
            case Exclusion(base, removed):
                return Exclusion(mark(base), mark(removed))
        return expression

    return Schema(
        tuple(
            Definition(
                definition.name,
                tuple(
                    Permission(member.name, mark(member.expression), member.annotation, member.doc, member.place)
                    if isinstance(member, Permission)
                    else member
                    for member in definition.members
                ),
                definition.doc,
                definition.place,
            )
            for definition in schema.definitions
        ),
        schema.flags,
        schema.source,
        schema.file,
    )


_PARSER: Final = Lark(GRAMMAR, parser="lalr", maybe_placeholders=True, propagate_positions=False)
