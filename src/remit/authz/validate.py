"""Runs SpiceDB's validation files against a judge: assertions, and the block of expected subjects.

The embedded engine is the judge here; `validate_spicedb` has SpiceDB as one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from remit.authz.engine import Connection
from remit.authz.errors import AuthzError, RelationshipError
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.validation_files import ValidationFile, read_validation_file

_EXPECTED_RESOURCE = re.compile(r"(?P<type>[^:#]+):(?P<id>[^#]+)#(?P<permission>[a-z0-9_]+)")
_EXPECTED_SUBJECT = re.compile(
    r"\[(?P<type>[^:\]]+):(?P<id>[^#\]\s]+)(#(?P<relation>[a-z0-9_.]+))?(\s*-\s*\{(?P<excluded>[^}]*)\})?\].*",
    re.DOTALL,
)
_PAGE = 500


@dataclass(frozen=True, slots=True)
class FileResult:
    """How one file went.

    Attributes:
        file: its name.
        passed: whether everything it says holds.
        failures: a sentence for each thing that does not.
        unsupported: the name of a feature it needs that the engine does not cover, else None.
        questions: how many questions were answered.
    """

    file: str
    passed: bool
    failures: tuple[str, ...] = ()
    unsupported: str | None = None
    questions: int = 0


class Judge(Protocol):
    """What answers the questions of a file, once its schema and relationships are loaded."""

    async def check(self, question: Relationship) -> bool:
        """Whether the subject holds it.

        Raises:
            AuthzError: there is no answer.
        """
        ...

    async def find_subjects(self, resource: Resource, permission: str, kind: str, relation: str | None) -> set[str]:
        """The ids of a kind of subjects that hold it, `*` among them if everyone does.

        Raises:
            AuthzError: there is no answer.
        """
        ...


@dataclass(slots=True)
class _Run:
    judge: Judge
    kinds: set[str]
    failures: list[str] = field(default_factory=list)
    questions: int = 0


@dataclass(frozen=True, slots=True)
class _Embedded:
    engine: PostgresEngine
    connection: Connection

    async def check(self, question: Relationship) -> bool:
        # A statement that fails would take the transaction with it.
        async with self.connection.transaction():
            return await self.engine.check(self.connection, question.subject, question.relation, question.resource)

    async def find_subjects(self, resource: Resource, permission: str, kind: str, relation: str | None) -> set[str]:
        found: list[str] = []
        async with self.connection.transaction():
            while True:
                after = found[-1] if found else None
                page = await self.engine.lookup_subjects(
                    self.connection, resource, permission, kind, relation, after=after, limit=_PAGE
                )
                found += page
                if len(page) < _PAGE:
                    return set(found)


async def validate_files(connection: Connection, paths: Sequence[Path]) -> list[FileResult]:
    """Run each file on the embedded engine, in a savepoint that is undone, in the order given.

    Args:
        connection: a connection in a transaction, to a database that is best thrown away afterwards.
        paths: the files.
    """
    results = []
    for path in paths:
        try:
            results.append(await validate_text(connection, str(path), read_text(path)))
        except AuthzError as error:
            results.append(refuse(str(path), error))
    return results


async def validate_text(connection: Connection, name: str, text: str) -> FileResult:
    """Run one file's text on the embedded engine, in a savepoint that is undone."""
    savepoint = connection.transaction()
    await savepoint.start()
    try:
        case = read_validation_file(text)
        engine = await PostgresEngine.load(connection, case.schema, "validate", name, replace=True)
        await engine.write(connection, touch=case.relationships)
        return await judge_case(_Embedded(engine, connection), name, case)
    except AuthzError as error:
        return refuse(name, error)
    finally:
        await savepoint.rollback()


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        RelationshipError: it is no text, or cannot be read.
    """
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RelationshipError(f"not a validation file: {error}") from None


def refuse(name: str, error: AuthzError) -> FileResult:
    """The result of a file that could not be loaded."""
    return FileResult(name, False, (str(error),), "caveats" if "caveats are not supported" in str(error) else None)


async def judge_case(judge: Judge, name: str, case: ValidationFile) -> FileResult:
    """Put everything that a file says to a judge that has its schema and relationships."""
    # Whoever holds anything is the subject of a relationship, or the resource itself (`self`).
    kinds = {fact.subject.type for fact in case.relationships if fact.subject.relation is None}
    run = _Run(judge, kinds)
    for question in case.allowed:
        await _assert(run, question, True)
    for question in case.denied:
        await _assert(run, question, False)
    await _compare_expected(run, case)
    return FileResult(name, not run.failures, tuple(run.failures), None, run.questions)


async def _assert(run: _Run, question: Relationship, expected: bool) -> None:
    run.questions += 1
    try:
        answer = await run.judge.check(question)
    except AuthzError as error:
        run.failures.append(f"{question}: {error}")
        return
    if answer is not expected:
        run.failures.append(f"{question} is {'allowed' if answer else 'denied'}, and must not be")


async def _compare_expected(run: _Run, case: ValidationFile) -> None:
    for key, entries in case.expected.items():
        match = _EXPECTED_RESOURCE.fullmatch(key)
        if match is None:
            run.failures.append(f"validation: {key!r} is not of the form type:id#permission")
            continue
        resource, permission = Resource(match["type"], match["id"]), match["permission"]
        expected: dict[tuple[str, str | None], set[str]] = {}
        for entry in entries:
            subject = _EXPECTED_SUBJECT.fullmatch(entry.strip())
            if subject is None:
                run.failures.append(f"validation of {key}: {entry!r} is not of the form [type:id] is <…>")
                continue
            relation = None if subject["relation"] in (None, "...") else subject["relation"]
            expected.setdefault((subject["type"], relation), set()).add(subject["id"])
            for excluded in (subject["excluded"] or "").split(","):
                if excluded.strip():
                    kind, _, identifier = excluded.strip().partition(":")
                    await _assert(run, Relationship(resource, permission, Subject(kind, identifier)), False)
        await _compare_subjects(run, resource, permission, expected)


async def _compare_subjects(
    run: _Run, resource: Resource, permission: str, expected: dict[tuple[str, str | None], set[str]]
) -> None:
    kinds = {(kind, None) for kind in run.kinds | {resource.type}} | expected.keys()
    for kind, relation in sorted(kinds, key=str):
        wanted = expected.get((kind, relation), set())
        run.questions += 1
        try:
            found = await run.judge.find_subjects(resource, permission, kind, relation)
        except AuthzError as error:
            run.failures.append(f"{resource}#{permission} for {kind}: {error}")
            continue
        missing = wanted - found
        # Who holds it as one of everyone is not listed one by one, and a set's own members are not sets.
        extra = set() if "*" in wanted or relation is not None else found - wanted
        suffix = f"#{relation}" if relation else ""
        for identifier in sorted(missing):
            run.failures.append(f"{resource}#{permission}: {kind}:{identifier}{suffix} should hold it, and does not")
        for identifier in sorted(extra):
            run.failures.append(f"{resource}#{permission}: {kind}:{identifier} holds it, and is not expected")
