"""The language is SpiceDB's: what one takes the other takes, and an expression means the same to both."""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import asyncpg
import pytest
from authz.generate import Case
from authz.judge import Judge, try_schemas
from authz.language_texts import DIFFERENCES, EXPRESSIONS, TEXTS
from authz.oracle import Oracle

from remit.authz.errors import SchemaError
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.schema import parse_schema
from remit.authz.schema_check import check_schema
from remit.authz.schema_print import print_schema
from remit.authz.validation_files import read_validation_file

REGRESSIONS = Path(__file__).parent / "regressions"
ANN = Subject("user", "ann")
COMMENTED = """// 1
// 2

use self // 3
/* 4 */ use expiration
/**
 * 5
 */
definition use {} // 6
/* 7 */ definition doc { // 8
  // 9
  relation own: /* 10 */ use // 11

  relation any: use /* 12
    13 */
  permission see = own + // 14
    // 15
    any
  // 16
}
// 17"""
OF_ITSELF = """definition user {}
definition doc {
  relation owner: user
  relation parent: doc
  permission see = see + owner
  permission top = low + parent->top
  permission low = top + owner
}"""
NAMES = ("one", "two", "tri", "fou")


def refusal(text: str) -> str | None:
    try:
        check_schema(parse_schema(text))
    except SchemaError as error:
        return str(error)
    return None


def test_a_schema_is_taken_exactly_where_spicedb_takes_it() -> None:
    theirs = dict(zip(TEXTS, try_schemas(list(TEXTS.values())), strict=True))
    ours = {name: refusal(text) for name, text in TEXTS.items()}
    apart = {name: (theirs[name], ours[name]) for name in TEXTS if (theirs[name] is None) != (ours[name] is None)}
    assert apart == {}
    taken = [name for name in TEXTS if ours[name] is None]
    assert 40 < len(taken) < len(TEXTS) - 40
    printed = {name: print_schema(check_schema(parse_schema(TEXTS[name]))) for name in taken}
    assert [name for name in taken if parse_schema(printed[name]) != parse_schema(TEXTS[name])] == []
    assert [why for why in try_schemas(list(printed.values())) if why is not None] == []


def test_what_spicedb_takes_and_remit_refuses_is_refused_by_name() -> None:
    assert try_schemas([text for text, _ in DIFFERENCES.values()]) == [None] * len(DIFFERENCES)
    for text, words in DIFFERENCES.values():
        assert words in (refusal(text) or ""), text


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    made = Judge(patience=30)
    try:
        yield made
    finally:
        made.close()


async def answers(connection: asyncpg.Connection, case: Case) -> list[bool]:
    engine = await PostgresEngine.load(connection, case.schema, "test", replace=True)
    await engine.write(connection, touch=case.relationships)
    return [await engine.check(connection, asked.subject, asked.relation, asked.resource) for asked in case.questions]


async def test_what_has_expired_counts_for_nothing_where_spicedb_counts_it(
    connection: asyncpg.Connection, judge: Judge
) -> None:
    found = read_validation_file((REGRESSIONS / "an-expired-set-beside-its-type.yaml").read_text())
    case = Case(found.schema, tuple(found.relationships), tuple(found.denied))
    assert judge.ask(case.schema, case.relationships, case.questions) == [True, True]
    assert await answers(connection, case) == [False, False]


async def test_a_permission_of_itself_is_the_least_that_it_says(connection: asyncpg.Connection, judge: Judge) -> None:
    near, far, ben = Resource("doc", "near"), Resource("doc", "far"), Subject("user", "ben")
    facts = (Relationship(near, "parent", Subject("doc", "far")), Relationship(far, "owner", ANN))
    asked = [(far, "see", ANN), (near, "top", ANN), (near, "low", ANN), (near, "see", ANN), (near, "low", ben)]
    case = Case(OF_ITSELF, facts, tuple(Relationship(*question) for question in asked))
    theirs = judge.ask(case.schema, case.relationships, case.questions)
    assert [str(answer).split(":")[0] for answer in theirs[3:]] == ["max depth exceeded"] * 2
    assert await answers(connection, case) == [True, True, True, False, False]
    assert await answers(connection, case) == [
        Oracle(parse_schema(OF_ITSELF), facts).check(ann, name, doc) for doc, name, ann in asked
    ]


async def test_operators_bind_as_in_spicedb(connection: asyncpg.Connection, judge: Judge) -> None:
    relations = "\n".join(f"relation {name}: user" for name in NAMES)
    permissions = "\n".join(f"permission see_{number} = {text}" for number, text in enumerate(EXPRESSIONS))
    schema = f"definition user {{}}\ndefinition doc {{\n{relations}\n{permissions}\n}}"
    docs = {"".join(map(str, held)): held for held in product((0, 1), repeat=len(NAMES))}
    facts = [
        Relationship(Resource("doc", doc), name, ANN)
        for doc, held in docs.items()
        for name, holds in zip(NAMES, held, strict=True)
        if holds
    ]
    engine = await PostgresEngine.load(connection, schema, "test", replace=True)
    await engine.write(connection, touch=facts)
    resources = [Resource("doc", doc) for doc in docs]
    questions, ours = [], []
    for number in range(len(EXPRESSIONS)):
        ours += await engine.check_many(connection, ANN, f"see_{number}", resources)
        questions += [Relationship(resource, f"see_{number}", ANN) for resource in resources]
    assert ours == judge.ask(schema, facts, questions)
    assert 0.2 < sum(ours) / len(ours) < 0.8


def test_a_printed_schema_keeps_every_comment() -> None:
    schema = parse_schema(COMMENTED)
    printed = print_schema(schema)
    assert parse_schema(printed) == schema
    assert re.findall(r"\d+", printed) == re.findall(r"\d+", COMMENTED)
    assert " * 5\n */\ndefinition use {" in printed
    assert try_schemas([printed]) == [None]


@pytest.mark.parametrize(
    ("text", "place", "advice"),
    [
        ("definition user {}\ndefinition doc {\n relation own: user\n permission see = own\n + own\n}", (5, 2),
         "put '+' at the end of the line before"),
        ("definition user {}\ndefinition doc { relation own: user }", (2, 37), "put '}' on a line of its own, or ;"),
        ("definition doc {\n relation with: doc\n}", (2, 11), "'with' is a keyword and cannot be a name"),
        ("definition doc\n{}", (1, 15), "the line ends too early"),
        ("definition user {}\nuse self", (2, 5), "put it at the top of the file"),
        ("definition user {} /* why", (1, 20), "end it with */"),
    ],
)  # fmt: skip
def test_a_slip_is_answered_with_what_to_do(text: str, place: tuple[int, int], advice: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_schema(text)
    assert (caught.value.line, caught.value.column) == place
    assert advice in str(caught.value)
