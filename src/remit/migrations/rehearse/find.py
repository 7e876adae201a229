"""The slow runs on few rows: what each statement does, and which tables are to be filled for it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from remit.migrations.rehearse.catalog import Table, find_roots, read_tables
from remit.migrations.rehearse.fill import Filled, fill
from remit.migrations.rehearse.lookahead import look_ahead
from remit.migrations.rehearse.options import Options
from remit.migrations.rehearse.retry import MakeOrder, Shape, read_shape
from remit.migrations.rehearse.server import ScratchServer
from remit.migrations.rehearse.sizes import Plan, sort_tables
from remit.migrations.rehearse.statistics import TableStatistics, read_statistics
from remit.migrations.rehearse.trace import Trace, trace

_TINY = 500
_ROUNDS_TO_FIND_TABLES = 3


@dataclass
class Found:
    """What the slow runs told."""

    plan: Plan
    trace: Trace
    shape: Shape = field(default_factory=list)
    filled: Filled = field(default_factory=Filled)
    notes: list[str] = field(default_factory=list)


class Finder:
    """Looks at a revision.

    Args:
        server: where the databases are.
        base: the database at the revision before.
        make_order: what to tell the migrator, for a connection URL and options.
        options: how to rehearse.
    """

    def __init__(self, server: ScratchServer, base: str, make_order: MakeOrder, options: Options) -> None:
        self._server = server
        self._base = base
        self._make_order = make_order
        self._options = options

    def find(self, tiny: str) -> Found:
        """Look at each statement, on empty tables first, to know which are to be filled; `tiny` is left with rows.

        A revision may look at other tables once there are rows, and refuse rows that do not obey what it adds.
        """
        found = Found(Plan({}, (), frozenset(), {}), Trace())
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

    def _look(self, template: str, found: Found) -> tuple[set[int], dict[int, Table]]:
        """Trace a copy of a database; the tables that the revision works on, and how it leaves them."""
        return self._server.roles.retry(lambda: self._look_once(template, found), lambda _: found.trace.error)

    def _look_once(self, template: str, found: Found) -> tuple[set[int], dict[int, Table]]:
        with self._server.copy(template) as database:
            dsn = self._server.dsn(database)
            found.trace = trace(self._server, database, self._make_order(dsn, handshake=True, trace=True))
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


def _refuses_rows(error: str) -> bool:
    """Whether it is the rows that an error is about: the drivers name it so."""
    return any(word in error.partition(":")[0] for word in ("Violation", "IntegrityError"))
