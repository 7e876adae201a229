"""What it costs to write a task: alone, with its relationships, and with a history of them."""

from collections.abc import Callable, Sequence

from graph.data import Data
from graph.samples import Samples, endless
from graph.timing import Ask, Row
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.reads import COLUMNS
from remit.db.params import Params
from remit.db.pool import Connection
from remit.ids import new_id

ALONE = "insert a task alone"
_INSERT = "INSERT INTO tasks (id, tenant_id, agent_id, status)"


def insert_rows(engine: PostgresEngine, data: Data, samples: Samples) -> list[Row]:
    """The rows of the table that write.

    The engine moves a relationship to the history when it is removed, and keeps no second copy before. The row with
    history writes four rows there as well: what a creation would cost that kept a copy at once.
    """
    users = endless(samples.users)

    async def alone(connection: Connection) -> object:
        values = (new_id(), samples.tenant, samples.agent)
        return await connection.execute(f"{_INSERT} VALUES ($1, $2, $3, 'RUNNING')", *values)

    def related(further: Callable[[Params, Sequence[Relationship]], str]) -> Ask:
        async def ask(connection: Connection) -> object:
            params, user, id_ = Params(), next(users), new_id()
            task = Resource("task", id_)
            values = [params.add(value, "uuid") for value in (id_, samples.tenant, samples.agent)]
            relationships = [
                Relationship(task, "tenant", Subject("tenant", samples.tenant)),
                Relationship(task, "parent_agent", Subject("agent", samples.agent)),
                Relationship(task, "owner", Subject("user", user)),
                Relationship(task, "viewer", Subject("user", data.callers["none"])),
            ]
            return await connection.execute(
                f"WITH row AS ({_INSERT} VALUES ({', '.join(values)}, 'RUNNING')){further(params, relationships)}"
                f" {engine.insert_sql(params, relationships)}",
                *params.values,
            )

        return ask

    def keep(params: Params, relationships: Sequence[Relationship]) -> str:
        codes, rows = engine.codes, []
        for one in relationships:
            resource, subject = params.add(one.resource.id, "uuid"), params.add(one.subject.id, "uuid")
            rows.append(
                f"({codes.types[one.resource.type]}, {resource}, {codes.relations[one.relation]},"
                f" {codes.types[one.subject.type]}, {subject}, 0, NULL, pg_current_xact_id())"
            )
        return f", kept AS (INSERT INTO relationship_history ({COLUMNS}, written_xid) VALUES {', '.join(rows)})"

    return [
        Row(ALONE, alone, writes=True),
        Row("insert a task with its four relationships", related(lambda *_: ""), ALONE, 1.5, writes=True),
        Row("the same, and four rows of history", related(keep), ALONE, 2, writes=True),
    ]
