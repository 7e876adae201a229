"""The embedded server: shared, and back after any crash."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import asyncpg
import psycopg
import pytest
from support.databases import OLDEST

from remit.db.cluster import is_alive
from remit.db.connect import check_version, open_database
from remit.db.embedded import EmbeddedPostgres, stop_server
from remit.db.errors import DataDirectoryError, ServerFailedError, UnsupportedServerError, WrongMajorVersionError
from remit.db.throwaway import remove_unused
from remit.settings import Settings

_HOLD = """
import sys, time
from pathlib import Path
from remit.db.embedded import EmbeddedPostgres
server = EmbeddedPostgres.start_blocking(Path(sys.argv[1]))
print(server.pid, flush=True)
sys.stdin.read()
server.stop_blocking()
"""


def _start_user(data_dir: Path) -> subprocess.Popen[str]:
    """Another process that uses the server until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _read_pid(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


async def test_first_start_serves_both_drivers_and_the_last_user_stops_it(data_dir: Path) -> None:
    first = await EmbeddedPostgres.start(data_dir)
    second = await EmbeddedPostgres.start(data_dir)
    assert first.pid == second.pid is not None
    pid = first.pid
    assert pid is not None
    connection = await asyncpg.connect(first.dsn)
    assert await connection.fetchval("SELECT current_setting('listen_addresses') || current_database()") == "remit"
    assert await connection.fetchval("SHOW track_commit_timestamp") == "on"
    await connection.close()
    with psycopg.connect(first.dsn) as other:
        assert other.info.encoding == "utf-8"
    await first.stop()
    assert is_alive(pid)
    await second.stop()
    await second.stop()
    assert not is_alive(pid)


async def test_two_processes_share_one_server_and_it_outlives_the_one_that_started_it(data_dir: Path) -> None:
    with _start_user(data_dir) as starter, _start_user(data_dir) as other:
        pid = _read_pid(starter)
        assert _read_pid(other) == pid
        starter.kill()
        starter.wait()
        assert is_alive(pid)
        other.communicate()
    assert not is_alive(pid)


def test_after_every_user_was_killed_the_next_one_attaches_and_stops_it(data_dir: Path) -> None:
    with _start_user(data_dir) as user:
        pid = _read_pid(user)
        user.kill()
    server = EmbeddedPostgres.start_blocking(data_dir)
    assert server.pid == pid
    with pytest.raises(DataDirectoryError, match="another Remit process uses"):
        stop_server(data_dir)
    assert server.stop_blocking()
    assert not is_alive(pid)
    assert not stop_server(data_dir)


def test_a_server_left_behind_is_stopped_on_request(data_dir: Path) -> None:
    with _start_user(data_dir) as user:
        pid = _read_pid(user)
        user.kill()
    assert stop_server(data_dir)
    assert not is_alive(pid)


async def test_a_killed_server_is_started_again_with_its_data_and_the_same_address(data_dir: Path) -> None:
    async with open_database(Settings(data_dir=data_dir, database_url=None), watch=True) as dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        pid = int((data_dir / "postgres" / "18" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        for _ in range(600):
            try:
                with psycopg.connect(dsn) as connection:
                    assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
                break
            except psycopg.OperationalError:
                await asyncio.sleep(0.05)
        else:
            pytest.fail("the server did not come back")
    assert not is_alive(pid)


def test_a_pid_file_that_names_another_process_does_not_stop_the_start(data_dir: Path) -> None:
    EmbeddedPostgres.start_blocking(data_dir).stop_blocking()
    pid_file = data_dir / "postgres" / "18" / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n1\n5432\n\n\n")
    server = EmbeddedPostgres.start_blocking(data_dir)
    assert server.pid not in (None, os.getpid())
    server.stop_blocking()


def test_a_server_that_exits_at_once_is_reported_with_its_own_words(data_dir: Path) -> None:
    with pytest.raises(ServerFailedError, match="shared_buffers"):
        EmbeddedPostgres.start_blocking(data_dir, options={"shared_buffers": "nonsense"})
    EmbeddedPostgres.start_blocking(data_dir).stop_blocking()


def test_a_half_initialised_cluster_is_made_anew(data_dir: Path) -> None:
    EmbeddedPostgres.start_blocking(data_dir).stop_blocking()
    cluster = data_dir / "postgres" / "18"
    (cluster / "data").rename(cluster / "data.new")
    (cluster / "data.new" / "global" / "pg_control").unlink()
    (data_dir / "postgres" / "current").unlink()
    EmbeddedPostgres.start_blocking(data_dir).stop_blocking()


def test_nobody_else_can_look_into_the_data(data_dir: Path) -> None:
    server = EmbeddedPostgres.start_blocking(data_dir)
    try:
        expected = 0o711 if os.geteuid() == 0 else 0o700
        assert stat.S_IMODE(data_dir.stat().st_mode) == expected
        for private in ("run", "postgres/18/data"):
            assert stat.S_IMODE((data_dir / private).stat().st_mode) == 0o700
        for private in ("postgres.log", "users.lock", "start.lock"):
            assert stat.S_IMODE((data_dir / private).stat().st_mode) == 0o600
    finally:
        server.stop_blocking()


def test_a_long_path_puts_the_socket_elsewhere(data_dir: Path) -> None:
    deep = data_dir / ("d" * 60) / ("e" * 60)
    for folder in (data_dir, deep.parent):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
    server = EmbeddedPostgres.start_blocking(deep)
    try:
        with psycopg.connect(server.dsn) as connection:
            row = connection.execute("SHOW unix_socket_directories").fetchone()
        assert row is not None
        folder = Path(row[0])
        assert folder.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        server.stop_blocking()
    folder.rmdir()


def test_a_closed_parent_is_named(data_dir: Path) -> None:
    if os.geteuid() != 0:
        return  # only root runs the server as somebody else
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    data_dir.chmod(0o711)
    with pytest.raises(DataDirectoryError, match=f"cannot enter {closed};"):
        EmbeddedPostgres.start_blocking(closed / "data")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_a_data_directory_that_is_a_file_is_refused(data_dir: Path) -> None:
    (data_dir / "file").touch()
    with pytest.raises(DataDirectoryError, match="choose another with --data-dir"):
        EmbeddedPostgres.start_blocking(data_dir / "file")


async def test_giving_up_the_wait_leaves_nothing_behind(data_dir: Path) -> None:
    with _start_user(data_dir) as user:
        pid = _read_pid(user)
        os.kill(pid, signal.SIGSTOP)  # alive, and never ready
        try:
            waiting = asyncio.create_task(EmbeddedPostgres.start(data_dir))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        finally:
            os.kill(pid, signal.SIGCONT)
        user.communicate()
    assert not is_alive(pid)


def test_data_of_another_major_version_is_refused_with_the_way_out(data_dir: Path) -> None:
    EmbeddedPostgres.start_blocking(data_dir, binaries=OLDEST).stop_blocking()
    with pytest.raises(WrongMajorVersionError, match="from PostgreSQL 15 and this Remit ships 18: run `remit db dump"):
        EmbeddedPostgres.start_blocking(data_dir)


def test_a_server_that_is_too_old_is_refused_by_name() -> None:
    def answer(listener: socket.socket) -> None:
        with listener.accept()[0] as client:
            client.recv(1024)
            parameters = b"server_version\x0014.2\x00", b"client_encoding\x00UTF8\x00"
            client.sendall(
                b"R\x00\x00\x00\x08\x00\x00\x00\x00"
                + b"".join(b"S" + (len(value) + 4).to_bytes(4, "big") + value for value in parameters)
                + b"Z\x00\x00\x00\x05I"
            )
            client.recv(1024)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=[listener])
        server.start()
        port = listener.getsockname()[1]
        with pytest.raises(UnsupportedServerError, match=r"^PostgreSQL 14\.2 is too old: Remit needs 15 or newer"):
            check_version(f"postgresql://someone@127.0.0.1:{port}/x?sslmode=disable&gssencmode=disable")
        server.join()


def test_kept_clusters_that_nobody_used_for_a_month_go(tmp_path: Path) -> None:
    days = {"18.6-1": 40, "18.5-1": 40, "18.4-1": 20, "new-dead": 2, "new-at-work": 0}
    now = time.time()
    for name, age in days.items():
        (tmp_path / name / "data").mkdir(parents=True)
        os.utime(tmp_path / name, (now - age * 86_400, now - age * 86_400))
    remove_unused(tmp_path, tmp_path / "18.6-1")
    assert {child.name for child in tmp_path.iterdir()} == {"18.6-1", "18.4-1", "new-at-work"}
