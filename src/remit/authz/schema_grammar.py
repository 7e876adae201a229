"""The grammar of SpiceDB's schema language: a text becomes a parse tree, or an error that points at its place.

Grammar, precedence and the ends of statements follow SpiceDB (github.com/authzed/spicedb, pkg/schemadsl): union binds
tightest, then intersection, then exclusion, so `a + b & c` is `(a + b) & c` and `a - b + c` is `a - (b + c)`; each is
read from the left. A line that could end a statement ends it. What is not covered (caveats, partials, imports) is
refused by name, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from lark import Lark, Token, Tree, UnexpectedInput
from lark.exceptions import UnexpectedCharacters, UnexpectedToken
from lark.lark import PostLex

from remit.authz.errors import SchemaError
from remit.authz.schema_comments import blank_comments
from remit.authz.schema_tree import Place, error_at

MAX_NESTING: Final = 50
FLAG_KEYWORDS: Final = {
    "expiration": {"expiration": "EXPIRATION", "and": "AND"},
    "self": {"self": "SELF"},
    "typechecking": {"typechecking": "TYPECHECKING"},
}
"""What may stand after `use`, and the words that are names no more behind it."""

GRAMMAR: Final = r"""
start: SEMICOLON? ((use | definition) SEMICOLON?)*
use: USE (NAME | EXPIRATION | SELF | TYPECHECKING)
definition: DEFINITION path "{" (relation SEMICOLON | permission SEMICOLON | SEMICOLON)* RBRACE

relation: RELATION NAME ":" allowed ("|" allowed)*
allowed: path ["#" (NAME | ELLIPSIS)] [traits]
       | path ":" STAR [traits] -> wildcard
traits: WITH EXPIRATION | WITH path [AND EXPIRATION]

permission: PERMISSION NAME [":" annotation] "=" exclusion
annotation: path ("|" path)*
?exclusion: intersection | exclusion "-" intersection -> exclude
?intersection: union | union ("&" union)+ -> intersect
?union: term | term ("+" term)+ -> unite
?term: NAME -> reference
     | NIL -> nil
     | SELF -> self_
     | NAME "->" NAME -> arrow
     | NAME "." NAME "(" NAME ")" -> function
     | "(" exclusion ")"

path: NAME ("/" NAME)*

DEFINITION: "definition"
CAVEAT: "caveat"
RELATION: "relation"
PERMISSION: "permission"
NIL: "nil"
WITH: "with"
STAR: "*"
ELLIPSIS: "..."
SEMICOLON: ";"
RBRACE: "}"
NEWLINE: /[\r\n]+/
NAME: /[a-zA-Z_][a-zA-Z0-9_]*/
COMMENT: /\/\/[^\r\n]*|\/\*[\s\S]*?\*\//
%declare USE EXPIRATION AND SELF TYPECHECKING
%ignore /[ \t]+/
%ignore COMMENT
"""

_KEYWORDS: Final = frozenset(
    {"CAVEAT", "DEFINITION", "NIL", "PERMISSION", "RELATION", "WITH", "EXPIRATION", "AND", "SELF", "TYPECHECKING"}
)
_ENDS_STATEMENT: Final = _KEYWORDS | {"NAME", "USE", "RBRACE", "RPAR", "STAR"}
_OPERATORS: Final = frozenset({"PLUS", "MINUS", "__ANON_0", "__ANON_1", "VBAR", "COLON", "EQUAL", "DOT", "RPAR"})
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
    "PLUS": "+",
    "MINUS": "-",
    "DOT": ".",
    "ELLIPSIS": "...",
    "SEMICOLON": "the end of the statement",
    "$END": "the end of the file",
}


class _Refused(Exception):
    """A part of the language that is not covered."""

    def __init__(self, token: Token, reason: str, suggestion: str) -> None:
        super().__init__(reason)
        self.token, self.reason, self.suggestion = token, reason, suggestion


class _Words(PostLex):
    """What SpiceDB's scanner does beyond cutting words: ends of statements, and keywords that flags bring in."""

    always_accept = ("NEWLINE", "CAVEAT")

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """Turn newlines into ends of statements or nothing, and names into keywords."""
        words: dict[str, str] = {}
        depth, last = 0, None
        for token in stream:
            if token.type == "NEWLINE":
                if last is None or last.type not in _ENDS_STATEMENT:
                    continue
                token = Token.new_borrow_pos("SEMICOLON", "\n", token)  # noqa: PLW2901 - it stands for the newline
            elif token.type == "NAME":
                if depth == 0 and (last is None or last.type != "DEFINITION"):
                    token.type = self._word_outside(token, last, words)
                token.type = words.get(str(token), token.type) if token.type == "NAME" else token.type
            elif token.type == "CAVEAT" and depth == 0 and (last is None or last.type != "DEFINITION"):
                raise _Refused(token, "caveats are not supported", "remove the caveat, or use the engine 'spicedb'")
            elif token.type == "ELLIPSIS" and last is not None and last.type in ("LBRACE", "SEMICOLON"):
                raise _Refused(token, "partials are not supported", "write the relations and permissions out")
            depth += {"LBRACE": 1, "RBRACE": -1}.get(token.type, 0)
            last = token
            yield token

    def _word_outside(self, token: Token, last: Token | None, words: dict[str, str]) -> str:
        """The type of a name outside of definitions."""
        if last is not None and last.type == "USE":
            if str(token) in ("import", "partial"):
                raise _Refused(token, f"{token!s}s are not supported", "write the definitions into this file")
            words.update(FLAG_KEYWORDS.get(str(token), {}))
        elif str(token) == "use":
            return "USE"
        elif str(token) in ("partial", "import", "from"):
            raise _Refused(token, f"{token!s} is not supported", "write the definitions into this file")
        return "NAME"


def parse_text(source: str, file: str) -> Tree[Token]:
    """The parse tree of a text.

    Raises:
        SchemaError: the text does not parse, or uses what is not covered.
    """
    _refuse_deep_nesting(source, file)
    try:
        return _PARSER.parse(source)
    except _Refused as refused:
        raise error_at(refused.reason, source, file, place_of(refused.token), refused.suggestion) from None
    except UnexpectedInput as error:
        raise _syntax_error(error, source, file) from None


def place_of(token: Token) -> Place:
    """Where a token stands."""
    return Place(token.line or 1, token.column or 1)


def _refuse_deep_nesting(source: str, file: str) -> None:
    depth = 0
    bare = blank_comments(source)
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
    if isinstance(error, UnexpectedCharacters):
        return error_at(f"unexpected character {error.char!r}", source, file, Place(error.line, error.column))
    assert isinstance(error, UnexpectedToken)
    if source.startswith("/*", error.token.start_pos or 0):
        return error_at("a comment is not closed", source, file, place_of(error.token), "end it with */")
    expected = {str(name) for name in error.accepts or error.expected}
    if error.token.type == "$END":
        lines = source.rstrip().split("\n")
        place, found = Place(len(lines), len(lines[-1]) + 1), "the file ends too early"
    else:
        place, found = place_of(error.token), f"unexpected {str(error.token)[:40]!r}"
    if error.token.type == "SEMICOLON" and str(error.token) == "\n":
        found = "the line ends too early"
    if error.token.type in _KEYWORDS and "NAME" in expected:
        found = f"{str(error.token)!r} is a keyword and cannot be a name"
    return error_at(found, source, file, place, _advice(error.token, expected))


def _advice(token: Token, expected: set[str]) -> str | None:
    """What to do about a token that does not fit."""
    if token.type in _OPERATORS and {"RELATION", "PERMISSION"} & expected:
        return f"a statement ends with its line: put {str(token)!r} at the end of the line before"
    if "SEMICOLON" in expected and token.type in ("RBRACE", "RELATION", "PERMISSION"):
        return f"end the statement first: put {str(token)!r} on a line of its own, or ; before it"
    names = sorted({_TOKEN_NAMES.get(name, name.lower()) for name in expected if not name.startswith("__")})
    return f"expected {' or '.join(names)}" if 0 < len(names) <= 8 else None


_PARSER: Final = Lark(
    GRAMMAR, parser="lalr", lexer="basic", postlex=_Words(), maybe_placeholders=True, propagate_positions=False
)
