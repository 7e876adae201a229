"""What depends on the history, on git and on env.py."""

import json
import subprocess
from pathlib import Path

import pytest
from lint.conftest import MakeProject, write_revision
from lint.test_reports import run_lint

Capture = pytest.CaptureFixture[str]
NOT_VALID = 'op.execute("ALTER TABLE users ADD CONSTRAINT c CHECK (age > 0) NOT VALID")'
VALIDATE = 'op.execute("ALTER TABLE users VALIDATE CONSTRAINT c")'


def rules_of(out: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in json.loads(out)["findings"]:
        if finding["level"] != "note":
            found.setdefault(finding["revision"], []).append(finding["rule"])
    return found


def commit_all(folder: Path) -> None:
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *arguments], check=True)


def test_long_history(make_project: MakeProject, capsys: Capture) -> None:
    config = make_project()
    steps = [
        'op.execute("CREATE TABLE t{n} (id bigint PRIMARY KEY, kind text)")',
        'with op.batch_alter_table("users") as batch:\n    batch.add_column(sa.Column("c{n}", sa.Text))',
        "for name in ('x', 'y'):\n    op.execute(f\"COMMENT ON TABLE users IS '{{name}}'\")",
        "kind = sa.Enum('a', 'b', name='k{n}')\nkind.create(op.get_bind(), checkfirst=True)",
        "op.bulk_insert(sa.table('events', sa.column('id')), [{{'id': {n}}}, {{'id': {n}00}}])",
        'op.execute("CREATE FUNCTION f{n}() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$; DROP FUNCTION f{n}")',
    ]
    previous = "0001"
    for number in range(2, 62):
        step = steps[number % len(steps)].format(n=number)
        write_revision(config.parent, step, f"{number:04}", previous)
        previous = f"{number:04}"
    code, out, err = run_lint(config, capsys, "--format", "json")
    assert code == 0, err
    assert json.loads(out)["revisions"] == 61


def test_since(make_project: MakeProject, capsys: Capture) -> None:
    config = make_project()
    write_revision(config.parent, "op.execute('UPDATE users SET age = 0')")
    commit_all(config.parent)
    code, out, _ = run_lint(config, capsys, "--since", "main", "--format", "json")
    assert (code, json.loads(out)["revisions"]) == (0, 0)
    write_revision(config.parent, "op.drop_index('ix_users_name')", "0003", "0002")
    code, out, _ = run_lint(config, capsys, "--since", "main", "--format", "json")
    assert code == 1
    assert rules_of(out) == {"0003": ["require-concurrent-index-deletion"]}


@pytest.mark.parametrize("together", [True, False])
def test_one_transaction_for_all_revisions(make_project: MakeProject, capsys: Capture, together: bool) -> None:
    config = make_project()
    if together:
        env = config.parent / "migrations" / "env.py"
        env.write_text(env.read_text().replace(", transaction_per_migration=True", ""))
    write_revision(config.parent, NOT_VALID)
    write_revision(config.parent, VALIDATE, "0003", "0002")
    _, out, _ = run_lint(config, capsys, "--format", "json")
    assert rules_of(out) == ({"0003": ["validated-in-same-transaction"]} if together else {})


def test_option_of_the_online_branch_counts(make_project: MakeProject, capsys: Capture) -> None:
    config = make_project()
    env = config.parent / "migrations" / "env.py"
    env.write_text(env.read_text().replace("literal_binds=True, transaction_per_migration=True", "literal_binds=True"))
    write_revision(config.parent, NOT_VALID)
    write_revision(config.parent, VALIDATE, "0003", "0002")
    _, out, _ = run_lint(config, capsys, "--format", "json")
    assert rules_of(out) == {}


@pytest.mark.parametrize(
    "source",
    [
        "create_engine(url, connect_args={'options': '-c lock_timeout=3000'})",
        "create_engine(url, connect_args={'server_settings': {'lock_timeout': '3s'}})",
        "connection.exec_driver_sql(\"SET lock_timeout = '3s'\")",
    ],
)
def test_lock_timeout_of_env(make_project: MakeProject, capsys: Capture, source: str) -> None:
    config = make_project()
    env = config.parent / "migrations" / "env.py"
    env.write_text(env.read_text() + f"\n\ndef connect(connection):\n    {source}\n")
    write_revision(config.parent, 'op.add_column("users", sa.Column("city", sa.Text))')
    _, out, _ = run_lint(config, capsys, "--format", "json")
    assert "no-lock-timeout" not in out


def test_helper_is_suppressed_where_it_sends(make_project: MakeProject, capsys: Capture) -> None:
    config = make_project()
    config.write_text(config.read_text() + "prepend_sys_path = %(here)s\n")
    helper = config.parent / "fill_helper.py"
    write_revision(config.parent, "import fill_helper\nfill_helper.fill()")
    text = 'from alembic import op\n\n\ndef fill():\n    op.execute("UPDATE users SET age = 1")'
    helper.write_text(text)
    assert rules_of(run_lint(config, capsys, "--format", "json")[1]) == {"0002": ["backfill-in-migration"]}
    helper.write_text(f"{text}  # remit: allow backfill-in-migration because it is small\n")
    assert rules_of(run_lint(config, capsys, "--format", "json")[1]) == {}


def test_relation_dropped_from_the_schema_file(make_project: MakeProject, capsys: Capture) -> None:
    config = make_project()
    schema = config.parent / "graph.zed"
    settings = '[tool.remit.lint]\nrelation_schema = ["graph.zed"]\n'
    (config.parent / "pyproject.toml").write_text(settings)
    schema.write_text("definition task {\n  relation owner: user // relation old: user\n  relation reader: user\n}\n")
    write_revision(config.parent, "pass")
    commit_all(config.parent)
    assert rules_of(run_lint(config, capsys, "--format", "json")[1]) == {}
    schema.write_text("definition task {\n  relation owner: user\n  permission read = owner\n}\n")
    rule = "dropped-relation-has-relationships"
    assert rules_of(run_lint(config, capsys, "--format", "json")[1]) == {"0002": [rule]}
    write_revision(config.parent, "op.execute(\"DELETE FROM relationships WHERE relation = 'reader'\")", "0003", "0002")
    for arguments in ((), ("--since", "main")):
        _, out, _ = run_lint(config, capsys, "--format", "json", *arguments)
        assert rule not in out
    write_revision(config.parent, "op.execute(\"DELETE FROM relationships WHERE relation = 'owner'\")", "0003", "0002")
    _, out, _ = run_lint(config, capsys, "--since", "main", "--format", "json")
    assert rule in out
