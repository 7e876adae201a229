"""What the findings offer as code to paste is Python, and SQL that PostgreSQL's grammar has."""

import ast

import pytest
from lint.conftest import MakeProject, write_revision

from remit.migrations.lint.parse import parse
from remit.migrations.lint.project import load_project
from remit.migrations.lint.rewrite import rewrite
from remit.migrations.lint.run import lint
from remit.migrations.lint.schema import Schema
from remit.migrations.lint.schema_objects import Table

A_COMMAND = "several-heads"
QUALIFIED = {
    'op.create_index("ix_age", "users", ["age"], schema="core")': [
        "DROP INDEX CONCURRENTLY IF EXISTS core.ix_age",
        "CREATE INDEX CONCURRENTLY ix_age ON core.users (age)",
    ],
    'op.alter_column("users", "age", nullable=False, schema="core")': [
        "ALTER TABLE core.users ADD CONSTRAINT ck_users_age CHECK (age IS NOT NULL) NOT VALID",
        "ALTER TABLE core.users VALIDATE CONSTRAINT ck_users_age",
        "ALTER TABLE core.users ALTER COLUMN age SET NOT NULL",
        "ALTER TABLE core.users DROP CONSTRAINT ck_users_age",
    ],
    'op.alter_column("users", "age", new_column_name="years", schema="core")': [
        "ALTER TABLE core.users ADD COLUMN years int4",
    ],
    'op.alter_column("users", "age", type_=sa.Numeric(10, 2), schema="core")': [
        "ALTER TABLE core.users ADD COLUMN age_new numeric(10, 2)",
    ],
    'op.add_column("users", sa.Column("key", sa.Uuid, server_default=sa.text("gen_random_uuid()")), schema="core")': [
        "ALTER TABLE core.users ADD COLUMN key uuid",
        "ALTER TABLE core.users ALTER COLUMN key SET DEFAULT gen_random_uuid()",
    ],
    'op.create_foreign_key(None, "users", "Teams", ["age"], ["id"], source_schema="core", ondelete="CASCADE")': [
        (
            'ALTER TABLE core.users ADD CONSTRAINT users_age_fkey FOREIGN KEY (age) REFERENCES "Teams" (id) '
            "ON DELETE CASCADE NOT VALID"
        ),
        "ALTER TABLE core.users VALIDATE CONSTRAINT users_age_fkey",
    ],
    'op.create_unique_constraint("One", "users", ["age", "Name"], schema="core")': [
        'DROP INDEX CONCURRENTLY IF EXISTS core."One"',
        'CREATE UNIQUE INDEX CONCURRENTLY "One" ON core.users (age, "Name")',
        'ALTER TABLE core.users ADD CONSTRAINT "One" UNIQUE USING INDEX "One"',
    ],
    "op.execute(\"UPDATE core.users SET age = 1 WHERE \\\"Name\\\" LIKE '\\\\:a%'\")": [
        (
            "UPDATE core.users SET age = 1 WHERE ctid = ANY(ARRAY(SELECT ctid FROM core.users WHERE "
            "(\"Name\" LIKE '\\:a%') AND age IS DISTINCT FROM 1 LIMIT 1000))"
        ),
    ],
}  # fmt: skip


def find_sql(code: str) -> list[str]:
    """The statements that code to paste sends."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and node.args]
    calls.sort(key=lambda call: call.lineno)
    sql = [ast.literal_eval(call.args[0]) for call in calls if isinstance(call.args[0], ast.Constant)]
    return [text for text in sql if isinstance(text, str) and " " in text]


def check(fix: str) -> list[str]:
    assert "…" not in fix
    assert "{" not in fix
    sql = [] if "NotImplementedError" in fix else find_sql(fix)
    for text in sql:
        assert parse(text.replace("\\:", ":"))
    return sql


@pytest.mark.parametrize("value", ["cents * 100", "u.cents + 1", "now()", "CURRENT_TIMESTAMP", "random()", "DEFAULT"])
def test_batches_that_would_never_end_are_not_offered(value: str) -> None:
    assert rewrite("backfill-in-migration", f"UPDATE users u SET cents = {value}") is None
    assert rewrite("backfill-in-migration", "UPDATE users u SET cents = lower(u.email)") is not None


def test_an_open_bound_is_not_checked() -> None:
    schema = Schema()
    schema.tables["core.logs"] = Table("core.logs", "0001", partitioned=True, partition_keys=("id",))
    sql = "ALTER TABLE core.logs ATTACH PARTITION old FOR VALUES FROM (MINVALUE) TO (20)"
    first = find_sql(rewrite("long-work-under-lock", sql, schema) or "")[0]
    assert first == "ALTER TABLE old ADD CONSTRAINT ck_old_id CHECK (id IS NOT NULL AND id < 20) NOT VALID"


@pytest.mark.parametrize("statement", QUALIFIED)
def test_names_of_another_schema_and_in_quotes(make_project: MakeProject, statement: str) -> None:
    config = make_project()
    up = 'op.create_table("users", sa.Column("age", sa.Integer), sa.Column("Name", sa.Text), schema="core")'
    write_revision(config.parent, up)
    write_revision(config.parent, statement, "0003", "0002")
    findings = lint(load_project(config, "0002:head")).findings
    offered = [check(finding.fix) for finding in findings if finding.level == "error"]
    assert QUALIFIED[statement] in offered, offered


def test_a_new_serial_key_keeps_its_sequence_and_fills_old_rows() -> None:
    code = rewrite("adding-serial-primary-key-field", "ALTER TABLE events ADD COLUMN a int, ADD n serial PRIMARY KEY")
    assert find_sql(code or "") == [
        "CREATE SEQUENCE events_n_seq AS int4",
        "ALTER TABLE events ADD COLUMN a int, ADD COLUMN n int4",
        "ALTER SEQUENCE events_n_seq OWNED BY events.n",
        "ALTER TABLE events ALTER COLUMN n SET DEFAULT nextval('events_n_seq')",
        "UPDATE events SET n = DEFAULT WHERE ctid = ANY(ARRAY(SELECT ctid FROM events WHERE n IS NULL LIMIT 1000))",
        "ALTER TABLE events ADD CONSTRAINT ck_events_n CHECK (n IS NOT NULL) NOT VALID",
        "ALTER TABLE events VALIDATE CONSTRAINT ck_events_n",
        "DROP INDEX CONCURRENTLY IF EXISTS events_pkey",
        "CREATE UNIQUE INDEX CONCURRENTLY events_pkey ON events (n)",
        "ALTER TABLE events ALTER COLUMN n SET NOT NULL",
        "ALTER TABLE events ADD CONSTRAINT events_pkey PRIMARY KEY USING INDEX events_pkey",
        "ALTER TABLE events DROP CONSTRAINT ck_events_n",
    ]


def test_a_key_over_an_index_keeps_what_the_constraint_said() -> None:
    sql = "ALTER TABLE users ADD CONSTRAINT one UNIQUE (a) INCLUDE (b) DEFERRABLE INITIALLY DEFERRED"
    assert find_sql(rewrite("disallowed-unique-constraint", sql) or "")[1:] == [
        "CREATE UNIQUE INDEX CONCURRENTLY one ON users (a) INCLUDE (b)",
        "ALTER TABLE users ADD CONSTRAINT one UNIQUE USING INDEX one DEFERRABLE INITIALLY DEFERRED",
    ]


def test_only_the_block_is_moved_into_a_block(make_project: MakeProject) -> None:
    config = make_project()
    write_revision(
        config.parent,
        'op.add_column("users", sa.Column("a", sa.Text))\n'
        "with op.get_context().autocommit_block():\n"
        '    op.create_index("ix_a", "users", ["a"], postgresql_concurrently=True)\n'
        'op.add_column("users", sa.Column("b", sa.Text))',
    )
    findings = lint(load_project(config, "0001:head")).findings
    [finding] = [item for item in findings if item.rule == "autocommit-commits-earlier-half"]
    assert finding.fix == (
        "# this revision ends here\n"
        "# the next revision, in a transaction of its own\n"
        "with op.get_context().autocommit_block():\n"
        '    op.execute("CREATE INDEX CONCURRENTLY ix_a ON users (a)")\n'
        "# the next revision, in a transaction of its own\n"
        'op.execute("ALTER TABLE users ADD COLUMN b TEXT")'
    )


def test_nothing_of_a_partitioned_table_is_offered_concurrently() -> None:
    schema = Schema()
    schema.tables["core.logs"] = Table("core.logs", "0001", partitioned=True, partition_keys=("id",))
    index = rewrite("require-concurrent-index-creation", "CREATE INDEX ix ON core.logs (id)", schema)
    assert find_sql(index or "") == [
        "CREATE INDEX ix ON ONLY core.logs (id)",
        'CREATE INDEX CONCURRENTLY ix_part ON core."PARTITION" (id)',
        "ALTER INDEX core.ix ATTACH PARTITION core.ix_part",
    ]
    key = rewrite("adding-serial-primary-key-field", "ALTER TABLE core.logs ADD PRIMARY KEY (id)", schema)
    assert find_sql(key or "") == []
