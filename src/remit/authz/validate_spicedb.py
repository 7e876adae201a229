"""Runs SpiceDB's validation files on a real SpiceDB: its library in memory, or a running server that is empty.

Calls are blocking ones: nothing else runs in the command that makes them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remit.authz.errors import AuthzError
from remit.authz.model import Relationship, Resource
from remit.authz.spicedb_library import NoSpiceDB, start_library
from remit.authz.validate import FileResult, judge_case, read_text, refuse
from remit.authz.validation_files import ValidationFile, read_validation_file

if TYPE_CHECKING:
    import grpc

_AT_ONCE = 500
_CALL_SECONDS = 10


class SpiceDBRefuses(AuthzError):
    """SpiceDB did not answer a call as asked; the message is its own."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running SpiceDB, without a schema of its own.

    Attributes:
        endpoint: `host:port` of its gRPC API.
        token: its preshared key.
        tls: whether it is reached over TLS.
        ca: a file of certificates to trust instead of the system's.
    """

    endpoint: str
    token: str
    tls: bool = True
    ca: Path | None = None

    def __repr__(self) -> str:
        return f"Server({self.endpoint})"


@dataclass(frozen=True, slots=True)
class _Spice:
    permissions: Any
    schema: Any
    lookup_subjects: Callable[..., Any]
    call: dict[str, Any]

    def write_schema(self, schema: str) -> None:
        from authzed.api.v1 import WriteSchemaRequest

        with _typed_errors():
            self.schema.WriteSchema(WriteSchemaRequest(schema=schema), **self.call)

    def write_relationships(self, case: ValidationFile) -> None:
        from authzed.api.v1 import WriteRelationshipsRequest

        from remit.authz.spicedb_wire import to_wire, touch

        with _typed_errors():
            for start in range(0, len(case.relationships), _AT_ONCE):
                updates = [touch(to_wire(fact)) for fact in case.relationships[start : start + _AT_ONCE]]
                self.permissions.WriteRelationships(WriteRelationshipsRequest(updates=updates), **self.call)

    async def check(self, question: Relationship) -> bool:
        from authzed.api.v1 import CheckPermissionRequest, CheckPermissionResponse

        from remit.authz.spicedb_wire import at_least_as_fresh, to_object, to_subject

        request = CheckPermissionRequest(
            consistency=at_least_as_fresh(None),
            resource=to_object(question.resource.type, question.resource.id),
            permission=question.relation,
            subject=to_subject(question.subject),
        )
        with _typed_errors():
            answer = self.permissions.CheckPermission(request, **self.call).permissionship
        return bool(answer == CheckPermissionResponse.PERMISSIONSHIP_HAS_PERMISSION)

    async def find_subjects(self, resource: Resource, permission: str, kind: str, relation: str | None) -> set[str]:
        from authzed.api.v1 import LookupSubjectsRequest
        from authzed.api.v1.permission_service_pb2 import LOOKUP_PERMISSIONSHIP_HAS_PERMISSION

        from remit.authz.spicedb_wire import at_least_as_fresh, decode_object_id, to_object

        request = LookupSubjectsRequest(
            consistency=at_least_as_fresh(None),
            resource=to_object(resource.type, resource.id),
            permission=permission,
            subject_object_type=kind,
            optional_subject_relation=relation or "",
        )
        with _typed_errors():
            return {
                decode_object_id(answer.subject.subject_object_id)
                for answer in self.lookup_subjects(request, **self.call)
                if answer.subject.permissionship == LOOKUP_PERMISSIONSHIP_HAS_PERMISSION
            }

    def empty(self, case: ValidationFile) -> None:
        """Take away what was written of a file."""
        import grpc
        from authzed.api.v1 import DeleteRelationshipsRequest, RelationshipFilter

        with _typed_errors():
            for kind in sorted({fact.resource.type for fact in case.relationships}):
                request = DeleteRelationshipsRequest(relationship_filter=RelationshipFilter(resource_type=kind))
                try:
                    self.permissions.DeleteRelationships(request, **self.call)
                except grpc.RpcError as error:
                    # A type that the schema lacks: the file was refused for it, and nothing of it was written.
                    if _code(error) != "FAILED_PRECONDITION":
                        raise
        self.write_schema("")


async def validate_on_spicedb(paths: Sequence[Path], server: Server | None = None) -> list[FileResult]:
    """Ask SpiceDB everything that the files say, in the order given.

    Args:
        paths: the files.
        server: a running SpiceDB; each file's schema and relationships are taken away again. Without one, the library
            on this machine is asked, an empty one for each file.

    Raises:
        NoSpiceDB: the library or the Python binding is missing; or the server does not answer, refuses the token, or
            has a schema, which a file's would replace.
    """
    if server is None:
        results = []
        for path in paths:
            with _open_library() as spice:
                results.append(await _validate(spice, path))
        return results
    with _connect(server) as spice:
        _require_empty(spice, server)
        return [await _validate(spice, path, clean=True) for path in paths]


async def _validate(spice: _Spice, path: Path, *, clean: bool = False) -> FileResult:
    try:
        case = read_validation_file(read_text(path))
    except AuthzError as error:
        return refuse(str(path), error)
    try:
        spice.write_schema(case.schema)
    except SpiceDBRefuses as error:
        return FileResult(str(path), False, (f"SpiceDB refuses the schema: {error}",))
    try:
        spice.write_relationships(case)
        return await judge_case(spice, str(path), case)
    except SpiceDBRefuses as error:
        return FileResult(str(path), False, (f"SpiceDB refuses the relationships: {error}",))
    finally:
        if clean:
            spice.empty(case)


@contextmanager
def _typed_errors() -> Iterator[None]:
    import grpc

    try:
        yield
    except grpc.RpcError as error:
        raise SpiceDBRefuses(f"{_code(error)}: {error.details()}") from error
    except Exception as error:  # the binding has one class for everything
        raise SpiceDBRefuses(str(error)) from error


def _code(error: "grpc.RpcError") -> str:
    return str(error.code().name)


def _require_empty(spice: _Spice, server: Server) -> None:
    import grpc
    from authzed.api.v1 import ReadSchemaRequest

    try:
        spice.schema.ReadSchema(ReadSchemaRequest(), **spice.call)
    except grpc.RpcError as error:
        code = _code(error)
        if code == "NOT_FOUND":
            return
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            raise NoSpiceDB(
                f"SpiceDB at {server.endpoint} refuses the token: give its preshared key in REMIT_SPICEDB_TOKEN"
            ) from error
        advice = (
            "reached over TLS: --no-tls if it has none, REMIT_SPICEDB_CA for a certificate of an authority of your own"
            if server.tls
            else "reached without TLS: leave --no-tls out if it serves TLS"
        )
        raise NoSpiceDB(
            f"no answer from SpiceDB at {server.endpoint} ({code}: {error.details()}): is it running? It was {advice}"
        ) from error
    raise NoSpiceDB(
        f"SpiceDB at {server.endpoint} has a schema, which each file's would replace: name an empty one, "
        "for example `spicedb serve-testing`"
    )


@contextmanager
def _connect(server: Server) -> Iterator[_Spice]:
    try:
        import grpc
        from authzed.api.v1.permission_service_pb2_grpc import PermissionsServiceStub
        from authzed.api.v1.schema_service_pb2_grpc import SchemaServiceStub
    except ImportError as error:
        raise NoSpiceDB('the client of SpiceDB is missing: pip install "remit[spicedb]"') from error
    if server.tls:
        credentials = grpc.ssl_channel_credentials(server.ca.read_bytes() if server.ca else None)
        channel = grpc.secure_channel(server.endpoint, credentials)
    else:
        channel = grpc.insecure_channel(server.endpoint)
    with channel:
        permissions = PermissionsServiceStub(channel)
        call = {"metadata": (("authorization", f"Bearer {server.token}"),), "timeout": _CALL_SECONDS}
        yield _Spice(permissions, SchemaServiceStub(channel), permissions.LookupSubjects, call)


@contextmanager
def _open_library() -> Iterator[_Spice]:
    spice = start_library()
    from authzed.api.v1.permission_service_pb2_grpc import PermissionsServiceStub

    try:
        # The library takes unary calls in its process only, and streams on its socket only.
        streams = PermissionsServiceStub(spice.channel())
        yield _Spice(spice.permissions(), spice.schema(), streams.LookupSubjects, {})
    finally:
        spice.close()
