"""The rehearsal of one revision: looked at, measured at two sizes, interrupted, and met by the old queries."""

from collections.abc import Callable

from alembic.script import Script

from remit.migrations.rehearse.assemble import assemble, assemble_traced
from remit.migrations.rehearse.catalog import Table
from remit.migrations.rehearse.child import Order
from remit.migrations.rehearse.errors import RehearseError, advise
from remit.migrations.rehearse.fill import Filled, fill
from remit.migrations.rehearse.find import Finder, Found
from remit.migrations.rehearse.measure import Measured, measure
from remit.migrations.rehearse.migrator import run_through
from remit.migrations.rehearse.model import RevisionReport, StatementReport
from remit.migrations.rehearse.options import Options
from remit.migrations.rehearse.project import RehearsedProject
from remit.migrations.rehearse.queries import OldQueries, make_up_queries, sample_queries
from remit.migrations.rehearse.retry import plan_interruptions, try_interruption
from remit.migrations.rehearse.server import ScratchServer
from remit.migrations.rehearse.sizes import Plan
from remit.migrations.rehearse.traffic import make_specs
from remit.migrations.stand_ins import FIND_STAND_INS

_SHARE_OF_SMALL = 5
_LEAST_TO_COMPARE = 1000


class Rehearsal:
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
        found = Finder(self._server, self._base, self._order, self._options).find(tiny)
        found.notes += self._name_stand_ins()
        asked = self._count_asked(found.plan)
        advice = advise(found.trace.error or "")
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
        notes = [f"the role {name} was made, which no revision makes" for name in self._server.roles.made]
        if not names:
            return notes
        return [
            *notes,
            f"a stand-in is used for {', '.join(names)}, which the embedded server does not ship (see --postgres)",
        ]

    def _describe_trace(self, found: Found, asked: int) -> RevisionReport:
        """What is known without a measurement; a revision that fails on few rows is not tried on many."""
        revision = self._script.revision
        statements = assemble_traced(revision, found.trace)
        return RevisionReport(
            revision, self._script.doc or "", statements, self._count_filled(found, found.filled), None, [], 0.0,
            notes=[*found.notes, *found.filled.notes], error=found.trace.error, asked=asked,
        )  # fmt: skip

    @staticmethod
    def _count_filled(found: Found, filled: Filled) -> dict[str, int]:
        names = (found.plan.tables[oid].name for oid in found.plan.touched)
        return {name: filled.rows[name] for name in names if name in filled.rows}

    def _order(self, dsn: str, **options: object) -> Order:
        return self._project.order(dsn, self._script.revision, **options)

    def _count_asked(self, plan: Plan) -> int:
        known = [plan.statistics[plan.tables[oid].name].rows for oid in plan.touched if plan.statistics]
        return max(known, default=self._options.rows)

    def _measure(self, found: Found, rows: int) -> tuple[Measured, Filled]:
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

    def _interrupt(self, tiny: str, found: Found, reports: list[StatementReport]) -> None:
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
        sampled, missing = sample_queries(options.stats_from, tables) if options.stats_from else ([], None)
        if missing:
            report.notes.append(f"no query of the running code was sampled with --stats-from: {missing}")
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


def _count_errors(measured: Measured) -> dict[str, int]:
    found: dict[str, int] = {}
    for request in measured.requests:
        if request.error:
            name = f"{request.role} of {request.table}: {request.error}"
            found[name] = found.get(name, 0) + 1
    return found
