"""Alembic projects of others, to migrate."""

from pathlib import Path

from lint.conftest import HERE, write_revision

ENV = HERE / "project" / "migrations" / "env.py"


def make_project(folder: Path, dsn: str, *revisions: str, driver: str = "psycopg") -> Path:
    """Write a project of two tables and the given revisions, each the body of its `upgrade`; returns alembic.ini."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "migrations" / "env.py").write_text(ENV.read_text())
    url = dsn.replace("postgresql:", f"postgresql+{driver}:").replace("%", "%%")
    (folder / "alembic.ini").write_text(
        f"[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\nsqlalchemy.url = {url}\n"
    )
    write_revision(folder, BASE, "0001", None)
    for number, body in enumerate(revisions, start=2):
        write_revision(folder, body, f"{number:04}", f"{number - 1:04}")
    return folder / "alembic.ini"


BASE = """\
op.execute("CREATE TABLE users (id bigint PRIMARY KEY, age int)")
op.execute("CREATE TABLE orders (id bigint PRIMARY KEY, total int)")
op.execute("INSERT INTO users SELECT n, n % 7 FROM generate_series(1, 100) n")"""
