"""The engine `spicedb`: a projection of Remit's relationships in SpiceDB, asked and kept over its gRPC API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from authzed.api.v1 import (
    AsyncClient,
    CheckBulkPermissionsRequest,
    CheckBulkPermissionsRequestItem,
    CheckPermissionResponse,
    Cursor,
    LookupResourcesRequest,
    ReadRelationshipsRequest,
    ReadSchemaRequest,
    RelationshipFilter,
    SubjectFilter,
    WriteSchemaRequest,
)
from authzed.api.v1.permission_service_pb2 import LOOKUP_PERMISSIONSHIP_HAS_PERMISSION

from remit.authz.errors import PermissionUnknown, SchemaError
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.remote import Delivery, Question, RemoteError, ResourcePage
from remit.authz.schema import parse_schema
from remit.authz.schema_tree import Schema
from remit.authz.spicedb_projection import extend_schema, version_filter, write_request
from remit.authz.spicedb_wire import (
    at_least_as_fresh,
    decode_object_id,
    encode_object_id,
    from_wire,
    to_object,
    to_subject,
    translate,
)

if TYPE_CHECKING:
    from remit.settings import Settings

# By default a channel whose server was away tries again after up to two minutes, and refuses every call until then; and
# a line that has died without a word is taken for alive for as long as TCP repeats itself.
CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 2_000),
)

Answer = TypeVar("Answer")

_ALLOWED = CheckPermissionResponse.PERMISSIONSHIP_HAS_PERMISSION


class SpiceDB:
    """A SpiceDB as the port `Remote` has it.

    Args:
        channel: to its gRPC API.
        token: its preshared key.
        timeout: seconds that one call may take.
    """

    name = "spicedb"
    bulk_checks = True
    bulk_writes = True
    judges = False
    knows_agents = True

    def __init__(self, channel: grpc.aio.Channel, token: str, timeout: float = 2.0) -> None:
        self._channel = channel
        self._client = _Client(channel)
        self._call: dict[str, Any] = {"metadata": (("authorization", f"Bearer {token}"),), "timeout": timeout}

    @classmethod
    def open(cls, settings: "Settings") -> "SpiceDB":
        """Connect as the settings say; nothing is sent yet.

        Raises:
            RuntimeError: endpoint or token are missing.
        """
        if not settings.spicedb_endpoint or settings.spicedb_token is None:
            raise RuntimeError("REMIT_AUTHZ_ENGINE=spicedb needs REMIT_SPICEDB_ENDPOINT and REMIT_SPICEDB_TOKEN")
        if settings.spicedb_tls:
            roots = settings.spicedb_ca.read_bytes() if settings.spicedb_ca else None
            credentials = grpc.ssl_channel_credentials(root_certificates=roots)
            channel = grpc.aio.secure_channel(settings.spicedb_endpoint, credentials, options=CHANNEL_OPTIONS)
        else:
            channel = grpc.aio.insecure_channel(settings.spicedb_endpoint, options=CHANNEL_OPTIONS)
        return cls(channel, settings.spicedb_token.get_secret_value(), settings.authz_timeout)

    async def aclose(self) -> None:
        """Close the channel."""
        await self._channel.close()

    def takes(self, relationship: Relationship) -> bool:  # noqa: ARG002 - SpiceDB takes whatever the schema has
        """SpiceDB takes whatever the schema allows."""
        return True

    async def write_schema(self, schema: Schema) -> bool:
        """Bring SpiceDB's schema to hold this one; definitions of others stay. Return whether it changed.

        Raises:
            SchemaError: SpiceDB refuses it, or its own schema has what the parser does not cover.
            RemoteError: no answer.
        """
        wanted = await self.find_schema_change(schema)
        if wanted is None:
            return False
        try:
            await self._client.WriteSchema(WriteSchemaRequest(schema=wanted), **self._call)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION):
                raise SchemaError(f"SpiceDB refuses the schema: {error.details()}") from error
            raise translate(error) from error
        return True

    async def find_schema_change(self, schema: Schema) -> str | None:
        """The schema that SpiceDB should have, as text; None if it holds this one already.

        Raises:
            SchemaError: its own schema has what the parser does not cover.
            RemoteError: no answer.
        """
        return extend_schema(await self._read_schema(), schema)

    async def _read_schema(self) -> Schema | None:
        try:
            answer = await self._client.ReadSchema(ReadSchemaRequest(), **self._call)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise translate(error) from error
        return parse_schema(answer.schema_text, "the schema in SpiceDB")

    async def read_token(self) -> str:
        """A zedtoken that knows everything written so far.

        Raises:
            RemoteError: no answer.
        """
        answer = await self._ask(self._client.ReadSchema(ReadSchemaRequest(), **self._call))
        token: str = answer.read_at.token
        return token

    async def check(self, questions: Sequence[Question], *, at_least: str | None = None) -> list[bool]:
        """The answers, in the order asked, in one round trip.

        Raises:
            RemoteError: no answer, or none to one of the questions.
        """
        if not questions:
            return []
        request = CheckBulkPermissionsRequest(
            consistency=at_least_as_fresh(at_least),
            items=[
                CheckBulkPermissionsRequestItem(
                    resource=to_object(question.resource.type, question.resource.id),
                    permission=question.permission,
                    subject=to_subject(question.subject),
                )
                for question in questions
            ],
        )
        answer = await self._ask(self._client.CheckBulkPermissions(request, **self._call))
        if len(answer.pairs) != len(questions):
            raise RemoteError("SpiceDB left questions open", transient=False, exception_class="Incomplete")
        for pair in answer.pairs:
            if pair.HasField("error"):
                if "not found" in pair.error.message:
                    raise PermissionUnknown(f"SpiceDB's schema lacks it: {pair.error.message}")
                raise RemoteError("SpiceDB could not answer", transient=False, exception_class="CheckFailed")
        return [pair.item.permissionship == _ALLOWED for pair in answer.pairs]

    async def lookup_resources(
        self,
        subject: Subject,
        permission: str,
        resource_type: str,
        *,
        at_least: str | None = None,
        cursor: str | None = None,
        limit: int = 1000,
    ) -> ResourcePage:
        """Resources of a type on which `subject` holds `permission`, page by page.

        Raises:
            RemoteError: no answer.
        """
        request = LookupResourcesRequest(
            consistency=at_least_as_fresh(at_least),
            resource_object_type=resource_type,
            permission=permission,
            subject=to_subject(subject),
            optional_limit=limit,
        )
        if cursor is not None:
            request.optional_cursor.CopyFrom(Cursor(token=cursor))
        ids: list[str] = []
        after = None
        async with self._typed_errors():
            async for found in self._client.LookupResources(request, **self._call):
                if found.permissionship == LOOKUP_PERMISSIONSHIP_HAS_PERMISSION:
                    ids.append(decode_object_id(found.resource_object_id))
                after = found.after_result_cursor.token
        return ResourcePage(tuple(ids), after if len(ids) >= limit else None)

    async def deliver(self, delivery: Delivery) -> str | None:
        """Write a difference in one WriteRelationships, under the version that it replaces.

        Raises:
            PreconditionFailed: the projection has another version than `delivered`.
            RemoteError: it is unknown whether anything was written, unless it is not transient.
        """
        return await self.deliver_all([delivery])

    async def deliver_all(self, deliveries: Sequence[Delivery]) -> str:
        """Write the differences of several resources in one WriteRelationships: all of them, or none.

        Raises:
            PreconditionFailed, RemoteError: as `deliver`.
        """
        answer = await self._ask(self._client.WriteRelationships(write_request(deliveries), **self._call))
        token: str = answer.written_at.token
        return token

    async def read_resource(self, resource: Resource) -> tuple[list[Relationship], int | None]:
        """The relationships written on a resource, and the version that its projection has."""
        own = RelationshipFilter(resource_type=resource.type, optional_resource_id=encode_object_id(resource.id))
        held = version_filter(resource)
        (relationships, _), (versions, _) = await asyncio.gather(self._read(own, None, 0), self._read(held, None, 0))
        return relationships, max((int(one.subject.id) for one in versions), default=None)

    async def read(
        self, resource_type: str, *, tenant_id: str | None = None, cursor: str | None = None, limit: int = 1000
    ) -> tuple[list[Relationship], str | None]:
        """Every relationship written on resources of a type, page by page, with the cursor of the next page.

        SpiceDB pages through relationships by resource, so that those of one come together.
        """
        wanted = RelationshipFilter(resource_type=resource_type)
        if tenant_id is not None:
            wanted.optional_relation = "tenant"
            wanted.optional_subject_filter.CopyFrom(SubjectFilter(subject_type="tenant", optional_subject_id=tenant_id))
        return await self._read(wanted, cursor, limit)

    async def _read(
        self, wanted: RelationshipFilter, cursor: str | None, limit: int
    ) -> tuple[list[Relationship], str | None]:
        request = ReadRelationshipsRequest(
            consistency=at_least_as_fresh(None), relationship_filter=wanted, optional_limit=limit
        )
        if cursor is not None:
            request.optional_cursor.CopyFrom(Cursor(token=cursor))
        found: list[Relationship] = []
        after = None
        async with self._typed_errors():
            async for answer in self._client.ReadRelationships(request, **self._call):
                found.append(from_wire(answer.relationship))
                after = answer.after_result_cursor.token
        return found, after if limit and len(found) >= limit else None

    async def probe(self, questions: Sequence[tuple[str, str]]) -> None:
        """Make sure that each (type, permission) is known to SpiceDB.

        Raises:
            PermissionUnknown: one is not.
            RemoteError: no answer.
        """
        nobody = Subject("user", "remit-probe")
        await self.check(
            [Question(nobody, permission, Resource(type, "remit-probe")) for type, permission in questions]
        )

    async def _ask(self, call: Awaitable[Answer]) -> Answer:
        async with self._typed_errors():
            return await call

    @asynccontextmanager
    async def _typed_errors(self) -> AsyncIterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error


class _Client(AsyncClient):
    """The official client on a channel that is given: its own constructor takes no token without TLS."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.init_stubs(channel)  # type: ignore[attr-defined]  # AsyncClient has it, its published stubs leave it out
