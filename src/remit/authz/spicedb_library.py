"""SpiceDB's library, which runs a SpiceDB in this process: for validation files, and for tests."""

import ctypes
import os
from pathlib import Path
from typing import Any, Final

LIBRARY: Final = Path.home() / ".cache" / "remit" / "spicedb" / "package" / "prebuilds" / "linux-x64" / "libspicedb.so"
"""Where `scripts/get-spicedb` puts it."""


class NoSpiceDB(Exception):
    """There is no SpiceDB to ask; the message says how to get one."""


def find_library() -> Path:
    """The file that `SPICEDB_LIBRARY_PATH` names, or else the one that the script puts.

    Raises:
        NoSpiceDB: there is none.
    """
    path = Path(os.environ.get("SPICEDB_LIBRARY_PATH") or LIBRARY)
    if not path.exists():
        raise NoSpiceDB(
            f"no SpiceDB library at {path}: run scripts/get-spicedb, name libspicedb.so in SPICEDB_LIBRARY_PATH, "
            "or name a running SpiceDB with --endpoint"
        )
    return path


def start_library(datastore_uri: str | None = None) -> Any:
    """A SpiceDB in this process, the binding's own object; `close` it when done.

    Args:
        datastore_uri: a PostgreSQL that holds SpiceDB's tables; without one it is empty, and in memory.

    Raises:
        NoSpiceDB: the library or its Python binding is missing.
    """
    os.environ["SPICEDB_LIBRARY_PATH"] = str(find_library())
    try:
        from spicedb_embedded import EmbeddedSpiceDB, StartOptions, ffi
    except ImportError as error:
        raise NoSpiceDB("the binding of SpiceDB's library is missing: pip install spicedb-embedded==0.7.1") from error
    # The binding hides every server error behind an ArgumentError unless its free function takes any pointer.
    ffi._get_lib().spicedb_free.argtypes = [ctypes.c_void_p]
    if datastore_uri is None:
        return EmbeddedSpiceDB.start()
    return EmbeddedSpiceDB.start(options=StartOptions(datastore="postgres", datastore_uri=datastore_uri))
