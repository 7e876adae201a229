"""A real SpiceDB that speaks gRPC: the library of `scripts/get-spicedb` behind a server of our own.

The library takes unary calls in its process only, and streams on a unix socket only; this hands both on, so that the
product's client runs unchanged. Where a `spicedb` program is on the PATH, that is run instead.

Run as a program: `python -m support.spicedb_host PORT TOKEN DATABASE CERTIFICATE`, the last two perhaps empty. It
prints `ready` once it serves.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psycopg
from authzed.api.v1 import permission_service_pb2 as permissions
from authzed.api.v1 import schema_service_pb2 as schemas
from support.processes import free_port, wait_until_listening

from remit.authz.spicedb_library import start_library

TOKEN = "a token of the tests"
STORE = [Path(__file__).with_name(f"spicedb_{name}.sql") for name in ("tables", "indexes")]
START_SECONDS = 30

_UNARY = {
    "PermissionsService": (
        "permissions",
        permissions,
        (
            "CheckPermission",
            "CheckBulkPermissions",
            "WriteRelationships",
            "DeleteRelationships",
            "ExpandPermissionTree",
        ),
    ),
    "SchemaService": ("schema", schemas, ("ReadSchema", "WriteSchema")),
}
_STREAMS = ("ReadRelationships", "LookupResources", "LookupSubjects")


@dataclass(frozen=True)
class SpiceProcess:
    """A running SpiceDB."""

    endpoint: str
    token: str
    process: subprocess.Popen[str]


@contextmanager
def run_spicedb(
    port: int | None = None,
    *,
    pausable: bool = False,
    postgres: str | None = None,
    certificate: Path | None = None,
) -> Iterator[SpiceProcess]:
    """An empty SpiceDB in a process of its own, until the end of the block.

    Args:
        port: to listen on.
        postgres: an empty database for it; by default it has everything in memory, where one precondition
            takes time by all that is held.
        pausable: the signal SIGUSR1 makes writes of relationships wait, SIGUSR2 lets new ones through again.
        certificate: serve over TLS with this certificate and key, in one file.
    """
    port = port or free_port()
    program = None if pausable else shutil.which("spicedb")
    if program:
        store = ["--datastore-engine=memory"]
        if postgres:
            store = ["--datastore-engine=postgres", f"--datastore-conn-uri={postgres}"]
            subprocess.run([program, "datastore", "migrate", "head", *store], check=True, stdout=subprocess.DEVNULL)
        flags = [f"--grpc-addr=127.0.0.1:{port}", f"--grpc-preshared-key={TOKEN}", *store]
        if certificate is not None:
            flags += [f"--grpc-tls-cert-path={certificate}", f"--grpc-tls-key-path={certificate}"]
        command = [program, "serve", *flags, "--http-enabled=false", "--metrics-enabled=false"]
    else:
        if postgres:
            with psycopg.connect(postgres, autocommit=True) as connection:
                for file in STORE:
                    connection.execute(file.read_bytes())
        options = [postgres or "", str(certificate or "")]
        command = [sys.executable, "-m", "support.spicedb_host", str(port), TOKEN, *options]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    output = subprocess.DEVNULL if program else subprocess.PIPE
    process = subprocess.Popen(command, env=environment, stdout=output, text=True)
    try:
        if program:
            wait_until_listening(port, process)
        else:
            assert process.stdout is not None, "it is a pipe"
            line = process.stdout.readline()
            assert line == "ready\n", f"SpiceDB did not start: {line!r}; run scripts/get-spicedb"
        yield SpiceProcess(f"127.0.0.1:{port}", TOKEN, process)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def _refuse_strangers(context: Any, token: str) -> None:
    sent = dict(context.invocation_metadata())
    if sent.get("authorization") != f"Bearer {token}":
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is not the one")


class Pause:
    """Whether writes wait."""

    on = False


def _unary(call: Callable[[Any], Any], token: str, *, writes: bool) -> Callable[[Any, Any], Any]:
    async def handle(request: Any, context: Any) -> Any:
        await _refuse_strangers(context, token)
        if writes and Pause.on:
            await asyncio.Event().wait()
        try:
            return await asyncio.to_thread(call, request)
        except Exception as error:  # noqa: BLE001 - the binding has one class for everything
            await context.abort(_code_of(str(error)), str(error).partition(" desc = ")[2] or str(error))

    return handle


def _one_by_one(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A call that waits for the one before, also where whoever asked for that has given up waiting."""
    lock = threading.Lock()

    def wait_and_call(request: Any) -> Any:
        with lock:
            return call(request)

    return wait_and_call


def _code_of(text: str) -> grpc.StatusCode:
    # The library tells the code in words: `rpc error: code = FailedPrecondition desc = …`.
    words = text.partition("code = ")[2].partition(" ")[0]
    for code in grpc.StatusCode:
        if code.name.replace("_", "").lower() == words.lower():
            return code
    return grpc.StatusCode.FAILED_PRECONDITION if "precondition" in text.lower() else grpc.StatusCode.INVALID_ARGUMENT


def _stream(call: Callable[[bytes], Any], token: str) -> Callable[[bytes, Any], Any]:
    async def handle(request: bytes, context: Any) -> AsyncIterator[bytes]:
        await _refuse_strangers(context, token)
        try:
            async for answer in call(request):
                yield answer
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")

    return handle


async def serve(port: int, token: str, postgres: str | None, certificate: bytes | None) -> None:
    """Serve until a signal comes."""
    spice = start_library(postgres)
    # As bytes: neither side's messages are its business, and reading a whole graph is hundreds of thousands of them.
    streams = grpc.aio.insecure_channel(f"unix://{spice.streaming_address()}")
    server = grpc.aio.server()
    for service, (attribute, module, methods) in _UNARY.items():
        handlers: dict[str, Any] = {}
        for method in methods:
            call, writes = getattr(getattr(spice, attribute)(), method), method == "WriteRelationships"
            if writes and postgres is None:
                # After two writes at once, what is read from the store in memory may be without one of them until a
                # third one comes, "fully consistent" as it was asked for.
                call = _one_by_one(call)
            handlers[method] = grpc.unary_unary_rpc_method_handler(
                _unary(call, token, writes=writes),
                request_deserializer=getattr(module, f"{method}Request").FromString,
                response_serializer=getattr(module, f"{method}Response").SerializeToString,
            )
        if service == "PermissionsService":
            for method in _STREAMS:
                stream: Any = streams.unary_stream(f"/authzed.api.v1.{service}/{method}")
                handlers[method] = grpc.unary_stream_rpc_method_handler(_stream(stream, token))
        name = f"authzed.api.v1.{service}"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    if certificate is None:
        server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        credentials = grpc.ssl_server_credentials([(certificate, certificate)])
        server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, setattr, Pause, "on", True)
    loop.add_signal_handler(signal.SIGUSR2, setattr, Pause, "on", False)
    await ended.wait()
    await server.stop(0.5)


if __name__ == "__main__":
    number, key, store, pem = sys.argv[1:]
    asyncio.run(serve(int(number), key, store or None, Path(pem).read_bytes() if pem else None))
