"""What the authorization engine refuses, as typed errors.

AuthzError
├── SchemaError          a schema that does not parse, does not type-check or uses what is not covered
│   └── SchemaInUse      a change that would orphan relationships
├── SchemaUnusable       the database holds a schema that this release does not understand: nothing is answered
├── RelationshipError    a relationship, an id or a subject that the schema or the rules for ids do not allow
├── PreconditionFailed   a write whose precondition does not hold; nothing was written
├── PermissionUnknown    a question about a type or permission that the schema does not have
├── ListTooCostly        a list of which nothing was settled within its time
├── DepthExceeded        more nesting than the limit: the answer is unknown, so it is not an allow
└── ZedtokenError        a token of another database, or of a state that this one has not reached
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

DEPTH_LIMIT = 50
DEPTH_MARK = "authorization depth limit reached at level"


class AuthzError(Exception):
    """Base of every error of the authorization engine."""


class SchemaError(AuthzError):
    """A schema is refused.

    Attributes:
        reason: what is wrong, without the place.
        file: name of the schema's file.
        line: line, counted from 1; 0 when the error belongs to no line.
        column: column, counted from 1.
        source_line: the text of that line.
        suggestion: what was perhaps meant, or what to do.
    """

    def __init__(
        self,
        reason: str,
        *,
        file: str = "schema.zed",
        line: int = 0,
        column: int = 0,
        source_line: str = "",
        suggestion: str | None = None,
    ) -> None:
        self.reason = reason
        self.file = file
        self.line = line
        self.column = column
        self.source_line = source_line
        self.suggestion = suggestion
        super().__init__(self._render())

    def _render(self) -> str:
        if not self.line:
            text = f"{self.file}: {self.reason}"
        else:
            shown = self.source_line[:200]
            caret = "".join("\t" if char == "\t" else " " for char in shown[: self.column - 1]) + "^"
            text = f"{self.file}:{self.line}:{self.column}: {self.reason}\n  {shown}\n  {caret}"
        return f"{text}\n  {self.suggestion}" if self.suggestion else text


class SchemaInUse(SchemaError):
    """A schema change would remove a type or relation that still has relationships."""


class SchemaUnusable(AuthzError):
    """The newest schema in the database is not understood by this release, so that nothing can be answered."""


class RelationshipError(AuthzError):
    """A relationship, subject or id is refused; nothing was written."""


class PreconditionFailed(AuthzError):
    """A precondition of a write does not hold; nothing was written. Read the relationships again, then decide."""


class PermissionUnknown(AuthzError):
    """The schema has no such type or permission."""


class DepthExceeded(AuthzError):
    """The graph is nested deeper than the limit, so that there is no answer. Flatten the groups or folders."""


class ListTooCostly(AuthzError):
    """Nothing of a list was settled in time: it has no short answer, since that would look like its end.

    Args:
        seconds: how long a list may take.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the list takes longer than {seconds:g} s; ask for less of it, by a filter or a smaller page")


class ZedtokenError(AuthzError):
    """A zedtoken does not belong to this database's history, for example after a restore."""


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """Turn the error that a compiled check raises at the depth limit into `DepthExceeded`.

    Wrap statements that contain `check_sql`. That error is of a text that is no boolean; one of another kind, as of a
    row that the statement also writes, may quote what somebody sent.
    """
    try:
        yield
    except asyncpg.InvalidTextRepresentationError as error:
        if DEPTH_MARK in str(error):
            raise DepthExceeded(
                f"more than {DEPTH_LIMIT} levels of nesting were needed to answer; flatten the groups or folders"
            ) from error
        raise
