"""The project's revisions, and how its env.py is told which database to use."""

import ast
import configparser
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.script import Script
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from remit.migrations.lint.errors import LintError
from remit.migrations.lint.project import describe_command, load_project
from remit.migrations.rehearse.child import Order
from remit.migrations.rehearse.errors import RehearseError

_PLACEHOLDER = "driver"  # of the alembic.ini that Alembic itself writes
_ALWAYS = ("DATABASE_URL", "REMIT_DATABASE_URL", "SQLALCHEMY_URL")
_PARTS = {
    "HOST": "localhost", "SERVER": "localhost", "PORT": "5432", "USER": "remit", "USERNAME": "remit",
    "PASSWORD": "remit", "PASS": "remit", "DB": "remit", "DATABASE": "remit", "NAME": "remit",
}  # fmt: skip
_PREFIXES = ("POSTGRES_", "POSTGRESQL_", "PG_", "DB_", "DATABASE_", "SQL_")


@dataclass(frozen=True)
class RehearsedProject:
    """A project whose revisions can be run.

    Args:
        revisions: those to rehearse, oldest first.
        url_variables: the environment variables that may hold the URL of the database.
    """

    config_file: Path
    revisions: tuple[Script, ...]
    url_variables: frozenset[str]
    url_scheme: str

    def order(self, dsn: str, target: str, **options: object) -> Order:
        """What to tell the migrator's process."""
        url = dsn.replace("postgresql://", f"{self.url_scheme}://", 1)
        environment = {name: _keep_scheme(name, dsn) for name in self.url_variables}
        environment["SQLALCHEMY_URL"] = url
        environment |= {name: value for name, value in _list_parts() if name not in os.environ}
        return Order(str(self.config_file), dsn, target, environment, **options)  # type: ignore[arg-type]


def open_project(config_file: Path, revision: str | None, url_variables: Sequence[str] = ()) -> RehearsedProject:
    """Read a project.

    Args:
        config_file: its alembic.ini.
        revision: the one to rehearse, or `LOWER:UPPER` for several with the first one excluded; the newest by default.
        url_variables: environment variables from which env.py reads its URL, besides those that are found.

    Raises:
        RehearseError: it cannot be read, or there is no such revision.
    """
    asked = revision or "head"
    try:
        project = load_project(config_file, asked if ":" in asked else None)
        scripts = project.asked_revisions if ":" in asked else project.script.get_revisions(asked)
    except LintError as error:
        raise RehearseError(str(error).replace("--range", "--revision")) from error
    except Exception as error:
        raise RehearseError(f"--revision {asked}: {describe_command(error)}") from error
    found = [script for script in scripts if script is not None]
    if not found:
        raise RehearseError(f"--revision {asked}: the project has no such revision")
    env = Path(project.script.dir) / "env.py"
    variables = {*_ALWAYS, *url_variables, *_find_variables(env), *_find_set_variables()}
    return RehearsedProject(config_file.resolve(), tuple(found), frozenset(variables), _read_scheme(project.config))


def list_ancestors(script: Script) -> list[str]:
    """The revisions to migrate to before a revision."""
    down = script.down_revision
    return [down] if isinstance(down, str) else list(down or ())


def _list_parts() -> Iterator[tuple[str, str]]:
    """The variables from which many an env.py puts a URL together. Wherever it leads, the connection is redirected."""
    for prefix in _PREFIXES:
        for part, value in _PARTS.items():
            yield prefix + part, value


def _find_variables(env: Path) -> set[str]:
    """Names in env.py that an environment variable with a URL may have."""
    try:
        nodes = list(ast.walk(ast.parse(env.read_text())))
    except (OSError, SyntaxError, ValueError) as error:
        raise RehearseError(f"{env} cannot be read: {' '.join(str(error).split())}") from error
    constants = (node.value for node in nodes if isinstance(node, ast.Constant))
    words = ("URL", "URI", "DSN")
    return {text for text in constants if isinstance(text, str) and text.isupper() and text.endswith(words)}


def _find_set_variables() -> set[str]:
    return {name for name, value in os.environ.items() if value.startswith(("postgresql", "postgres://"))}


def _keep_scheme(name: str, dsn: str) -> str:
    scheme = os.environ.get(name, "").partition("://")[0]
    return dsn.replace("postgresql", scheme, 1) if scheme.startswith("postgres") else dsn


def _read_scheme(config: Config) -> str:
    """The dialect and driver that the project's URL names; PostgreSQL where it has none, or only a placeholder."""
    try:
        name = make_url(config.get_main_option("sqlalchemy.url") or "").drivername
    except (ArgumentError, ValueError, configparser.Error):
        return "postgresql"
    if name == _PLACEHOLDER:
        return "postgresql"
    if not name.startswith("postgres"):
        raise RehearseError(f"the project's database is {name}: the rehearsal is for PostgreSQL")
    return name
