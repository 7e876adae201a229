"""What a schema consists of, as far as the linter's rules look at it."""

from dataclasses import dataclass, field

from remit.migrations.lint.model import Node


@dataclass
class Column:
    """A column as far as its definition was seen."""

    type: str
    not_null: bool = False


@dataclass
class Constraint:
    """A constraint: `kind` is PostgreSQL's, as CONSTR_CHECK."""

    kind: str
    columns: tuple[str, ...]
    valid: bool
    expression: Node = field(default_factory=dict)
    references: str | None = None


@dataclass
class Table:
    """A table that the history makes.

    Args:
        revision: the one that made it; empty for a table from outside of the history.
        parents: those that it inherits from or is a partition of.
        partition_keys: the columns that rows are assigned to partitions by.
        default: whether it is the partition of the rows that no other one takes.
    """

    name: str
    revision: str
    columns: dict[str, Column] = field(default_factory=dict)
    constraints: dict[str, Constraint] = field(default_factory=dict)
    partitioned: bool = False
    parents: tuple[str, ...] = ()
    partition_keys: tuple[str, ...] = ()
    default: bool = False


@dataclass
class Index:
    """An index and the table it belongs to."""

    table: str
    columns: tuple[str, ...]
    unique: bool
    revision: str
    partial: bool = False


@dataclass(frozen=True)
class Domain:
    """A domain: the type it is over, and whether it has a condition of its own."""

    base: str
    constrained: bool


def default_name(table: str, kind: str, columns: tuple[str, ...]) -> str:
    """The name that PostgreSQL gives a constraint without one, as far as it does not count."""
    bare, joined = table.rpartition(".")[2], "_".join(columns)
    match kind:
        case "CONSTR_PRIMARY":
            return f"{bare}_pkey"
        case "CONSTR_FOREIGN":
            return f"{bare}_{joined}_fkey"
        case "CONSTR_UNIQUE":
            return f"{bare}_{joined}_key"
        case "CONSTR_CHECK":
            return f"{bare}_{joined}_check" if joined else f"{bare}_check"
    return f"({kind} {joined})"
