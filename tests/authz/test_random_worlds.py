"""The engine, the oracle and the printer agree on random worlds, and planted faults are found."""

import asyncio
from functools import cache
from pathlib import Path
from random import Random

import asyncpg
import pytest
from authz.differential import find_disagreements
from authz.generate import Case, make_case
from authz.mutants import MUTANTS, planted
from authz.tally import Tally

from remit.authz.model import Relationship, Resource, Subject
from remit.authz.schema import parse_schema
from remit.authz.schema_check import check_schema
from remit.authz.schema_print import print_schema
from remit.authz.validate import validate_text

REGRESSIONS = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "regressions").glob("*.yaml"))}


def _fact(resource: str, relation: str, subject: str) -> Relationship:
    return Relationship(Resource("doc", resource), relation, Subject("user", subject))


# The ids that a page begins with fail the second condition, in either order: random worlds show that seldom.
LATE_GATE = Case(
    """definition user {}
definition doc {
    relation viewer: user
    relation member: user
    permission read = viewer & member
}""",
    (*(_fact(name, "viewer", "u") for name in "dxyze"), _fact("d", "member", "u"), _fact("z", "member", "u")),
    (_fact("d", "read", "u"), _fact("x", "read", "u")),
)


@cache
def draw_cases(start: int, count: int) -> list[Case]:
    return [make_case(Random(f"{start}/{number}")) for number in range(count)]


async def disagreements(dsn: str, worlds: list[Case], tally: Tally) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        for world in worlds:
            notes = await find_disagreements(world, connection, tally, None)
            if notes:
                return notes
    finally:
        await connection.close()
    return []


async def test_engine_and_oracle_agree(authz_database: str) -> None:
    tally = Tally()
    assert await disagreements(authz_database, draw_cases(7, 300)[:25], tally) == []
    allows, denies = tally.answers["engine allow"], tally.answers["engine deny"]
    assert min(allows, denies) > 0.2 * (allows + denies)


async def test_a_printed_schema_is_the_same_schema() -> None:
    for case in draw_cases(7, 300):
        schema = check_schema(parse_schema(case.schema))
        assert parse_schema(print_schema(schema)) == schema


@pytest.mark.parametrize("name", MUTANTS)
async def test_planted_faults_are_found(name: str, authz_database: str) -> None:
    # Small ones first: a fault shows in one of them too, and a large one can take many seconds.
    worlds = [LATE_GATE, *sorted(draw_cases(7, 300), key=lambda case: len(case.schema))]
    with planted(name):
        assert await disagreements(authz_database, worlds, Tally())


@pytest.mark.parametrize("name", REGRESSIONS)
async def test_cases_once_found(name: str, connection: asyncpg.Connection) -> None:
    result = await validate_text(connection, name, REGRESSIONS[name])
    assert result.passed, result.failures


async def test_answers_stay_the_same_under_any_plan(authz_database: str) -> None:
    worlds = draw_cases(7, 300)[-10:]
    connection = await asyncpg.connect(authz_database)
    writer = await asyncpg.connect(authz_database)

    async def keep_writing() -> None:
        while True:
            await writer.execute("INSERT INTO authz_ids VALUES (32767, gen_random_uuid(), 'noise')")
            await writer.execute("DELETE FROM authz_ids WHERE type = 32767")

    noise = asyncio.create_task(keep_writing())
    try:
        for mode in ("force_generic_plan", "force_custom_plan"):
            await connection.execute(f"SET plan_cache_mode = {mode}")
            for world in worlds:
                assert await find_disagreements(world, connection, Tally(), None) == []
            await connection.execute("ANALYZE relationships")
    finally:
        noise.cancel()
        await asyncio.gather(noise, return_exceptions=True)
        await connection.execute("DELETE FROM authz_ids WHERE type = 32767")
        await writer.close()
        await connection.close()
