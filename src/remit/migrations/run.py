"""Run the migrations from code: the command line, `remit serve` and the tests come through here."""

import logging
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from remit.db.connect import check_version
from remit.migrations.runner import run as runner
from remit.migrations.runner.model import Limits, Outcome, Tell
from remit.migrations.state import examine, head_revision, known_revisions

logger = logging.getLogger(__name__)


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


def upgrade(dsn: str, revision: str = "head", limits: Limits | None = None, tell: Tell = logger.info) -> Outcome:
    """Bring a database to a revision. Revisions that are done stay done, whatever happens to a later one.

    Args:
        dsn: the database.
        revision: where to stop.
        limits: how long to wait for locks and how often to try.
        tell: receives what happens, a line at a time.

    Raises:
        UnsupportedServerError: the server is too old.
        LockedError: a table stayed locked by other sessions, which it names.
        MigrationError: a revision failed.
        DatabaseSetupError: the server cannot be reached.
    """
    check_version(dsn)
    at, problem = examine(dsn)
    if revision == "head" and at not in (None, *known_revisions()) and problem is None:
        newer = f"it was migrated by a newer version; this one ends at {head_revision()} and works with it"
        return Outcome((str(at),), (str(at),), notes=(newer,))
    return runner.upgrade(make_config(dsn), revision, limits or Limits(), tell, dsn=dsn)


def downgrade(dsn: str, revision: str) -> None:
    """Take a database back to a revision, for developers; raises MigrationError where data would be lost."""
    try:
        with runner.alembic_in_use:
            command.downgrade(make_config(dsn), revision)
    except CommandError as error:
        raise runner.explain(error) from error
