"""A database connection that is not there: it records what is sent, and knows no answers."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, takewhile
from typing import Any, NoReturn

from sqlalchemy import text
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.exc import SAWarning, SQLAlchemyError
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter, TextClause
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import NullType

from remit.migrations.lint.errors import NeedsDatabaseError
from remit.migrations.lint.parse import SyntaxUnknownError, parse

_RENDERER: Dialect = PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


def render_sql(construct: Any, parameters: Any = None) -> str:
    """A statement as SQL text, with its values where they can be written out and `$1` where they cannot."""
    if isinstance(construct, str):
        construct = text(construct)
    if not isinstance(construct, ClauseElement):
        raise NeedsDatabaseError(f"cannot render a {type(construct).__name__} as SQL")
    values = parameters[0] if isinstance(parameters, Sequence) and parameters else parameters
    keys = list(values) if isinstance(values, Mapping) else None
    if isinstance(construct, ExecutableDDLElement):
        return str(construct.compile(dialect=_RENDERER)).strip()
    takes = isinstance(values, Mapping) and not isinstance(construct, UpdateBase)  # which has values of its own
    if isinstance(construct, TextClause) and isinstance(values, Mapping):
        construct = _give_types(construct, values)
    bound = construct.params(_gather_lists(construct, values)) if takes else construct
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # about how values look when they are written out
            return _compile(bound, keys, literal_binds=True)
    except (SQLAlchemyError, NotImplementedError, TypeError, ValueError, AttributeError):
        return _compile(bound, keys, render_postcompile=True)  # a list is so many parameters


def _give_types(construct: TextClause, values: Mapping[str, Any]) -> TextClause:
    """A text whose parameters have the types of their values, so that they can be written out."""
    known = {element.key: element for element in iterate(construct) if isinstance(element, BindParameter)}
    plain = {
        name: value
        for name, value in values.items()
        if type(value) in (str, int, float, bool) and name in known and isinstance(known[name].type, NullType)
    }
    return construct.bindparams(**plain)


def _gather_lists(construct: ClauseElement, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values by the names that a statement has for them: SQLAlchemy sends a list as `name_1`, `name_2`, …"""
    found = dict(values)
    for element in iterate(construct):
        if isinstance(element, BindParameter) and element.expanding and element.key not in found:
            names = takewhile(found.__contains__, (f"{element.key}_{number}" for number in count(1)))
            found[element.key] = [found[name] for name in list(names)]
    return found


def _compile(construct: ClauseElement, keys: list[str] | None, **options: bool) -> str:
    return str(construct.compile(dialect=_RENDERER, compile_kwargs=options, column_keys=keys)).strip()


class Unknown(str):
    """A value that only the database knows."""

    __slots__ = ()


class UnknownRow(tuple[Unknown, ...]):
    """A row of unknown values, as wide as the query says."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Unknown:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unknown("1")

    @property
    def _mapping(self) -> "UnknownRow":
        return self

    def __getitem__(self, key: Any) -> Any:
        return Unknown("1") if isinstance(key, str) else super().__getitem__(key)


class UnknownResult:
    """What a query answered. A loop over it sees one row, so that the loop's body is seen; a decision is refused."""

    def __init__(self, sql: str, rowcount: int) -> None:
        self._sql = sql
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[UnknownRow]:
        return iter([self._make_row()])

    def fetchall(self) -> list[UnknownRow]:
        """The rows."""
        return [self._make_row()]

    def mappings(self) -> "UnknownResult":
        """The rows by name."""
        return self

    def scalars(self) -> list[Unknown]:
        """The first column."""
        return [Unknown("1")]

    def __getattr__(self, name: str) -> Any:
        if name == "all":
            return self.fetchall
        if name.startswith("__"):
            raise AttributeError(name)
        raise NeedsDatabaseError(f"the revision reads an answer of the database (`.{name}`)")

    def _make_row(self) -> UnknownRow:
        try:
            columns = parse(self._sql)[0].body.get("target_list", ())
        except SyntaxUnknownError:
            columns = ()
        return UnknownRow(Unknown("1") for _ in columns)


class RecordingBind(MockConnection):
    """Stands where `op.get_bind()` has a connection."""

    def __init__(self, dialect: Dialect, record: Callable[[str], None], count_rows: Callable[[], int]) -> None:
        super().__init__(dialect, self.execute)
        self._record = record
        self._count_rows = count_rows

    def execute(self, obj: Any, parameters: Any = None, execution_options: Any = None) -> Any:  # noqa: ARG002 - as a connection
        """Record a statement."""
        sql = render_sql(obj, parameters)
        self._record(sql)
        return UnknownResult(sql, self._count_rows())

    def exec_driver_sql(self, statement: str, parameters: Any = None) -> UnknownResult:
        """Record a text exactly as it is."""
        if parameters:
            raise NeedsDatabaseError("the revision sends a text with the driver's own parameters")
        self._record(statement)
        return UnknownResult(statement, self._count_rows())

    def scalar(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: there is no answer."""
        raise NeedsDatabaseError("the revision reads an answer of the database (`.scalar`)")

    scalars = scalar

    def execution_options(self, **_: Any) -> "RecordingBind":
        """Itself."""
        return self

    def in_transaction(self) -> bool:
        """No: Alembic writes the boundaries itself."""
        return False

    @contextmanager
    def begin(self) -> Iterator["RecordingBind"]:
        """A transaction that joins the one of the migration."""
        yield self

    begin_nested = begin
