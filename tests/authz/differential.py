"""One case, put to the embedded engine, to the oracle and to a real SpiceDB, and compared answer by answer."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import groupby

import asyncpg
from authz.explained import try_explanation
from authz.generate import Case
from authz.judge import TOO_SLOW, Judge
from authz.oracle import Key, NoAnswer, Oracle
from authz.tally import Answer, Tally

from remit.authz.errors import DepthExceeded, ListTooCostly
from remit.authz.ids import encode_id
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.pages import Lister
from remit.authz.postgres import PostgresEngine
from remit.authz.schema import parse_schema
from remit.authz.schema_tree import Relation, Schema
from remit.db.params import Params

DEEP = "too deep"
SLOW = "too slow"
PATIENCE = "1s"
UNDECIDED = "no answer"
GIVES_UP = "tolerated: the engine alone gives up"
EXPIRED_COUNTS = "tolerated: SpiceDB counts what has expired"
LONGEST_LIST = 100
PAGE_SIZES = (1, 3, 50)
EXPLAINED = 6
LOOKUPS = 4
PLANS = ("auto", "force_custom_plan", "force_generic_plan")
# What a list is allowed: subjects of a merge, ids that are all read, groups of a scan, rows of a scan, at most. The
# worlds are small, so the forms for callers of great reach come to run only if they are made to.
LISTERS = ((64, 2000, 64, 300), (0, 2000, 64, 300), (0, 0, 64, 1), (0, 0, 0, 1), (1, 1, 1, 1))


def _statement(question: Relationship) -> tuple[str, str, str]:
    """Questions with the same statement can be asked at once."""
    return str(question.subject), question.resource.type, question.relation


async def ask_engine(
    engine: PostgresEngine, connection: asyncpg.Connection, questions: list[Relationship]
) -> list[Answer]:
    """The engine's answers, one savepoint per statement, since an error ends the transaction."""
    answers: dict[Relationship, Answer] = {}
    for _, group in groupby(sorted(questions, key=_statement), _statement):
        items = list(group)
        first = items[0]
        try:
            async with connection.transaction():
                found = await engine.check_many(
                    connection, first.subject, first.relation, [item.resource for item in items]
                )
            answers |= dict(zip(items, found, strict=True))
        except (DepthExceeded, asyncpg.QueryCanceledError) as error:
            for item in items:
                try:
                    async with connection.transaction():
                        answers[item] = await engine.check(connection, item.subject, item.relation, item.resource)
                except DepthExceeded:
                    # A bulk check, which finds the caller's sets first, may have an answer; there was no time for it.
                    answers[item] = DEEP if isinstance(error, DepthExceeded) else SLOW
                except asyncpg.QueryCanceledError:
                    answers[item] = SLOW
    return [answers[question] for question in questions]


async def find_disagreements(
    case: Case, connection: asyncpg.Connection, tally: Tally, judge: Judge | None
) -> list[str]:
    """Sentences about every answer that differs; empty when all agree.

    Where SpiceDB gives up at its depth limit, the engine may give up as well or give the oracle's answer.
    """
    schema = parse_schema(case.schema)
    oracle = Oracle(schema, case.relationships)
    wrong: list[str] = []
    known: dict[Subject, tuple[set[Key], set[Key]]] = {}

    def skewed(question: Relationship) -> Answer:
        forgiving = Oracle(schema, [revive(schema, fact) for fact in case.relationships])
        try:
            return forgiving.check(question.subject, question.relation, question.resource)
        except NoAnswer:
            return UNDECIDED

    async with _undone(connection):
        engine = await PostgresEngine.load(connection, case.schema, "test", replace=True)
        await engine.write(connection, touch=case.relationships)
        # Recursions that are not linear and nest in each other can take for ever; SpiceDB gets no more time either.
        await connection.execute(f"SET LOCAL statement_timeout = '{PATIENCE}'")
        questions = list(case.questions)
        ours = await _ask_twice(engine, connection, questions, tally, wrong)
        theirs: list[Answer] = [UNDECIDED] * len(questions)
        if judge is not None:
            answers = judge.ask(case.schema, case.relationships, questions)
            theirs = [DEEP if isinstance(answer, str) and "max depth" in answer else answer for answer in answers]
        for question, mine, real in zip(questions, ours, theirs, strict=True):
            if question.subject not in known:
                known[question.subject] = oracle.holders(question.subject, [item.resource for item in questions])
            certain, possible = known[question.subject]
            key = (question.resource.type, question.resource.id, question.relation)
            expected: Answer = key in certain if (key in certain) == (key in possible) else UNDECIDED
            tally.add("engine", mine)
            tally.add("oracle", expected)
            if judge is not None:
                tally.add("spicedb", real)
            wrong += _judge(question, mine, real, expected, skewed, tally)
        wrong += await _compare_lookups(engine, connection, case, known, tally)
        wrong += await _compare_subjects(engine, connection, questions, known, tally)
        for question in questions[:: max(len(questions) // EXPLAINED, 1)]:
            wrong += await try_explanation(engine, connection, case, question, tally)
    return wrong


async def _ask_twice(
    engine: PostgresEngine,
    connection: asyncpg.Connection,
    questions: list[Relationship],
    tally: Tally,
    wrong: list[str],
) -> list[Answer]:
    """The engine's answers under one kind of plan, and again after ANALYZE under another: they must be the same."""
    world = sum(tally.answers[f"plans {plan}"] for plan in PLANS)
    first, second = PLANS[world % len(PLANS)], PLANS[(world + 1) % len(PLANS)]
    tally.count(f"plans {first}")
    await connection.execute(f"SET LOCAL plan_cache_mode = {first}")
    before = await ask_engine(engine, connection, questions)
    await connection.execute("ANALYZE relationships")
    await connection.execute(f"SET LOCAL plan_cache_mode = {second}")
    after = await ask_engine(engine, connection, questions)
    for question, one, other in zip(questions, before, after, strict=True):
        # Time runs out under one plan and not under another; an answer never changes.
        if one != other and SLOW not in (one, other):
            wrong.append(f"{question}: engine {one} under {first}, {other} after ANALYZE under {second}")
    return before


def _judge(
    question: Relationship,
    mine: Answer,
    real: Answer,
    expected: Answer,
    skewed: Callable[[Relationship], Answer],
    tally: Tally,
) -> list[str]:
    """What is wrong about one question's answers; what is only counted goes to the tally."""
    if isinstance(real, str) and real not in (DEEP, UNDECIDED, TOO_SLOW):
        return [f"SpiceDB fails on {question}: {real}"]
    if mine in (DEEP, SLOW):
        # Allowed, but counted: SpiceDB meets its limit in the same worlds, though not always, since it stops at the
        # first branch that decides and runs them in no order.
        if isinstance(real, bool):
            tally.count(f"{GIVES_UP} ({mine}), where SpiceDB {'allows' if real else 'denies'}")
        return []
    if isinstance(real, bool) and real != mine and mine == expected and real == skewed(question):
        tally.count(EXPIRED_COUNTS)
        return []
    if any(isinstance(answer, bool) and answer != mine for answer in (real, expected)):
        return [f"{question}: engine {mine}, SpiceDB {real}, oracle {expected}"]
    return []


def revive(schema: Schema, fact: Relationship) -> Relationship:
    """The relationship as SpiceDB 1.54 reads it, which skips the expiry in one kind of relation.

    Where a relation takes a type both with expiration and, as another kind of subject (a set of it, or the type
    itself), without, SpiceDB counts the one for the other when it decides whether to look at the expiry at all.
    """
    definition = schema.get(fact.resource.type)
    relation = definition.get(fact.relation) if definition else None
    assert isinstance(relation, Relation)
    kinds = [allowed for allowed in relation.allowed if allowed.type == fact.subject.type]
    if len({allowed.expiration for allowed in kinds}) < 2:
        return fact
    return replace(fact, expires_at=None)


async def _compare_lookups(
    engine: PostgresEngine,
    connection: asyncpg.Connection,
    case: Case,
    known: dict[Subject, tuple[set[Key], set[Key]]],
    tally: Tally,
) -> list[str]:
    wrong = []
    asked = list(dict.fromkeys((item.subject, item.relation, item.resource.type) for item in case.questions))
    for number, (subject, name, kind) in enumerate(asked[:: max(len(asked) // LOOKUPS, 1)]):
        held, possible = known[subject]
        if held != possible:
            continue
        expected = {identifier for held_kind, identifier, member in held if (held_kind, member) == (kind, name)}
        widest, few, groups, scan = LISTERS[number % len(LISTERS)]
        engine.lister = Lister(engine.compiler_for, widest=widest, few=few, groups=groups, scan=scan)

        def page(
            after: str | None, limit: int, subject: Subject = subject, name: str = name, kind: str = kind
        ) -> Awaitable[list[str]]:
            return engine.lookup_resources(connection, subject, name, kind, after=after, limit=limit)

        lists = await _page_through(connection, page, tally, "lookup")
        for size, found in lists.items():
            if len(found) != len(set(found)) or set(found) != expected:
                wrong.append(
                    f"lookup {kind}#{name}@{subject} pages of {size}: engine {sorted(found)}, oracle {sorted(expected)}"
                )
            if found != next(iter(lists.values())):
                wrong.append(f"lookup {kind}#{name}@{subject}: pages of {size} come in another order")
        rows = _read_rows(engine, connection, subject, name, kind, case)
        newest = sorted((str(encode_id(kind, identifier)) for identifier in expected), reverse=True)
        for size, shown in (await _page_through(connection, rows, tally, "list")).items():
            if shown != newest:
                wrong.append(f"list {kind}#{name}@{subject} pages of {size}: engine {shown}, oracle {newest}")
    return wrong


async def _page_through(
    connection: asyncpg.Connection, read: Callable[[str | None, int], Awaitable[list[str]]], tally: Tally, what: str
) -> dict[int, list[str]]:
    """The pages put together, by page size; sizes at which the engine gives up are left out."""
    lists: dict[int, list[str]] = {}
    for size in PAGE_SIZES:
        found: list[str] = []
        try:
            async with connection.transaction():
                while True:
                    page = await read(found[-1] if found else None, size)
                    found += page
                    if len(page) < size or len(found) > LONGEST_LIST:
                        break
        except (DepthExceeded, ListTooCostly, asyncpg.QueryCanceledError) as error:
            tally.add(what, DEEP if isinstance(error, DepthExceeded) else SLOW)
            if not isinstance(error, DepthExceeded):
                break  # time is as short at every size
            continue
        tally.add(what, "complete")
        lists[size] = found
    return lists


async def _compare_subjects(
    engine: PostgresEngine,
    connection: asyncpg.Connection,
    questions: list[Relationship],
    known: dict[Subject, tuple[set[Key], set[Key]]],
    tally: Tally,
) -> list[str]:
    """The users whom a lookup of subjects names hold it; those who hold it are named, or everyone is."""
    wrong = []
    for question in questions[:2] + questions[-2:]:
        resource, name = question.resource, question.relation
        key = (resource.type, resource.id, name)

        def page(
            after: str | None, limit: int, resource: Resource = resource, name: str = name
        ) -> Awaitable[list[str]]:
            return engine.lookup_subjects(connection, resource, name, "user", after=after, limit=limit)

        for size, found in (await _page_through(connection, page, tally, "lookup of subjects")).items():
            for subject, (certain, possible) in known.items():
                if subject.type != "user" or (key in certain) != (key in possible):
                    continue
                holds, named = key in certain, subject.id in found
                if (named and not holds) or (holds and not named and "*" not in found) or len(set(found)) < len(found):
                    wrong.append(f"subjects of {resource}#{name} pages of {size}: {found}, {subject} holds it: {holds}")
    return wrong


def _read_rows(
    engine: PostgresEngine, connection: asyncpg.Connection, subject: Subject, name: str, kind: str, case: Case
) -> Callable[[str | None, int], Awaitable[list[str]]]:
    """Pages of a list of rows, where every resource of the world has one."""
    facts = (*case.relationships, *case.questions)
    resources = {item.resource for item in facts} | {Resource(item.subject.type, item.subject.id) for item in facts}
    ids = ",".join(str(encode_id(kind, resource.id)) for resource in resources if resource.type == kind)

    async def read(after: str | None, limit: int) -> list[str]:
        found: list[str] = []
        while True:
            page = await engine.list_rows(
                connection, subject, name, kind, table=f"(SELECT DISTINCT unnest('{{{ids}}}'::uuid[]) AS id)",
                columns="t.id", where="TRUE", params=Params(), before=after, limit=limit - len(found),
            )  # fmt: skip
            found += [str(row["id"]) for row in page.rows]
            # A page whose time was up says so, and from where on: it is short and not the end.
            if page.unfinished_after is None or len(found) == limit:
                return found
            after = page.unfinished_after

    return read


@asynccontextmanager
async def _undone(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """A savepoint that is always undone."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


def render_case(case: Case, notes: list[str]) -> str:
    """A case as a validation file that can be run again."""
    lines = [f"# {note}" for note in notes]
    lines += ["schema: |-", *(f"  {line}" for line in case.schema.splitlines())]
    lines.append("relationships: |-")
    lines += [f"  {_text(fact)}" for fact in case.relationships]
    oracle = Oracle(parse_schema(case.schema), case.relationships)
    sides: dict[str, list[str]] = {"assertTrue": [], "assertFalse": []}
    for question in case.questions:
        try:
            side = (
                "assertTrue" if oracle.check(question.subject, question.relation, question.resource) else "assertFalse"
            )
        except NoAnswer:
            lines.append(f"# no answer exists for {question}")
            continue
        sides[side].append(str(question))
    lines.append("assertions:")
    for side, items in sides.items():
        lines.append(f"  {side}:" + ("" if items else " []"))
        lines += [f'    - "{item}"' for item in items]
    return "\n".join(lines) + "\n"


def _text(fact: Relationship) -> str:
    return str(fact) + (f"[expiration:{fact.expires_at:%Y-%m-%dT%H:%M:%SZ}]" if fact.expires_at else "")
