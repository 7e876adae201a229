"""Whether this version works with the schema that a database has."""

import logging

from remit.db.errors import DatabaseSetupError
from remit.migrations.run import examine, head_revision

logger = logging.getLogger(__name__)


def check_revision(dsn: str) -> None:
    """Do nothing if this version works with a database.

    Raises:
        DatabaseSetupError: it does not; the message says what to run.
    """
    revision, problem = examine(dsn)
    if problem is not None:
        raise DatabaseSetupError(problem)
    if revision != head_revision():
        logger.info("the database is at revision %s of a newer version, with which this one works", revision)
