"""The real SpiceDB as the judge of the embedded engine.

It runs in a process of its own: on a world with crossing cycles a check branches at every level down to the depth
limit, which takes longer than anybody waits, and the library cannot be interrupted. The library is put in place by
`scripts/get-spicedb`; a judge that is missing is an error, not a skipped test.
"""

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection

from authzed.api.v1 import (
    CheckBulkPermissionsRequest,
    CheckBulkPermissionsRequestItem,
    CheckPermissionResponse,
    Consistency,
    ObjectReference,
    RelationshipUpdate,
    SubjectReference,
    WriteRelationshipsRequest,
    WriteSchemaRequest,
)
from authzed.api.v1 import Relationship as WireRelationship
from google.protobuf.timestamp_pb2 import Timestamp

from remit.authz.model import Relationship
from remit.authz.spicedb_library import find_library, start_library

TOO_SLOW = "too slow"
THREADS = 4
HAS_PERMISSION = CheckPermissionResponse.PERMISSIONSHIP_HAS_PERMISSION


class JudgeRefuses(Exception):
    """SpiceDB refuses the schema or the relationships."""


class _Spice:
    """One empty SpiceDB in this process; `close` it when done."""

    def __init__(self) -> None:
        self._spice = start_library()

    def close(self) -> None:
        self._spice.close()

    def load(self, schema: str, relationships: Sequence[Relationship]) -> None:
        """Put a schema and relationships into the empty SpiceDB.

        Raises:
            JudgeRefuses: it does not take them.
        """
        try:
            self._spice.schema().WriteSchema(WriteSchemaRequest(schema=schema))
            for start in range(0, len(relationships), 500):
                updates = [
                    RelationshipUpdate(operation=RelationshipUpdate.OPERATION_TOUCH, relationship=_wire(relationship))
                    for relationship in relationships[start : start + 500]
                ]
                self._spice.permissions().WriteRelationships(WriteRelationshipsRequest(updates=updates))
        except Exception as error:  # the binding has one class for everything
            raise JudgeRefuses(str(error)) from error

    def check(self, question: Relationship) -> bool | str:
        """The answer, or the text of SpiceDB's error."""
        request = CheckBulkPermissionsRequest(
            consistency=Consistency(fully_consistent=True),
            items=[
                CheckBulkPermissionsRequestItem(
                    resource=ObjectReference(object_type=question.resource.type, object_id=question.resource.id),
                    permission=question.relation,
                    subject=_subject(question),
                )
            ],
        )
        pair = self._spice.permissions().CheckBulkPermissions(request).pairs[0]
        if pair.HasField("error"):
            message: str = pair.error.message
            return message
        return bool(pair.item.permissionship == HAS_PERMISSION)


def try_schemas(texts: Sequence[str]) -> list[str | None]:
    """What SpiceDB says against each of these schemas; None where it takes one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _hush) as pool:
        return pool.submit(_try_schemas, list(texts)).result()


def _try_schemas(texts: list[str]) -> list[str | None]:
    spice, found = _Spice(), list[str | None]()
    try:
        for text in texts:
            try:
                spice.load(text, [])
                found.append(None)
            except JudgeRefuses as refusal:
                found.append(str(refusal))
    finally:
        spice.close()
    return found


class Judge:
    """Puts cases to SpiceDB, one after the other, each to an empty one.

    Args:
        patience: seconds after which the questions of a case that are not answered yet count as too slow.
    """

    def __init__(self, patience: float = 2.0) -> None:
        find_library()
        self._patience = patience
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        # Its start is not part of anybody's patience.
        self._pipe.recv()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def ask(
        self, schema: str, relationships: Sequence[Relationship], questions: Sequence[Relationship]
    ) -> list[bool | str]:
        """The answers, in order: True, False, the text of SpiceDB's error, or `TOO_SLOW`.

        Raises:
            JudgeRefuses: SpiceDB does not take the schema or the relationships.
        """
        answers: list[bool | str] = [TOO_SLOW] * len(questions)
        self._pipe.send((schema, list(relationships), list(questions)))
        until = time.monotonic() + self._patience
        for _ in questions:
            if not self._pipe.poll(max(until - time.monotonic(), 0)):
                self.close()
                self._start()
                return answers
            place, answer = self._pipe.recv()
            if place is None:
                raise JudgeRefuses(answer)
            answers[place] = answer
        return answers


def _hush() -> None:
    """Close the process's own outputs: the library logs each call there."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)


def _serve(pipe: Connection) -> None:
    _hush()
    pipe.send("ready")
    # Several at once, so that one slow question does not keep the others from their answers.
    with ThreadPoolExecutor(THREADS) as pool:
        while True:
            try:
                schema, relationships, questions = pipe.recv()
            except EOFError:
                return
            spice = _Spice()
            try:
                spice.load(schema, relationships)
                places = {pool.submit(spice.check, question): place for place, question in enumerate(questions)}
                for answered in as_completed(places):
                    pipe.send((places[answered], answered.result()))
            except JudgeRefuses as refusal:
                pipe.send((None, str(refusal)))
            finally:
                spice.close()


def _subject(relationship: Relationship) -> SubjectReference:
    subject = relationship.subject
    return SubjectReference(
        object=ObjectReference(object_type=subject.type, object_id=subject.id),
        optional_relation=subject.relation or "",
    )


def _wire(relationship: Relationship) -> WireRelationship:
    wire = WireRelationship(
        resource=ObjectReference(object_type=relationship.resource.type, object_id=relationship.resource.id),
        relation=relationship.relation,
        subject=_subject(relationship),
    )
    if relationship.expires_at is not None:
        stamp = Timestamp()
        stamp.FromDatetime(relationship.expires_at)
        wire.optional_expires_at.CopyFrom(stamp)
    return wire
