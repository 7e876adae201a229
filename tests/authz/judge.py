"""The real SpiceDB, in this process, as the judge of the embedded engine.

The library is put in place by `scripts/get-spicedb`; a judge that is missing is an error, not a skipped test.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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

LIBRARY = Path.home() / ".cache" / "remit" / "spicedb" / "package" / "prebuilds" / "linux-x64" / "libspicedb.so"
HAS_PERMISSION = CheckPermissionResponse.PERMISSIONSHIP_HAS_PERMISSION


class JudgeRefuses(Exception):
    """SpiceDB refuses the schema or the relationships."""


class Judge:
    """One empty SpiceDB; `close` it when done."""

    def __init__(self) -> None:
        if not LIBRARY.exists():
            raise RuntimeError(f"no SpiceDB at {LIBRARY}: run scripts/get-spicedb")
        os.environ["SPICEDB_LIBRARY_PATH"] = str(LIBRARY)
        from spicedb_embedded import EmbeddedSpiceDB, ffi

        # The binding hides every server error behind an ArgumentError unless its free function takes any pointer.
        ffi._get_lib().spicedb_free.argtypes = [ctypes.c_void_p]
        self._spice: Any = EmbeddedSpiceDB.start()

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

    def check(self, questions: Sequence[Relationship]) -> list[bool | str]:
        """Answers in order: True, False, or the text of SpiceDB's error."""
        answers: list[bool | str] = []
        for start in range(0, len(questions), 100):
            chunk = questions[start : start + 100]
            request = CheckBulkPermissionsRequest(
                consistency=Consistency(fully_consistent=True),
                items=[
                    CheckBulkPermissionsRequestItem(
                        resource=ObjectReference(object_type=item.resource.type, object_id=item.resource.id),
                        permission=item.relation,
                        subject=_subject(item),
                    )
                    for item in chunk
                ],
            )
            response = self._spice.permissions().CheckBulkPermissions(request)
            for pair in response.pairs:
                if pair.HasField("error"):
                    answers.append(pair.error.message)
                else:
                    answers.append(pair.item.permissionship == HAS_PERMISSION)
        return answers


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
