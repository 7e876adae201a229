"""A server of our own for one use, with the stand-ins for extensions that it does not ship."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from remit.db.binaries import Binaries, find_shipped_binaries
from remit.db.embedded import EmbeddedPostgres
from remit.db.throwaway import start_throwaway
from remit.migrations.stand_ins import install_stand_ins


@contextmanager
def open_scratch_server(settings: Mapping[str, str], binaries: Binaries | None = None) -> Iterator[EmbeddedPostgres]:
    """A server for as long as the block lasts.

    Args:
        settings: of the server.
        binaries: a PostgreSQL installation to use instead of the wheel's.

    Raises:
        DatabaseSetupError: it does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="remit-scratch-", dir="/tmp"))  # a socket's path must be short
    extensions = Path(tempfile.mkdtemp(prefix="remit-extensions-", dir="/tmp"))
    try:
        options = {**settings, **install_stand_ins(extensions, binaries or find_shipped_binaries())}
        server = start_throwaway(folder, options=options, binaries=binaries)
        try:
            yield server
        finally:
            server.stop_blocking()
    finally:
        for made in (folder, extensions):
            shutil.rmtree(made, ignore_errors=True)
