"""What the linter says that a statement locks and reads is what a server does."""

from pathlib import Path
from typing import Any

import psycopg

from remit.migrations.lint.locks import Mode, find_locks
from remit.migrations.lint.model import Event
from remit.migrations.lint.schema import Schema
from remit.migrations.lint.statements import split_statements
from remit.migrations.lint.work import find_work

FILES = Path(__file__).parent / "effects"
ROWS = 1000  # half of those in each table: whoever counts more went through it
MODES = {
    "ShareUpdateExclusiveLock": Mode.SHARE_UPDATE_EXCLUSIVE,
    "ShareLock": Mode.SHARE,
    "ShareRowExclusiveLock": Mode.SHARE_ROW_EXCLUSIVE,
    "ExclusiveLock": Mode.EXCLUSIVE,
    "AccessExclusiveLock": Mode.ACCESS_EXCLUSIVE,
}
TABLES = """
SELECT c.oid, CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || relname FROM pg_class c
JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname IN ('public', 'billing') AND relkind IN ('r', 'p', 'm')
"""
LOCKS = "SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'"
READ = "SELECT relid, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
CHANGED = "SELECT relid, n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables"
STORED = "SELECT oid, pg_relation_filenode(oid) FROM pg_class WHERE oid = ANY (%s)"
INDEXED = "SELECT indexrelid, indrelid FROM pg_index WHERE indrelid = ANY (%s)"


class Server:
    """A database with the tables of `effects`, in a transaction that is undone after each statement."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        connection.execute("SET timezone = 'Europe/Berlin'")
        connection.execute((FILES / "schema.sql").read_bytes())
        connection.execute((FILES / "rows.sql").read_bytes())
        connection.commit()
        self.tables = dict(self._ask(TABLES))
        self._owners = {oid: oid for oid in self.tables} | dict(self._ask(INDEXED, [list(self.tables)]))
        connection.commit()

    def run(self, sql: str) -> tuple[dict[str, Mode], set[str]]:
        """What a statement locks, and the tables that it went through."""
        read, changed, stored = self._look()
        try:
            self._connection.execute(sql.encode())
            locks = {
                self.tables[oid]: MODES[mode]
                for oid, mode in sorted(self._ask(LOCKS), key=_by_strength)
                if oid in self.tables and mode in MODES
            }
            after = self._look()
        finally:
            self._connection.rollback()
        changing = {oid for oid in self.tables if after[1].get(oid, 0) - changed.get(oid, 0) >= ROWS}
        reading = {oid for oid in self.tables if after[0].get(oid, 0) - read.get(oid, 0) >= ROWS}
        rewritten = {self._owners[oid] for oid, file in after[2].items() if file != stored[oid]}
        kept = {oid for oid in reading | rewritten if self.tables[oid] in locks}
        return locks, {self.tables[oid] for oid in kept | changing}

    def _look(self) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
        return dict(self._ask(READ)), dict(self._ask(CHANGED)), dict(self._ask(STORED, [list(self._owners)]))

    def _ask(self, sql: str, values: list[list[int]] | None = None) -> list[Any]:
        return self._connection.execute(sql.encode(), values).fetchall()


def _by_strength(row: tuple[int, str]) -> int:
    return MODES.get(row[1], 0)


def read_statements(version: int) -> list[str]:
    lines = (FILES / "statements.sql").read_text().splitlines()
    return [line for line in lines if version >= 18 or not line.endswith("VIRTUAL")]


def test_effects_are_those_of_a_server(empty_database: str) -> None:
    schema = Schema()
    for statement in split_statements(
        [Event("0001", (FILES / "schema.sql").read_text())], "upgrade", per_migration=True
    ):
        schema.apply(statement)
    wrong = []
    with psycopg.connect(empty_database) as connection:
        server = Server(connection)
        known = set(server.tables.values())
        for sql in read_statements(connection.info.server_version // 10000):
            locks, went = server.run(sql)
            [statement] = split_statements([Event("0002", sql)], "upgrade", per_migration=True)
            said = {name: mode for name, mode in find_locks(statement, schema).items() if mode >= 4 and name in known}
            if said != locks:
                wrong.append(f"{sql}: locks {locks}, said {said}")
            if statement.kind in ("truncate_stmt", "do_stmt"):
                continue  # new files for no rows; loops are the rules' business
            changed = {name for name in went if name not in locks}
            work = {name for name in find_work(statement, schema) if name in locks or name in changed}
            work -= {name for name in work if schema.tables[name].partitioned}
            went -= {name for constraint in _keys(schema, sql) for name in constraint}
            went -= {"order_totals"} & changed
            if work != went:
                wrong.append(f"{sql}: goes through {went}, said {work}")
    assert not wrong, "\n".join(wrong)


def _keys(schema: Schema, sql: str) -> list[set[str]]:
    """The tables that a foreign key is looked up in: they are read, and that is part of reading the other."""
    return [{"accounts"}] if "accounts (id)" in sql or "account_not_valid" in sql else []
