"""Zedtokens of this database: from which transaction on a change is visible."""

from __future__ import annotations

from remit.authz.engine import Connection
from remit.authz.errors import ZedtokenError
from remit.authz.questions import Questions
from remit.db.params import Params


class Tokens(Questions):
    """Makes and reads tokens; one names the database cluster, so that a restore makes older ones an error."""

    def zedtoken_sql(self, params: Params) -> str:  # noqa: ARG002 - other engines may need parameters
        """The zedtoken of what the surrounding transaction writes, as SQL; it needs no parameter."""
        return f"'rmt1.{self._loaded.cluster}.' || pg_current_xact_id()::text"

    def read_zedtoken(self, token: str) -> int:
        """The transaction id of a zedtoken of this database.

        Raises:
            ZedtokenError: the token is malformed, or of another database cluster.
        """
        match token.split("."):
            case ["rmt1", cluster, number] if number.isdigit():
                if cluster != self._loaded.cluster:
                    raise ZedtokenError("the zedtoken is of another database; read without it, then keep the new one")
                return int(number)
        raise ZedtokenError("the zedtoken is malformed; pass back tokens unchanged")

    async def _token(self, connection: Connection) -> str:
        return f"rmt1.{self._loaded.cluster}.{await connection.fetchval('SELECT pg_current_xact_id()::text')}"
