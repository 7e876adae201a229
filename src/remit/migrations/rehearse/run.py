"""A rehearsal from its beginning to its end."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from alembic.script import Script

from remit.migrations.rehearse.assemble import assemble, assemble_traced
from remit.migrations.rehearse.catalog import Table, find_roots, read_tables
from remit.migrations.rehearse.child import Order
from remit.migrations.rehearse.errors import RehearseError
from remit.migrations.rehearse.fill import Filled, fill
from remit.migrations.rehearse.lookahead import look_ahead
from remit.migrations.rehearse.measure import Measured, measure
from remit.migrations.rehearse.migrator import run_through
from remit.migrations.rehearse.model import Report, RevisionReport, StatementReport
from remit.migrations.rehearse.project import RehearsedProject, list_ancestors
from remit.migrations.rehearse.queries import OldQueries, make_up_queries, sample_queries
from remit.migrations.rehearse.retry import Shape, plan_interruptions, read_shape, try_interruption
from remit.migrations.rehearse.server import ScratchServer, open_server
from remit.migrations.rehearse.sizes import Plan, sort_tables
from remit.migrations.rehearse.statistics import TableStatistics, read_statistics
from remit.migrations.rehearse.trace import Trace, trace
from remit.migrations.rehearse.traffic import make_specs
from remit.migrations.stand_ins import FIND_STAND_INS

_TINY = 500
_SHARE_OF_SMALL = 5
_LEAST_TO_COMPARE = 1000
_ROUNDS_TO_FIND_TABLES = 3
_MOST_ROLES = 50


@dataclass(frozen=True)
class Options:
    """What to rehearse with.

    Args:
        rows: of each touched table.
        stats_from: a server whose statistics give the rows and the proportions in place of `rows`; only read.
        seed_sql: statements that make rows where none can be made up.
        old_queries: of the code that runs while the revision does. Those that the server of `stats_from` was seen to
            run are tried as well, and what an ORM might send.
        measured_rows: the most rows to make; beyond that durations are extrapolated.
        max_stall_ms: what readers and writers may feel.
        retries: whether to interrupt the revision.
        measured: whether to run it beside readers and writers; what it locks and writes anew is looked at in any case,
            on few rows.
        baseline_seconds: how long to watch readers and writers before it.
        postgres: an installation of PostgreSQL in place of the embedded one.
    """

    rows: int = 100_000
    stats_from: str | None = None
    seed_sql: str | None = None
    old_queries: tuple[str, ...] = ()
    measured_rows: int = 1_000_000
    max_stall_ms: float = 50.0
    retries: bool = True
    measured: bool = True
    baseline_seconds: float = 1.0
    postgres: Path | None = None


def rehearse(project: RehearsedProject, options: Options, tell: Callable[[str], None]) -> Report:
    """Rehearse the revisions of a project, one after the other, on a server made for it.

    Args:
        project: whose.
        options: how.
        tell: is given a sentence whenever something new begins.

    Raises:
        RehearseError: it could not be done.
    """
    began = time.monotonic()
    tell("starting a scratch server")
    with open_server(options.postgres) as server:
        reports = rehearse_on(server, server.create(), project, options, tell)
        asked = max([options.rows, *(report.asked for report in reports)]) if options.stats_from else options.rows
        return Report(asked, options.max_stall_ms, reports, server.version, time.monotonic() - began)


def rehearse_on(
    server: ScratchServer, base: str, project: RehearsedProject, options: Options, tell: Callable[[str], None]
) -> list[RevisionReport]:
    """Rehearse the revisions of a project on a server that is there.

    Args:
        server: which.
        base: a database of it, empty or at a revision before those to rehearse. It is migrated on with them.
        project: whose.
        options: how.
        tell: as for `rehearse`.

    Raises:
        RehearseError: it could not be done.
    """
    reports = []
    for script in project.revisions:
        for ancestor in list_ancestors(script):
            tell(f"migrating to {ancestor}")
            error = _run_with_roles(server, project.order(server.dsn(base), ancestor, watch=False))
            if error is not None:
                raise RehearseError(
                    f"the revisions up to {ancestor} do not run on an empty database: {error}{_advise(error)}"
                )
        reports.append(_Rehearsal(server, project, options, script, base, tell).run())
    return reports


def _run_with_roles(server: ScratchServer, order: Order) -> str | None:
    """Run an order to its end, and make the roles that it lacks: revisions may not, and name them all the same."""
    error, _ = run_through(order)
    for _ in range(_MOST_ROLES):
        if error is None or not server.make_missing_role(error):
            break
        error, _ = run_through(order)
    return error


@dataclass
class _Found:
    """What the slow runs told."""

    plan: Plan
    trace: Trace
    shape: Shape = field(default_factory=list)
    filled: Filled = field(default_factory=Filled)
    notes: list[str] = field(default_factory=list)


class _Rehearsal:
    """Of one revision."""

    def __init__(
        self,
        server: ScratchServer,
        project: RehearsedProject,
        options: Options,
        script: Script,
        base: str,
        tell: Callable[[str], None],
    ) -> None:
        self._server = server
        self._project = project
        self._options = options
        self._script = script
        self._base = base
        self._tell = tell

    def run(self) -> RevisionReport:
        """Rehearse it."""
        revision = self._script.revision
        tiny = self._server.reserve()
        self._tell(f"{revision}: looking at each statement")
        found = self._find(tiny)
        found.notes += self._name_stand_ins()
        asked = self._count_asked(found.plan)
        advice = _advise(found.trace.error or "")
        if advice and found.trace.failed_in_statement:
            raise RehearseError(f"revision {revision} does not run here: {found.trace.error}{advice}")
        if found.trace.error is not None or not self._options.measured:
            report = self._describe_trace(found, asked)
            if report.error is None and self._options.retries:
                self._interrupt(tiny, found, report.statements)
            self._server.drop(tiny)
            return report
        sizes = _choose_sizes(min(asked, self._options.measured_rows))
        small, _ = self._measure(found, sizes[0]) if sizes[0] < sizes[1] and found.plan.touched else (None, None)
        large, filled = self._measure(found, sizes[1])
        statements = assemble(revision, found.trace, large, small, sizes, asked)
        report = RevisionReport(
            revision,
            self._script.doc or "",
            statements,
            self._count_filled(found, filled),
            large.noise,
            large.requests,
            large.windows[0].start if large.windows else large.began,
            notes=list(dict.fromkeys([*found.notes, *filled.notes])),
            probe_errors=_count_errors(large),
            error=large.error,
            asked=asked,
        )
        if report.error is None and self._options.retries:
            self._interrupt(tiny, found, statements)
        if report.error is None:
            self._try_queries(tiny, report, [found.plan.tables[oid] for oid in found.plan.touched])
        self._server.drop(tiny)
        return report

    def _name_stand_ins(self) -> list[str]:
        with self._server.connect(self._base) as connection:
            names = [name for (name,) in connection.execute(FIND_STAND_INS)]
        notes = [f"the role {name} was made, which no revision makes" for name in self._server.roles]
        if not names:
            return notes
        return [
            *notes,
            f"a stand-in is used for {', '.join(names)}, which the embedded server does not ship (see --postgres)",
        ]

    def _describe_trace(self, found: _Found, asked: int) -> RevisionReport:
        """What is known without a measurement; a revision that fails on few rows is not tried on many."""
        revision = self._script.revision
        statements = assemble_traced(revision, found.trace)
        return RevisionReport(
            revision, self._script.doc or "", statements, self._count_filled(found, found.filled), None, [], 0.0,
            notes=[*found.notes, *found.filled.notes], error=found.trace.error, asked=asked,
        )  # fmt: skip

    @staticmethod
    def _count_filled(found: _Found, filled: Filled) -> dict[str, int]:
        names = (found.plan.tables[oid].name for oid in found.plan.touched)
        return {name: filled.rows[name] for name in names if name in filled.rows}

    def _order(self, dsn: str, **options: object) -> Order:
        return self._project.order(dsn, self._script.revision, **options)

    def _find(self, tiny: str) -> _Found:
        """Look at each statement, on empty tables first, to know which are to be filled.

        A revision may look at other tables once there are rows, and refuse rows that do not obey what it adds.
        """
        found = _Found(Plan({}, (), frozenset(), {}), Trace())
        touched, after = self._look(self._base, found)
        obey = False
        if found.trace.hung:
            return found
        for _ in range(_ROUNDS_TO_FIND_TABLES):
            found.plan = self._plan(touched, after, obey=obey)
            self._server.drop(tiny)
            self._server.create(self._base, name=tiny)
            with self._server.connect(tiny) as connection:
                found.filled = fill(connection, found.plan, min(_TINY, self._options.rows), self._options.seed_sql)
            more, _ = self._look(tiny, found)
            refused = found.trace.error is not None and _refuses_rows(found.trace.error)
            if more <= touched and (obey or not refused):
                break
            touched, obey = touched | more, obey or refused
        if obey and found.trace.error is None:
            found.notes.append("the rows were made to obey what the revision adds: it fails where there are others")
        return found

    def _look(self, template: str, found: _Found) -> tuple[set[int], dict[int, Table]]:
        """Trace a copy of a database; the tables that the revision works on, and how it leaves them."""
        touched, after = self._look_once(template, found)
        for _ in range(_MOST_ROLES):
            if found.trace.error is None or not self._server.make_missing_role(found.trace.error):
                break
            touched, after = self._look_once(template, found)
        return touched, after

    def _look_once(self, template: str, found: _Found) -> tuple[set[int], dict[int, Table]]:
        with self._server.copy(template) as database:
            dsn = self._server.dsn(database)
            found.trace = trace(self._server, database, self._order(dsn, handshake=True, trace=True))
            with self._server.connect(self._base) as connection:
                touched = find_roots(connection, found.trace.touched)
            with self._server.connect(database) as connection:
                found.shape = read_shape(connection)
                return touched, read_tables(connection, find_roots(connection, touched))

    def _plan(self, touched: set[int], after: dict[int, Table], *, obey: bool) -> Plan:
        with self._server.connect(self._base) as connection:
            targets = {key.target for table in after.values() for key in table.foreign_keys} if obey else set()
            tables = read_tables(connection, touched | find_roots(connection, targets))
        tables = look_ahead(tables, after) if obey else tables
        return Plan(tables, sort_tables(tables), frozenset(touched), self._read_statistics(tables.values()))

    def _read_statistics(self, tables: Iterable[Table]) -> dict[str, TableStatistics]:
        names = [table.name for table in tables]
        return read_statistics(self._options.stats_from, names) if self._options.stats_from and names else {}

    def _count_asked(self, plan: Plan) -> int:
        known = [plan.statistics[plan.tables[oid].name].rows for oid in plan.touched if plan.statistics]
        return max(known, default=self._options.rows)

    def _measure(self, found: _Found, rows: int) -> tuple[Measured, Filled]:
        plan, revision = found.plan, self._script.revision
        with self._server.copy(self._base) as database:
            with self._server.connect(database) as connection:
                if plan.order:
                    self._tell(f"{revision}: making {rows:,} rows")
                filled = fill(connection, plan, rows, self._options.seed_sql)
                tables = [plan.tables[oid] for oid in plan.order if oid in plan.touched]
                specs = make_specs(connection, tables, filled.rows)
                connection.execute("CHECKPOINT")
            self._tell(f"{revision}: running it beside {len(specs) - 1} readers and writers")
            known = {"skipped": frozenset(found.trace.skipped), "parts": found.trace.parts}
            return measure(
                self._server,
                database,
                self._order(self._server.dsn(database), **known),
                specs,
                self._options.baseline_seconds,
            ), filled

    def _interrupt(self, tiny: str, found: _Found, reports: list[StatementReport]) -> None:
        interruptions = plan_interruptions(found.trace.statements)
        self._tell(f"{self._script.revision}: interrupting it in {len(interruptions)} places and running it again")
        for interruption, stands_for in interruptions.items():
            error = try_interruption(self._server, tiny, self._order, interruption, found.shape)
            shapes = {found.trace.statements[number].shape for number in stands_for}
            for number, report in enumerate(reports):
                if number in stands_for or (report.times > 1 and report.shape in shapes):
                    report.interrupted[interruption.name] = report.interrupted.get(interruption.name) or error

    def _try_queries(self, tiny: str, report: RevisionReport, tables: list[Table]) -> None:
        options = self._options
        sampled = sample_queries(options.stats_from, tables) if options.stats_from else []
        made_up = make_up_queries(tables)
        if not (options.old_queries or sampled or made_up):
            return
        self._tell(f"{self._script.revision}: running the old queries after it")
        with self._server.copy(tiny) as database, self._server.connect(database) as connection:
            queries = OldQueries(connection, options.old_queries, sampled, made_up)
            error, _ = run_through(self._order(self._server.dsn(database), watch=False))
            if error is not None:
                report.error = f"it fails beside an idle session: {error}"
            else:
                report.queries = queries.try_again()


def _choose_sizes(rows: int) -> tuple[int, int]:
    """Two sizes whose difference can be seen, or one."""
    return (rows // _SHARE_OF_SMALL if rows >= _LEAST_TO_COMPARE else rows), rows


def _advise(error: str) -> str:
    """What to do about what the scratch server or the environment lacks."""
    if "extension" in error and any(text in error for text in ("not available", "could not open extension")):
        return "; name an installation that has the extension with --postgres DIR, the folder with its `bin`"
    if error.startswith("KeyError"):
        return "; if that is an environment variable, set it, and name it with --url-variable if it holds the URL"
    return ""


def _refuses_rows(error: str) -> bool:
    """Whether it is the rows that an error is about: the drivers name it so."""
    return any(word in error.partition(":")[0] for word in ("Violation", "IntegrityError"))


def _count_errors(measured: Measured) -> dict[str, int]:
    found: dict[str, int] = {}
    for request in measured.requests:
        if request.error:
            name = f"{request.role} of {request.table}: {request.error}"
            found[name] = found.get(name, 0) + 1
    return found
