"""What tests of commands read of a database, past the product."""

from typing import Any

import psycopg
from psycopg.rows import dict_row


class Rows:
    """The rows behind an installation.

    Args:
        dsn: where they are.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def query(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """What a statement answers, committed."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def relations(self, id: str) -> list[str]:
        """The relations of a resource's relationships, in order."""
        rows = self.query(
            "SELECT l.name FROM relationships r JOIN authz_relations l ON l.code = r.relation"
            " WHERE r.resource_id = %s::uuid ORDER BY 1",
            id,
        )
        return [row["name"] for row in rows]
