"""Runs SpiceDB's validation files against the embedded engine: assertions, and the block of expected subjects."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from remit.authz.engine import Connection
from remit.authz.errors import AuthzError, RelationshipError, SchemaError
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


@dataclass(slots=True)
class _Run:
    engine: PostgresEngine
    connection: Connection
    failures: list[str] = field(default_factory=list)
    questions: int = 0


async def validate_files(connection: Connection, paths: Sequence[Path]) -> list[FileResult]:
    """Run each file in a savepoint that is undone, in the order given.

    Args:
        connection: a connection in a transaction, to a database that is best thrown away afterwards.
        paths: the files.
    """
    return [await validate_text(connection, str(path), path.read_text("utf-8")) for path in paths]


async def validate_text(connection: Connection, name: str, text: str) -> FileResult:
    """Run one file's text in a savepoint that is undone."""
    savepoint = connection.transaction()
    await savepoint.start()
    try:
        case = read_validation_file(text)
        engine = await PostgresEngine.load(connection, case.schema, "validate", name, replace=True)
        await engine.write(connection, touch=case.relationships)
        run = _Run(engine, connection)
        for question in case.allowed:
            await _assert(run, question, True)
        for question in case.denied:
            await _assert(run, question, False)
        await _compare_expected(run, case)
        return FileResult(name, not run.failures, tuple(run.failures), None, run.questions)
    except AuthzError as error:
        caveats = isinstance(error, SchemaError | RelationshipError) and "caveats are not supported" in str(error)
        return FileResult(name, False, (str(error),), "caveats" if caveats else None)
    finally:
        await savepoint.rollback()


async def _assert(run: _Run, question: Relationship, expected: bool) -> None:
    run.questions += 1
    try:
        async with run.connection.transaction():
            answer = await run.engine.check(run.connection, question.subject, question.relation, question.resource)
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
    kinds = {(definition.name, None) for definition in run.engine.schema.definitions} | expected.keys()
    for kind, relation in sorted(kinds, key=str):
        wanted = expected.get((kind, relation), set())
        found = await _find_subjects(run, resource, permission, kind, relation)
        run.questions += 1
        missing = wanted - found
        # Who holds it as one of everyone is not listed one by one, and a set's own members are not sets.
        extra = set() if "*" in wanted or relation is not None else found - wanted
        for identifier in sorted(missing):
            run.failures.append(f"{resource}#{permission}: {kind}:{identifier} should hold it, and does not")
        for identifier in sorted(extra):
            run.failures.append(f"{resource}#{permission}: {kind}:{identifier} holds it, and is not expected")


async def _find_subjects(run: _Run, resource: Resource, permission: str, kind: str, relation: str | None) -> set[str]:
    found: list[str] = []
    while True:
        page = await run.engine.lookup_subjects(
            run.connection, resource, permission, kind, relation, after=found[-1] if found else None, limit=_PAGE
        )
        found += page
        if len(page) < _PAGE:
            return set(found)
