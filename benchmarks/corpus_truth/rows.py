"""Rows that are lost, and rows and relationships that no longer agree."""

from typing import Any

import psycopg
from alembic.util import CommandError

from corpus_truth.case import Bench, Evidence, Place
from corpus_truth.watch import shorten_error

_VALUES = """
SELECT relname::text, attname::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p') AND NOT relispartition
AND relnamespace = 'public'::regnamespace AND relname NOT IN ('alembic_version', 'relationships') ORDER BY 1, 2
"""
_GRAPH = """
CREATE TABLE relationships (resource text, relation text, subject text);
INSERT INTO relationships SELECT 'user:' || id, 'owner', 'user:' || id FROM users;
INSERT INTO relationships SELECT 'order:' || id, 'owner', 'user:' || user_id FROM orders;
"""
_DISAGREE = """
SELECT (SELECT count(*) FROM (SELECT 'user:' || id AS resource FROM users UNION ALL SELECT 'order:' || id FROM orders) r
        WHERE NOT EXISTS (SELECT FROM relationships g WHERE g.resource = r.resource)),
       (SELECT count(*) FROM relationships g WHERE g.resource NOT IN
        (SELECT 'user:' || id FROM users UNION ALL SELECT 'order:' || id FROM orders))
"""


def _count_values(place: Place) -> dict[str, int]:
    """How many values each column holds."""
    with place.server.connect(place.database) as connection:
        columns = connection.execute(_VALUES).fetchall()
        return {
            f"{table}.{column}": int(_ask(connection, f'SELECT count("{column}") FROM "{table}"')[0])
            for table, column in columns
        }


def _ask(connection: Any, question: str) -> Any:
    return connection.execute(question.encode()).fetchone()


def prove_way_back(bench: Bench, rule: str, case: str) -> Evidence:
    """Up and down again: whether it reports success and the values of before are gone."""
    with bench.open(rule, case) as place:
        before = _count_values(place)
        place.upgrade()
        try:
            place.downgrade()
        except NotImplementedError as error:
            return Evidence(False, f"the way back refuses: {error}")
        after = _count_values(place)
    lost = [f"`{name}` held {count} values and holds {after.get(name, 0)}" for name, count in before.items()
            if after.get(name, 0) < count]  # fmt: skip
    if lost:
        return Evidence(True, f"after the way up and back, which reports success, {lost[0]}")
    return Evidence(False, "after the way up and back all values are there")


def prove_others_emptied(bench: Bench, rule: str, case: str) -> Evidence:
    """Somebody else's table refers to `users`."""
    with bench.open(rule, case) as place, place.server.connect(place.database) as connection:
        connection.execute("CREATE TABLE letters (user_id bigint REFERENCES users)")
        connection.execute("INSERT INTO letters SELECT id FROM users")
        before = _ask(connection, "SELECT count(*) FROM letters")[0]
        place.upgrade()
        after = _ask(connection, "SELECT count(*) FROM letters")[0]
    words = f"`letters`, which refers to `users` and is named nowhere, had {before} rows and has {after}"
    return Evidence(after < before, words)


def prove_registered(bench: Bench, rule: str, case: str) -> Evidence:
    """Rows without relationships and relationships without rows, which there were none of."""
    with bench.open(rule, case) as place, place.server.connect(place.database) as connection:
        connection.execute(_GRAPH.encode())
        assert tuple(_ask(connection, _DISAGREE)) == (0, 0)
        place.upgrade()
        words = ""
        if rule == "registered-rows-cascade":
            words = _delete_user(connection)
        rows, relationships = _ask(connection, _DISAGREE)
    counted = f"{rows} rows without relationships, {relationships} relationships without a row"
    return Evidence(bool(rows or relationships), f"{words}{counted}")


def _delete_user(connection: psycopg.Connection[Any]) -> str:
    """Delete a user as code does that deregisters what it deletes."""
    try:
        connection.execute("DELETE FROM users WHERE id = 1001")
    except psycopg.errors.ForeignKeyViolation as error:
        return f"a user is deleted: {shorten_error(error)}; "
    connection.execute("DELETE FROM relationships WHERE resource = 'user:1001'")
    return "a user is deleted with its own relationships: "


def prove_heads(bench: Bench, rule: str, case: str) -> Evidence:
    """`alembic upgrade head`."""
    with bench.open(rule, case) as place:
        try:
            place.upgrade("head")
        except CommandError as error:
            return Evidence(True, f"`alembic upgrade head` refuses: {str(error).partition(';')[0]}")
    return Evidence(False, "`alembic upgrade head` runs")


def prove_nothing(_: Bench, __: str, ___: str) -> Evidence:
    """The rule is about a comment, which no server sees."""
    return Evidence(None, "about a comment: a server sees nothing of it")
