"""The roles that revisions name and do not make, which a scratch server has to have all the same."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg import sql

T = TypeVar("T")

_MOST = 50
_MISSING = re.compile(r'role "([^"]+)" does not exist')


class MissingRoles:
    """Makes them as errors tell of them.

    Args:
        connect: opens a connection to the scratch server, in autocommit.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self.made: list[str] = []

    def retry(self, attempt: Callable[[], T], read_error: Callable[[T], str | None]) -> T:
        """Repeat an attempt as long as it fails for want of a role.

        Args:
            attempt: what to do; it begins anew each time.
            read_error: what an attempt failed with, if it did.
        """
        result = attempt()
        while (error := read_error(result)) is not None and self._make(error):
            result = attempt()
        return result

    def _make(self, error: str) -> bool:
        """Make the role that an error misses; False if it is about something else."""
        found = _MISSING.search(error)
        if found is None or found[1] in self.made or len(self.made) == _MOST:
            return False
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(found[1])))
        self.made.append(found[1])
        return True
