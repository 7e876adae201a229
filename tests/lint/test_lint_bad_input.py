"""What cannot be judged ends with 2 and a sentence, and never passes in silence."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lint.conftest import MakeProject, write_revision
from lint.test_reports import run_lint

from remit.migrations.lint import render

Capture = pytest.CaptureFixture[str]
READS_DATABASE = """\
bind = op.get_bind()
columns = {column["name"] for column in sa.inspect(bind).get_columns("users")}
if "city" not in columns:
    op.execute("ALTER TABLE users ADD COLUMN city text NOT NULL")
if bind.execute(sa.text("SELECT count(*) FROM users")).scalar() == 0:
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON users (age)")
op.execute('CREATE EXTENSION IF NOT EXISTS "uuid-ossp"; CREATE EXTENSION pgcrypto; CREATE EXTENSION postgis')
op.execute("CREATE TABLE keys (id uuid DEFAULT uuid_generate_v4(), digest bytea DEFAULT digest('a', 'sha256'))")
op.execute("GRANT SELECT ON keys TO somebody")
op.create_unique_constraint(None, "users", ["age"])"""


def edit_env(config: Path, old: str, new: str) -> None:
    env = config.parent / "migrations" / "env.py"
    text = env.read_text()
    assert old in text
    env.write_text(text.replace(old, new))


def break_ini(config: Path) -> None:
    config.unlink()


def break_import(config: Path) -> None:
    (config.parent / "migrations" / "versions" / "0002.py").write_text("import nowhere_to_be_found\n")


def break_location(config: Path) -> None:
    config.write_text(config.read_text().replace("/migrations", "/elsewhere"))


def demand_url(config: Path) -> None:
    edit_env(config, "url = context", 'import os\nos.environ["URL_THAT_NOBODY_SET"]\nurl = context')


def connect_anyway(config: Path) -> None:
    edit_env(config, "if context.is_offline_mode():", "create_engine(url).connect()\nif context.is_offline_mode():")


def call_elsewhere(config: Path) -> None:
    edit_env(config, "url = context", 'import socket\nsocket.create_connection(("192.0.2.1", 80))\nurl = context')


def leave(config: Path) -> None:
    edit_env(config, "if context.is_offline_mode():", "raise SystemExit(3)\nif context.is_offline_mode():")


def run_nothing(config: Path) -> None:
    edit_env(config, "    with context.begin_transaction():\n        context.run_migrations()\nelse", "else")


def use_sqlite(config: Path) -> None:
    config.write_text(config.read_text().replace("postgresql://nobody@127.0.0.1:1/nothing", "sqlite://"))


def have_two_bases(config: Path) -> None:
    write_revision(config.parent, "pass", down=None)


def write_nonsense(config: Path) -> None:
    write_revision(config.parent, 'op.execute("ALTER TBL users")')


def fail_everywhere(config: Path) -> None:
    write_revision(config.parent, 'raise LookupError("the moon is missing")')


def miss_revision(config: Path) -> None:
    write_revision(config.parent, "pass", down="0000")


def repeat_id(config: Path) -> None:
    file = write_revision(config.parent, "pass")
    (file.parent / "0002_again.py").write_text(file.read_text())


def break_settings(config: Path) -> None:
    (config.parent / "pyproject.toml").write_text("[tool.remit.lint]\nsmall_tabels = []\n")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (break_ini, "there is no"),
        (break_import, "nowhere_to_be_found"),
        (break_location, "elsewhere"),
        (demand_url, "URL_THAT_NOBODY_SET"),
        (connect_anyway, "opens a database connection"),
        (call_elsewhere, "opens a network connection"),
        (leave, "does not run offline (exit: 3)"),
        (run_nothing, "ran no migrations"),
        (use_sqlite, "dialect is sqlite"),
        (have_two_bases, "several bases (0001, 0002)"),
        (write_nonsense, "revision 0002 at"),
        (fail_everywhere, "the moon is missing"),
        (miss_revision, "0000"),
        (repeat_id, "Revision 0002 is present more than once"),
        (break_settings, "small_tabels"),
    ],
)  # fmt: skip
def test_cannot_run(make_project: MakeProject, capsys: Capture, spoil: Callable[[Path], None], said: str) -> None:
    config = make_project()
    spoil(config)
    code, out, err = run_lint(config, capsys, "--format", "json")
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize("where", ["env.py", "revision"])
def test_code_that_never_ends(
    make_project: MakeProject, capsys: Capture, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(render, "_SECONDS", 1.0)
    config = make_project()
    waits = "import threading\nthreading.Event().wait()"
    if where == "env.py":
        edit_env(config, "url = context", f"{waits}\nurl = context")
    else:
        write_revision(config.parent, waits)
    code, out, err = run_lint(config, capsys)
    assert (code, out) == (2, "")
    assert "did not come to an end in 1 s" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--range", "head"], "is not LOWER:UPPER"),
        (["--range", "base:nope"], "nope"),
        (["--range", "0001:0001"], "holds no revision"),
        (["--since", "main", "--range", "base:head"], "exclude each other"),
        (["--since", "no-such-ref"], "git says"),
        (["--format", "yaml"], "yaml"),
    ],
)
def test_bad_arguments(make_project: MakeProject, capsys: Capture, arguments: list[str], said: str) -> None:
    code, out, err = run_lint(make_project(), capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_output_of_env_stays_out_of_the_document(make_project: MakeProject, capsys: Capture) -> None:
    config = make_project()
    edit_env(config, "url = context", 'print("hello from env.py")\nurl = context')
    code, out, _ = run_lint(config, capsys, "--format", "json")
    assert code == 0
    json.loads(out)


def test_revision_that_reads_the_database_is_executed(make_project: MakeProject, capsys: Capture) -> None:
    config = make_project()
    edit_env(config, "from sqlalchemy import create_engine", "from sqlalchemy import MetaData, create_engine")
    names = 'target_metadata=MetaData(naming_convention={"uq": "uq_%(table_name)s_%(column_0_name)s"})'
    edit_env(config, "literal_binds=True", f"literal_binds=True, {names}")
    write_revision(config.parent, READS_DATABASE)
    code, out, _ = run_lint(config, capsys, "--range", "0001:head", "--format", "json")
    document = json.loads(out)
    assert code == 1
    found = {finding["rule"]: finding for finding in document["findings"]}
    assert (found["executed-to-be-judged"]["revision"], found["executed-to-be-judged"]["level"]) == ("0002", "warn")
    assert found["adding-required-field"]["line"] == 14
    assert found["invalid-index-passes"]["line"] == 17
    assert "ADD CONSTRAINT uq_users_age" in found["disallowed-unique-constraint"]["sql"]
    assert "concurrently-in-transaction" not in found


def test_parser_not_installed(make_project: MakeProject) -> None:
    program = (
        "import sys; sys.modules['postgast'] = None\n"
        "from remit.cli import run_command\n"
        f"sys.exit(run_command(['db', 'lint', '--config', {str(make_project())!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == 'error: the linter needs two more packages: pip install "remit[migrations]"\n'
