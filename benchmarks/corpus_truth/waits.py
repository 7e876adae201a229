"""Who waits behind whom: a session stands in the migration's way, and others come after it."""

import io
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr

import psycopg
from alembic import command
from alembic.config import Config

from corpus_truth.case import Bench, Evidence, Place
from corpus_truth.watch import shorten_error

_SECONDS = 20.0
_PATIENCE = "250ms"
_WAITING = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name <> 'remit rehearse'
"""
_INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"


class Migrating:
    """An upgrade in a thread."""

    def __init__(self, place: Place) -> None:
        self.error = ""
        self._place = place
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._place.upgrade()
        except Exception as error:  # noqa: BLE001 - whatever a revision raises is seen
            self.error = shorten_error(error)

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError("the migration does not end")

    def wait_for_wait(self) -> int | None:
        """The process of the migration when it waits for a lock; None if it ended instead, or never waits."""
        deadline = time.monotonic() + _SECONDS
        with self._place.server.connect(self._place.database) as observer:
            while time.monotonic() < deadline and not self.ended:
                found = observer.execute(_WAITING).fetchone()
                if found is not None:
                    return int(found[0])
                time.sleep(0.005)
        return None


@contextmanager
def _migrate_beside(place: Place, statement: str) -> Iterator[tuple[Migrating, int | None]]:
    """A migration beside an open transaction, and its process where it waits. That transaction ends with the block, and
    the migration after it.
    """
    with place.server.connect(place.database, autocommit=False) as connection:
        connection.execute(statement.encode())
        migrating = Migrating(place)
        yield migrating, migrating.wait_for_wait()
    migrating.join()


def _is_stopped(place: Place, table: str) -> bool:
    """Whether somebody who reads a table now has to wait."""
    with place.server.connect(place.database) as reader:
        reader.execute(f"SET lock_timeout = '{_PATIENCE}'".encode())
        try:
            reader.execute(f"SELECT FROM {table} LIMIT 1".encode())
        except psycopg.errors.LockNotAvailable:
            return True
    return False


def prove_queue(bench: Bench, rule: str, case: str) -> Evidence:
    """While a long query delays the migration, whether those who come after it can read."""
    held, asked = {
        "require-concurrent-index-deletion": ("users", "users"),
        "require-concurrent-partition-detach": ("logs", "logs"),
        "second-lock-in-transaction": ("orders", "users"),
    }[rule]
    with bench.open(rule, case) as place, _migrate_beside(place, f"SELECT count(*) FROM {held}") as (migrating, waits):
        stopped = _is_stopped(place, asked)
    if migrating.error:
        return Evidence(True, f"fails: {migrating.error}")
    does = "waits" if waits else "does not wait"
    who = f"whoever reads `{asked}` meanwhile {'waits too' if stopped else 'is served'}"
    return Evidence(stopped, f"beside a long query on `{held}` it {does}; {who}")


def prove_lock_timeout(bench: Bench, rule: str, case: str) -> Evidence:
    """Whether the migration gives up when its table stays busy. Its three seconds are 300 ms here."""
    with (
        bench.open(rule, case, change=lambda text: text.replace("'3s'", "'300ms'")) as place,
        _migrate_beside(place, "SELECT count(*) FROM users") as (migrating, _),
    ):
        time.sleep(0.9)
        patient = not migrating.ended
        stopped = _is_stopped(place, "users")
    if patient:
        return Evidence(True, f"still waits after three times the limit, and readers {'too' if stopped else 'do not'}")
    return Evidence(False, f"gives up ({migrating.error}), and readers are served")


def prove_build_survives(bench: Bench, rule: str, case: str) -> Evidence:
    """Whether a concurrent build outlives an old transaction. Its 30 seconds are 500 ms here."""
    with bench.open(rule, case, change=lambda text: text.replace("'30s'", "'500ms'")) as place:
        with _migrate_beside(place, "UPDATE users SET age = age WHERE id = 1001") as (migrating, _):
            time.sleep(1.2)
        invalid = _list_invalid(place)
    if migrating.error:
        return Evidence(True, f"{migrating.error}; left behind and invalid: {', '.join(invalid) or 'nothing'}")
    return Evidence(False, "waits for the old transaction and ends; no index is invalid")


def prove_second_run(bench: Bench, rule: str, case: str) -> Evidence:
    """Cancelled in the statement that waits for an old transaction, and run again."""
    with bench.open(rule, case) as place:
        with _migrate_beside(place, "UPDATE users SET age = age WHERE id = 1001") as (first, waiting):
            if waiting is not None:
                with place.server.connect(place.database) as admin:
                    admin.execute("SELECT pg_cancel_backend(%s)", [waiting])
            first.join()
        errors = []
        for _ in range(2):
            again = Migrating(place)
            again.join()
            errors += [again.error] if again.error and again.error not in errors else []
        invalid = _list_invalid(place)
    began = f"interrupted ({first.error})"
    if errors:
        return Evidence(True, f"{began} and run again it fails: {', then '.join(errors)}")
    if invalid:
        return Evidence(True, f"{began} and run again it reports success and leaves `{', '.join(invalid)}` invalid")
    return Evidence(False, f"{began} and run again it does all of it; no index is invalid")


def _list_invalid(place: Place) -> Sequence[str]:
    with place.server.connect(place.database) as connection:
        return [str(name) for (name,) in connection.execute(_INVALID.encode())]


def prove_deadlock(bench: Bench, rule: str, case: str) -> Evidence:
    """Two revisions at the same time, statement by statement in turns."""
    with bench.open(rule, case) as place:
        scripts = [_render(place, "0001:0002"), _render(place, "0002:0003")]
        errors: list[str] = []
        barrier = threading.Barrier(2)

        def run(statements: Sequence[str]) -> None:
            with place.server.connect(place.database, autocommit=False) as connection:
                connection.execute("SET deadlock_timeout = '100ms'")
                connection.execute("SET lock_timeout = '10s'")
                connection.commit()
                try:
                    for number, statement in enumerate(statements):
                        connection.execute(statement.encode())
                        if number == 0:
                            _meet(barrier)
                    connection.commit()
                except psycopg.Error as error:
                    errors.append(shorten_error(error))

        threads = [threading.Thread(target=run, args=(script,)) for script in scripts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_SECONDS)
    if errors:
        return Evidence(True, f"run at the same time, one ends with: {', '.join(errors)}")
    return Evidence(False, "run at the same time, both end: one waits for the other")


def _meet(barrier: threading.Barrier) -> None:
    """Wait until the other has its first lock too, or has to wait for it."""
    try:
        barrier.wait(0.5)
    except threading.BrokenBarrierError:
        return


def _render(place: Place, span: str) -> list[str]:
    output = io.StringIO()
    with redirect_stderr(io.StringIO()):
        command.upgrade(Config(str(place.folder / "alembic.ini"), output_buffer=output), span, sql=True)
    parts = [" ".join(line for line in part.splitlines() if not line.startswith("--")) for part in
             output.getvalue().split(";")]  # fmt: skip
    parts = [part.strip() for part in parts]
    return [part for part in parts if part and part not in ("BEGIN", "COMMIT") and "alembic_version" not in part]
