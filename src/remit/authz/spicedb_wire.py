"""Relationships as SpiceDB's API has them, and its errors as ours."""

import base64
import re
from datetime import UTC

import grpc
from authzed.api.v1 import Consistency as WireConsistency
from authzed.api.v1 import (
    ObjectReference,
    RelationshipUpdate,
    SubjectReference,
    ZedToken,
)
from authzed.api.v1 import Relationship as WireRelationship
from google.protobuf.timestamp_pb2 import Timestamp

from remit.authz.errors import PermissionUnknown, PreconditionFailed
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.remote import RemoteError

LONGEST_ID = 1024
_PLAIN_ID = re.compile(r"[a-zA-Z0-9/_|\-+][a-zA-Z0-9/_|\-=+]*")
_ENCODED = "="

_TRANSIENT = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


def encode_object_id(id: str) -> str:
    """An id that SpiceDB takes: as it is where its rules allow, else `=` and base64url of it.

    SpiceDB takes letters, digits and `/_|-=+`; an operator's names of people are often addresses.
    """
    if id == "*" or (_PLAIN_ID.fullmatch(id) and len(id) <= LONGEST_ID):
        return id
    return _ENCODED + base64.urlsafe_b64encode(id.encode()).decode().rstrip("=")


def decode_object_id(id: str) -> str:
    """The id that `encode_object_id` was given."""
    if not id.startswith(_ENCODED):
        return id
    text = id[1:]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode(errors="replace")


def to_object(type: str, id: str) -> ObjectReference:
    """A resource as the API has it."""
    return ObjectReference(object_type=type, object_id=encode_object_id(id))


def to_subject(subject: Subject) -> SubjectReference:
    """A subject as the API has it."""
    return SubjectReference(object=to_object(subject.type, subject.id), optional_relation=subject.relation or "")


def to_wire(relationship: Relationship) -> WireRelationship:
    """A relationship as the API has it."""
    wire = WireRelationship(
        resource=to_object(relationship.resource.type, relationship.resource.id),
        relation=relationship.relation,
        subject=to_subject(relationship.subject),
    )
    if relationship.expires_at is not None:
        expires = Timestamp()
        expires.FromDatetime(relationship.expires_at.astimezone(UTC))
        wire.optional_expires_at.CopyFrom(expires)
    return wire


def from_wire(wire: WireRelationship) -> Relationship:
    """A relationship of the API as ours."""
    subject = wire.subject
    return Relationship(
        Resource(wire.resource.object_type, decode_object_id(wire.resource.object_id)),
        wire.relation,
        Subject(
            subject.object.object_type, decode_object_id(subject.object.object_id), subject.optional_relation or None
        ),
        wire.optional_expires_at.ToDatetime(UTC) if wire.HasField("optional_expires_at") else None,
    )


def touch(relationship: WireRelationship) -> RelationshipUpdate:
    """Write a relationship, whether or not it is there."""
    return RelationshipUpdate(operation=RelationshipUpdate.OPERATION_TOUCH, relationship=relationship)


def delete(relationship: WireRelationship) -> RelationshipUpdate:
    """Remove a relationship, whether or not it is there."""
    return RelationshipUpdate(operation=RelationshipUpdate.OPERATION_DELETE, relationship=relationship)


def at_least_as_fresh(token: str | None) -> WireConsistency:
    """The consistency of a question: at least as fresh as a token; without one, everything that is written."""
    if token is None:
        return WireConsistency(fully_consistent=True)
    return WireConsistency(at_least_as_fresh=ZedToken(token=token))


def translate(error: grpc.aio.AioRpcError) -> Exception:
    """What went wrong, as an error of the port; the text of the other side stays in the cause."""
    code = error.code()
    name = "".join(word.capitalize() for word in code.name.split("_"))
    details = error.details() or ""
    if code is grpc.StatusCode.FAILED_PRECONDITION and "precondition" in details:
        return PreconditionFailed("the projection has another version")
    if code is grpc.StatusCode.FAILED_PRECONDITION and "not found" in details:
        return PermissionUnknown(f"SpiceDB's schema lacks it: {details}")
    return RemoteError(
        f"SpiceDB answered {name}",
        transient=code in _TRANSIENT,
        exception_class=name,
        denied=code is grpc.StatusCode.PERMISSION_DENIED,
    )
