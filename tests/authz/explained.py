"""Explanations tried out: what one says about a check is done to the world, and the check is asked again."""

import asyncpg
from authz.generate import Case
from authz.oracle import NoAnswer, Oracle
from authz.tally import Tally

from remit.authz.errors import DepthExceeded
from remit.authz.explain import Explanation, explain
from remit.authz.model import Relationship
from remit.authz.postgres import PostgresEngine
from remit.authz.schema import parse_schema


async def try_explanation(
    engine: PostgresEngine, connection: asyncpg.Connection, case: Case, question: Relationship, tally: Tally
) -> list[str]:
    """Explain one check and return a sentence for each thing that it says and that does not hold.

    The explanation answers as the check does; writing the missing relationships that a denial names allows; the path
    of an allow allows by itself, and no longer without any one of its edges. That last does not follow where `.all`
    or an exclusion occurs (with fewer targets, or fewer who are excluded, more is allowed), so it is asked elsewhere.

    Args:
        engine: with the case's schema and relationships.
        connection: in a transaction.
        case: the world.
        question: the check.
        tally: counts what was tried.
    """
    subject, resource, name = question.subject, question.resource, question.relation
    try:
        async with connection.transaction():
            allowed = await engine.check(connection, subject, name, resource)
    except (DepthExceeded, asyncpg.QueryCanceledError):
        return []
    explanation = await explain(engine, connection, subject, name, resource)
    if explanation.allowed is not allowed:
        return [f"{question}: the check says {allowed}, its explanation says {explanation.allowed}"]
    tally.count(f"explained {'allow' if allowed else 'deny'}")
    if explanation.missing:
        return await _try_missing(engine, connection, question, explanation, tally)
    if explanation.path and ".all(" not in case.schema and " - " not in case.schema:
        return _try_path(case, question, explanation, tally)
    return []


async def _try_missing(
    engine: PostgresEngine,
    connection: asyncpg.Connection,
    question: Relationship,
    explanation: Explanation,
    tally: Tally,
) -> list[str]:
    savepoint = connection.transaction()
    await savepoint.start()
    try:
        await engine.write(connection, touch=explanation.missing)
        if await engine.check(connection, question.subject, question.relation, question.resource):
            tally.count("explained missing turned it")
            return []
    except (DepthExceeded, asyncpg.QueryCanceledError):
        return []
    finally:
        await savepoint.rollback()
    return [f"{question}: still denied with {', '.join(map(str, explanation.missing))}"]


def _try_path(case: Case, question: Relationship, explanation: Explanation, tally: Tally) -> list[str]:
    schema = parse_schema(case.schema)

    def holds(facts: list[Relationship]) -> bool:
        try:
            return Oracle(schema, facts).check(question.subject, question.relation, question.resource)
        except NoAnswer:
            return False

    path = list(explanation.path)
    if not holds(path):
        return [f"{question}: not allowed by the path that is shown, {', '.join(map(str, path))}"]
    for edge in path:
        if holds([fact for fact in path if fact != edge]):
            return [f"{question}: the path that is shown does without {edge}"]
        tally.count("explained edge needed")
    return []
