"""Whether a revision can be run again after it was ended in the middle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from remit.migrations.rehearse.child import Order
from remit.migrations.rehearse.migrator import WAITED_FOR, run_through, start
from remit.migrations.rehearse.sent import is_concurrent, only_sets
from remit.migrations.rehearse.server import Connection, ScratchServer
from remit.migrations.rehearse.trace import TracedStatement, lock_tables

Shape = list[list[tuple[Any, ...]]]
MakeOrder = Callable[..., Order]

_MOST_OF_A_KIND = 3
_SECONDS_TO_WAIT = 30.0

_SHAPE = (
    (
        "SELECT c.oid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
        "pg_get_expr(d.adbin, d.adrelid) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
        "AND NOT a.attisdropped LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum "
        "WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.relnamespace NOT IN "
        "('pg_catalog'::regnamespace, 'information_schema'::regnamespace) ORDER BY 1, a.attname"
    ),
    (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint "
        "WHERE connamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) ORDER BY 1, 2"
    ),
    (
        "SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid "
        "WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace) ORDER BY 1"
    ),
    "SELECT enumtypid::regtype::text, enumlabel FROM pg_enum ORDER BY 1, enumsortorder",
)


@dataclass(frozen=True)
class Interruption:
    """A way to end a revision.

    Args:
        statement: the number of the statement.
        during: whether it is ended while that statement runs, or after it.
    """

    statement: int
    during: bool = False

    @property
    def name(self) -> str:
        """For people and for JSON."""
        return "during" if self.during else "after"


def plan_interruptions(statements: Sequence[TracedStatement]) -> dict[Interruption, list[int]]:
    """The interruptions to try, each with the statements for which it stands.

    Whatever a transaction did is undone when it is interrupted, so that all of its statements leave the same behind,
    and one of them stands for all.
    """
    found: dict[Interruption, list[int]] = {}
    open_transaction: list[int] = []
    seen: dict[str, int] = {}
    for number, statement in enumerate(statements):
        if not statement.autocommit:
            open_transaction.append(number)
            continue
        if open_transaction:
            found[Interruption(open_transaction[-1])] = open_transaction
            open_transaction = []
        if only_sets(statement.sql):
            if found:
                list(found.values())[-1].append(number)  # nothing more is left behind than before it
            continue
        seen[statement.shape] = seen.get(statement.shape, 0) + 1
        if seen[statement.shape] > _MOST_OF_A_KIND:
            continue
        found[Interruption(number)] = [number]
        if is_concurrent(statement.sql):
            found[Interruption(number, during=True)] = [number]
    if open_transaction:
        found[Interruption(open_transaction[-1])] = open_transaction
    return found


def try_interruption(
    server: ScratchServer, template: str, make_order: MakeOrder, interruption: Interruption, expected: Shape
) -> str | None:
    """End a revision, run it again, and say what is wrong with that.

    Args:
        server: where the databases are.
        template: the database as it was before the revision; the attempt has a copy.
        make_order: what to tell the migrator, for a connection URL and options.
        interruption: where to end it.
        expected: the shape of the database after a run that nobody interrupted.
    """
    with server.copy(template) as database:
        dsn = server.dsn(database)
        if interruption.during:
            if not _end_during(server, database, make_order(dsn, handshake=True), interruption.statement):
                return None
        else:
            run_through(make_order(dsn, end_after=interruption.statement + 1))
        server.wait_until_left(database)
        error, _ = run_through(make_order(dsn, watch=False))
        if error is not None:
            return f"the second run fails: {error}"
        with server.connect(database) as connection:
            return compare(expected, read_shape(connection))


def _end_during(server: ScratchServer, database: str, order: Order, number: int) -> bool:
    """End the session of a concurrent statement while it waits for an open write; False if it never waited."""
    with server.connect(database) as admin, start(order) as migrator:
        blocker, pid = None, 0
        try:
            for _ in range(int(_SECONDS_TO_WAIT * 100)):
                message = migrator.receive(0.01)
                if message is None:
                    if blocker is not None and _waits(admin, pid):
                        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
                        return True
                    continue
                if message[0] in ("done", "failed"):
                    return False
                if message[0] == "after" and blocker is not None:
                    return False
                if message[0] == "before" and message[2] == number:
                    pid = message[6]
                    blocker = server.connect(database, autocommit=False)
                    lock_tables(blocker)
                if message[0] in WAITED_FOR:
                    migrator.go_on()
            return False
        finally:
            migrator.kill()
            if blocker is not None:
                blocker.close()


def _waits(admin: Connection, pid: int) -> bool:
    return admin.execute("SELECT FROM pg_locks WHERE pid = %s AND NOT granted", [pid]).rowcount > 0


def read_shape(connection: Connection) -> Shape:
    """The tables, constraints, indexes and enums of a database."""
    return [connection.execute(question.encode()).fetchall() for question in _SHAPE]


def compare(expected: Shape, found: Shape) -> str | None:
    """What differs after the second run, in words; None if nothing does."""
    for wanted, got in zip(expected, found, strict=True):
        if set(wanted) != set(got):
            missing = [item for item in wanted if item not in got]
            extra = [item for item in got if item not in wanted]
            invalid = [item[0] for item in extra if item[-1] is False and str(item[0]).startswith("CREATE")]
            if invalid:
                return f"the second run succeeds and leaves an invalid index: {invalid[0]}"
            return f"the second run succeeds and leaves something else: missing {missing[:2]}, more {extra[:2]}"
    return None
