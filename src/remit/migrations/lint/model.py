"""What the linter passes around: statements with their transaction and their place, findings, levels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Node = Mapping[str, Any]
"""A node of the parse tree: the fields of libpg_query's message, by name."""

Level = Literal["error", "warn", "note"]
Direction = Literal["upgrade", "downgrade"]


@dataclass(frozen=True)
class Site:
    """Lines of a call, from its first to its last."""

    file: Path
    line: int
    end_line: int


@dataclass(frozen=True)
class Event:
    """SQL text as it was sent, before it is parsed. `revision` is None for what env.py sends before the first one."""

    revision: str | None
    sql: str
    sites: tuple[Site, ...] = ()


@dataclass(frozen=True)
class Statement:
    """One statement of a revision.

    Args:
        kind: the kind of the parse tree's root, as `alter_table_stmt`.
        body: the root itself.
        transaction: a number shared by the statements of one transaction; None outside of any.
        sites: the calls that led to it, innermost first.
        inner: the statements in the body of a DO block, and in those of the functions that it calls.
    """

    revision: str
    direction: Direction
    sql: str
    kind: str
    body: Node
    transaction: int | None
    sites: tuple[Site, ...] = ()
    inner: tuple["Statement", ...] = ()


@dataclass(frozen=True)
class Revision:
    """A revision and what it runs. `statements` of a revision that was not asked for only tell about the tables.

    Args:
        executed: whether it was executed on empty tables, as it could not be rendered.
    """

    id: str
    file: Path
    asked: bool
    line: int = 1
    executed: bool = False


@dataclass(frozen=True)
class Finding:
    """Something that will block, break or lose."""

    revision: str
    rule: str
    level: Level
    message: str
    file: Path
    line: int
    sql: str = ""
    fix: str = ""
    sites: tuple[Site, ...] = field(default=(), compare=False)
