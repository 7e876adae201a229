"""Any Alembic project, by its alembic.ini."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from remit.db.errors import DatabaseSetupError, MigrationError
from remit.migrations.lint.errors import LintError
from remit.migrations.lint.project import load_scripts
from remit.migrations.project_config import read_config
from remit.migrations.runner import run as runner
from remit.migrations.runner.model import Limits, Outcome, Tell


def load_config(file: Path) -> Config:
    """Read a project's configuration; its revisions must import.

    Raises:
        MigrationError: there is none, or they do not.
    """
    if not file.is_file():
        raise MigrationError(f"there is no {file}: name the project's alembic.ini with --config")
    try:
        config = read_config(file)
        load_scripts(config, file)
    except LintError as error:
        raise MigrationError(str(error)) from error
    return config


def upgrade_project(file: Path, revision: str, limits: Limits, tell: Tell) -> Outcome:
    """Bring the database of a project's env.py up to a revision.

    Raises:
        DatabaseSetupError: as `runner.run.upgrade` says; env.py does not run.
    """
    config = load_config(file)
    try:
        with redirect_stdout(sys.stderr):  # what env.py prints is not the answer
            return runner.upgrade(config, revision, limits, tell)
    except DatabaseSetupError:
        raise
    except (NoSuchModuleError, ImportError) as error:
        raise MigrationError(f"env.py does not import ({error}): install the project and Remit together") from error
    except (Exception, SystemExit) as error:
        raise MigrationError(f"the run stopped ({_describe(error)}); what is done stays done") from error


def read_project_heads(file: Path) -> tuple[str, ...]:
    """The revisions that a project's database is at. Nothing is changed there.

    Raises:
        MigrationError: env.py does not run, or cannot connect.
    """
    config = load_config(file)
    found: list[tuple[str, ...]] = []

    def look(heads: Any, _: object) -> list[Any]:
        found.append(tuple(heads))
        return []

    script = ScriptDirectory.from_config(config)
    try:
        with (
            runner.alembic_in_use,
            runner.disposing(),
            redirect_stdout(sys.stderr),
            EnvironmentContext(config, script, fn=look, dont_mutate=True),
        ):
            script.run_env()
    except CommandError as error:
        raise runner.explain(error) from error
    except (Exception, SystemExit) as error:
        raise MigrationError(f"env.py does not run ({_describe(error)})") from error
    return found[-1] if found else ()


def _describe(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = " ".join(str(cause).split())
    name = "exit" if isinstance(error, SystemExit) else type(cause).__name__
    return f"{name}: {text[:300]}" if isinstance(error, (SystemExit, SQLAlchemyError)) or text else name
