"""SpiceDB's own validation files hold, and lookups agree with checks on them."""

from pathlib import Path

import asyncpg
import pytest

from remit.authz.model import Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.validation_files import read_validation_file

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "conformance"
FILES = sorted(FOLDER.glob("*.yaml"))
CASES = {path.stem: path.read_text() for path in FILES}


def test_the_files_are_there() -> None:
    assert len(FILES) >= 20, f"no validation files in {FOLDER}: check out 'shared' beside the repository"


@pytest.mark.parametrize("name", CASES)
async def test_conformance(name: str, connection: asyncpg.Connection) -> None:
    case = read_validation_file(CASES[name])
    engine = await PostgresEngine.load(connection, case.schema, "test", replace=True)
    await engine.write(connection, touch=case.relationships)
    for expected, questions in ((True, case.allowed), (False, case.denied)):
        for question in questions:
            answer = await engine.check(connection, question.subject, question.relation, question.resource)
            assert answer is expected, str(question)
    subjects = {Subject(item.subject.type, item.subject.id) for item in case.relationships} - {
        Subject(item.subject.type, "*") for item in case.relationships
    }
    objects = {item.resource for item in case.relationships} | {
        Resource(item.subject.type, item.subject.id) for item in case.relationships if item.subject.id != "*"
    }
    for subject in subjects:
        for definition in engine.schema.definitions:
            resources = [resource for resource in objects if resource.type == definition.name]
            for member in definition.members:
                answers = await engine.check_many(connection, subject, member.name, resources)
                held = {resource.id for resource, answer in zip(resources, answers, strict=True) if answer}
                for size in (1, 3, 100):
                    found: list[str] = []
                    while True:
                        page = await engine.lookup_resources(
                            connection,
                            subject,
                            member.name,
                            definition.name,
                            after=found[-1] if found else None,
                            limit=size,
                        )
                        found += page
                        if len(page) < size:
                            break
                    assert len(found) == len(set(found))
                    assert set(found) == held, f"{subject} {definition.name}#{member.name} at page size {size}"
