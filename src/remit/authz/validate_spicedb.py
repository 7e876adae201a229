"""Runs SpiceDB's validation files on a real SpiceDB: its library, in memory, an empty one for each file."""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remit.authz.errors import AuthzError
from remit.authz.model import Relationship
from remit.authz.validate import FileResult
from remit.authz.validation_files import read_validation_file

LIBRARY = Path.home() / ".cache" / "remit" / "spicedb" / "package" / "prebuilds" / "linux-x64" / "libspicedb.so"
_AT_ONCE = 500


class NoSpiceDB(Exception):
    """There is no SpiceDB to ask; the message says how to get one."""


def validate_on_spicedb(paths: Sequence[Path]) -> list[FileResult]:
    """Ask SpiceDB every assertion of the files; the block of expected subjects is left to `zed validate`.

    Raises:
        NoSpiceDB: the library or the Python binding is missing.
    """
    return [_validate(str(path), path.read_text("utf-8")) for path in paths]


def _validate(name: str, text: str) -> FileResult:
    from authzed.api.v1 import CheckPermissionRequest, CheckPermissionResponse, WriteRelationshipsRequest
    from authzed.api.v1 import WriteSchemaRequest as WriteSchema

    from remit.authz.spicedb_wire import at_least_as_fresh, to_object, to_subject, to_wire, touch

    try:
        case = read_validation_file(text)
    except AuthzError as error:
        unsupported = "caveats" if "caveats are not supported" in str(error) else None
        return FileResult(name, False, (str(error),), unsupported)
    with _open() as spice:

        def ask(question: Relationship) -> bool:
            request = CheckPermissionRequest(
                consistency=at_least_as_fresh(None),
                resource=to_object(question.resource.type, question.resource.id),
                permission=question.relation,
                subject=to_subject(question.subject),
            )
            answer = spice.permissions().CheckPermission(request).permissionship
            return bool(answer == CheckPermissionResponse.PERMISSIONSHIP_HAS_PERMISSION)

        failures = []
        try:
            spice.schema().WriteSchema(WriteSchema(schema=case.schema))
            for start in range(0, len(case.relationships), _AT_ONCE):
                updates = [touch(to_wire(fact)) for fact in case.relationships[start : start + _AT_ONCE]]
                spice.permissions().WriteRelationships(WriteRelationshipsRequest(updates=updates))
        except Exception as error:  # noqa: BLE001 - the binding has one class for everything
            return FileResult(name, False, (f"SpiceDB refuses it: {error}",))
        for expected, questions in ((True, case.allowed), (False, case.denied)):
            for question in questions:
                try:
                    answer = ask(question)
                except Exception as error:  # noqa: BLE001 - as above
                    failures.append(f"{question}: {error}")
                    continue
                if answer is not expected:
                    failures.append(f"{question} is {'allowed' if answer else 'denied'}, and must not be")
    return FileResult(name, not failures, tuple(failures), None, len(case.allowed) + len(case.denied))


@contextmanager
def _open() -> Iterator[Any]:
    path = Path(os.environ.get("SPICEDB_LIBRARY_PATH") or LIBRARY)
    if not path.exists():
        raise NoSpiceDB(
            f"no SpiceDB library at {path}: run scripts/get-spicedb, or name libspicedb.so in SPICEDB_LIBRARY_PATH"
        )
    os.environ["SPICEDB_LIBRARY_PATH"] = str(path)
    try:
        from spicedb_embedded import EmbeddedSpiceDB, ffi
    except ImportError as error:
        raise NoSpiceDB("the binding of SpiceDB's library is missing: pip install spicedb-embedded==0.7.1") from error
    # The binding hides every server error behind an ArgumentError unless its free function takes any pointer.
    ffi._get_lib().spicedb_free.argtypes = [ctypes.c_void_p]
    spice = EmbeddedSpiceDB.start()
    try:
        yield spice
    finally:
        spice.close()
