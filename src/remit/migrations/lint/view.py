"""The history as the rules see it: each statement with its locks, its work and the time limits in effect."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from remit.migrations.lint.code import CodeIndex
from remit.migrations.lint.locks import Mode, find_locks
from remit.migrations.lint.model import Revision, Statement
from remit.migrations.lint.project import LintSettings
from remit.migrations.lint.relations import Relation
from remit.migrations.lint.schema import Schema
from remit.migrations.lint.schema_objects import Table
from remit.migrations.lint.statements import Environment
from remit.migrations.lint.timeouts import TimeLimits
from remit.migrations.lint.work import find_work


@dataclass(frozen=True)
class Step:
    """One statement and what it does to tables that are in use.

    Args:
        before: the tables as they are when it runs.
        locks: of the busy tables only: those that this revision did not make.
        work: the busy tables whose size decides how long it takes, and what it does to them.
        limits: the time limits in effect when it starts.
    """

    statement: Statement
    before: Schema
    locks: Mapping[str, Mode]
    work: Mapping[str, str]
    limits: TimeLimits

    @property
    def table(self) -> str:
        """The busy table that is locked most."""
        return max(self.locks, key=lambda name: self.locks[name], default="")


@dataclass(frozen=True)
class RevisionView:
    """A revision's steps in both directions."""

    revision: Revision
    upgrade: tuple[Step, ...]
    downgrade: tuple[Step, ...] = ()


@dataclass(frozen=True)
class History:
    """Everything that rules may look at."""

    settings: LintSettings
    environment: Environment
    revisions: tuple[RevisionView, ...]
    heads: tuple[str, ...]
    final: Schema
    code: CodeIndex = field(default_factory=CodeIndex)
    dropped_relations: Mapping[str, tuple[set[Relation], str]] = field(default_factory=dict)

    @property
    def asked(self) -> list[RevisionView]:
        """The revisions to judge."""
        return [view for view in self.revisions if view.revision.asked]


class Walker:
    """Goes through the statements in order and keeps the state of tables and of time limits."""

    def __init__(self, settings: LintSettings, environment: Environment) -> None:
        self.schema = Schema()
        self._settings = settings
        self._initial = TimeLimits.of_session(environment.timeouts)
        self._limits = self._initial

    def view(self, revision: Revision, upgrade: list[Statement], downgrade: list[Statement]) -> RevisionView:
        """The steps of the next revision; its downgrade starts where its upgrade ended."""
        steps, self._limits = self._walk(self.schema, upgrade, self._limits)
        if not revision.asked:
            return RevisionView(revision, steps)
        back, _ = self._walk(self.schema.copy(), downgrade, self._initial)
        return RevisionView(revision, steps, back)

    def _walk(
        self, schema: Schema, statements: list[Statement], limits: TimeLimits
    ) -> tuple[tuple[Step, ...], TimeLimits]:
        steps = []
        for statement in statements:
            limits = limits.enter(statement)
            before = schema.copy()
            schema.apply(statement)

            def is_busy(name: str, before: Schema = before, statement: Statement = statement) -> bool:
                # What a block makes it may work on at once.
                return self._is_busy(name, before.tables.get(name) or schema.tables.get(name), statement)

            locks = {name: mode for name, mode in find_locks(statement, before).items() if is_busy(name)}
            work = {name: what for name, what in find_work(statement, before).items() if is_busy(name)}
            steps.append(Step(statement, before, locks, work, limits))
            limits = limits.apply(statement)
        return tuple(steps), limits

    def _is_busy(self, table: str, known: Table | None, statement: Statement) -> bool:
        return (
            table not in self._settings.small_tables
            and not (known is not None and known.revision == statement.revision)
            and not table.startswith(("pg_temp.", "pg_catalog.", "information_schema."))
        )
