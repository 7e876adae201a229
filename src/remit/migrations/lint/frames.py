"""Which call in the project's files sent a statement."""

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from types import FrameType

import alembic
import sqlalchemy

from remit.migrations.lint.model import Site

_LINTER = str(Path(__file__).parent) + "/"
_LIBRARIES = tuple(str(Path(str(package.__file__)).parent) + "/" for package in (alembic, sqlalchemy))
_SKIPPED = (*_LIBRARIES, str(contextlib.__file__), "<")


_acting_for: ContextVar[tuple[Site, ...]] = ContextVar("acting_for", default=())


@contextlib.contextmanager
def acting_for(sites: tuple[Site, ...]) -> Iterator[None]:
    """What is sent as long as the block lasts was asked for at another place than the one that sends it."""
    before = _acting_for.set(sites)
    try:
        yield
    finally:
        _acting_for.reset(before)


def is_library(file: str) -> bool:
    """Whether code is Alembic's or SQLAlchemy's."""
    return file.startswith(_LIBRARIES)


def find_sites() -> tuple[Site, ...]:
    """The calls on the stack that belong to the project, innermost first, up to the revision's own function."""
    if elsewhere := _acting_for.get():
        return elsewhere
    sites: list[Site] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_LINTER):
            if sites:
                break  # the linter called the revision
        elif not name.startswith(_SKIPPED):
            sites.append(_make_site(frame))
        frame = frame.f_back
    return tuple(sites)


def _make_site(frame: FrameType) -> Site:
    positions = islice(frame.f_code.co_positions(), max(frame.f_lasti, 0) // 2, None)
    start, end, _, _ = next(positions, (None, None, None, None))
    line = start or frame.f_lineno
    return Site(Path(frame.f_code.co_filename), line, max(end or line, line))
