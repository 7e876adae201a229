"""Run the migrations from code: the command line, `remit serve` and the tests come through here."""

import logging
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg import errors
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from remit.db.connect import check_version, connect
from remit.db.errors import MigrationError

logger = logging.getLogger(__name__)

_ATTEMPTS = 5
_SECONDS_BETWEEN = 1.0

_alembic = threading.Lock()  # Alembic keeps what it is doing in global variables


@dataclass(frozen=True)
class Revision:
    """One step of the schema."""

    id: str
    title: str


def make_config(dsn: str | None = None) -> Config:
    """Alembic's configuration, without a file. Without a dsn only the scripts can be read."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    if dsn is not None:
        config.attributes["dsn"] = dsn
    return config


def history() -> list[Revision]:
    """Every revision, oldest first."""
    scripts = ScriptDirectory.from_config(make_config()).walk_revisions()
    return [Revision(script.revision, script.doc) for script in reversed(list(scripts))]


@cache
def head_revision() -> str:
    """The revision that this code expects of a database."""
    return history()[-1].id


def current(dsn: str) -> str | None:
    """The revision a database is at; None when it was never migrated."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(dsn), poolclass=NullPool)
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring a database to a revision. Revisions that are done stay done, whatever happens to a later one.

    A table that is busy beyond the lock timeout is tried again a few times.
    Raises UnsupportedServerError, MigrationError, or DatabaseSetupError when the server cannot be reached.
    """
    check_version(dsn)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with _alembic:
                command.upgrade(make_config(dsn), revision)
        except DBAPIError as error:
            if not isinstance(error.orig, errors.LockNotAvailable):
                raise MigrationError(
                    f"the migration stopped, run it again once this is solved: {error.orig}"
                ) from error
            if attempt == _ATTEMPTS:
                raise MigrationError(
                    "a table stayed locked by another session; see pg_stat_activity for old transactions, then run "
                    "`remit db upgrade` again"
                ) from error
            logger.warning("a table is locked by another session, trying again (%s of %s)", attempt, _ATTEMPTS)
            time.sleep(_SECONDS_BETWEEN)
        except CommandError as error:
            raise _explain(error) from error
        else:
            return


def downgrade(dsn: str, revision: str) -> None:
    """Take a database back to a revision, for developers; raises MigrationError where data would be lost."""
    try:
        with _alembic:
            command.downgrade(make_config(dsn), revision)
    except CommandError as error:
        raise _explain(error) from error


def _explain(error: CommandError) -> MigrationError:
    if "Can't locate revision" in str(error):
        return MigrationError(
            f"this Remit does not know the revision ({error}); the database was migrated by a newer one: upgrade Remit"
        )
    return MigrationError(str(error))
