"""What Remit keeps of itself in a SpiceDB: a definition beside the operator's own, and a version of each projection.

`remit_projection:<type>/<id>#version@remit_version:<n>` is the version of a resource's projection. Each write names the
version that it replaces as a precondition and is one atomic WriteRelationships, so that a write that arrives late, or
twice, changes nothing.
"""

from collections.abc import Sequence

from authzed.api.v1 import (
    Precondition,
    RelationshipFilter,
    RelationshipUpdate,
    SubjectFilter,
    SubjectReference,
    WriteRelationshipsRequest,
)
from authzed.api.v1 import Relationship as WireRelationship

from remit.authz.model import Resource
from remit.authz.remote import Delivery
from remit.authz.schema import parse_schema
from remit.authz.schema_change import compare_schemas
from remit.authz.schema_print import print_schema
from remit.authz.schema_tree import Schema
from remit.authz.spicedb_wire import delete, encode_object_id, to_object, to_wire, touch

_PROJECTION, _VERSION = "remit_projection", "remit_version"
_BOOKKEEPING = f"""
definition {_VERSION} {{}}

/** {_PROJECTION} is the version of what Remit has written of a resource. */
definition {_PROJECTION} {{
    relation version: {_VERSION}
}}
"""


def extend_schema(theirs: Schema | None, schema: Schema) -> str | None:
    """The schema that a SpiceDB should have, as text; None if it has it.

    Args:
        theirs: what it has, None for nothing; definitions of others stay.
        schema: what it is to hold besides Remit's own definitions.
    """
    ours = parse_schema(print_schema(schema) + _BOOKKEEPING, "schema.zed")
    named = {definition.name for definition in ours.definitions}
    kept = tuple(definition for definition in theirs.definitions if definition.name not in named) if theirs else ()
    flags = tuple(dict.fromkeys((*(theirs.flags if theirs else ()), *ours.flags)))
    wanted = print_schema(Schema(definitions=(*kept, *ours.definitions), flags=flags))
    if theirs is not None and not compare_schemas(theirs, parse_schema(wanted)):
        return None
    return wanted


def write_request(deliveries: Sequence[Delivery]) -> WriteRelationshipsRequest:
    """The differences of several resources in one write, each under the version that it replaces."""
    updates: list[RelationshipUpdate] = []
    conditions: list[Precondition] = []
    for delivery in deliveries:
        held = version_filter(delivery.resource)
        updates += [delete(to_wire(gone)) for gone in delivery.delete]
        updates += [touch(to_wire(written)) for written in delivery.touch]
        operation = Precondition.OPERATION_MUST_NOT_MATCH
        if delivery.delivered is not None:
            operation = Precondition.OPERATION_MUST_MATCH
            held.optional_subject_filter.CopyFrom(
                SubjectFilter(subject_type=_VERSION, optional_subject_id=str(delivery.delivered))
            )
            if delivery.delivered != delivery.version:
                updates.append(delete(_version(delivery.resource, delivery.delivered)))
        updates.append(touch(_version(delivery.resource, delivery.version)))
        conditions.append(Precondition(operation=operation, filter=held))
    return WriteRelationshipsRequest(updates=updates, optional_preconditions=conditions)


def version_filter(resource: Resource) -> RelationshipFilter:
    """What finds the version of a resource's projection."""
    return RelationshipFilter(resource_type=_PROJECTION, optional_resource_id=_key(resource))


def _key(resource: Resource) -> str:
    return f"{resource.type}/{encode_object_id(resource.id)}"


def _version(resource: Resource, version: int) -> WireRelationship:
    return WireRelationship(
        resource=to_object(_PROJECTION, _key(resource)),
        relation="version",
        subject=SubjectReference(object=to_object(_VERSION, str(version))),
    )
