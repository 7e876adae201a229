"""The data directory of the embedded PostgreSQL: who owns it, what lies where, and its two locks.

<data_dir>/                0711 when root owns it (the server's user passes through), else 0700
  start.lock               held exclusively while the server is started or stopped
  users.lock               held shared by every Remit process that uses the server
  postgres.log
  run/                     the socket, unless the path is too long for one
  postgres/current         the major version whose cluster is in use
  postgres/<major>/data    the cluster
  postgres/<major>/server  a copy of the binaries that wrote it
"""

import fcntl
import hashlib
import os
import pwd
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remit.db.errors import DataDirectoryError

_SYSTEM_USER = "remit-postgres"
_SOCKET_NAME = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH = 107  # sun_path of Linux holds 108 bytes with the closing zero
_POLL_SECONDS = 0.05
_LARGEST_LOG = 16 * 1024 * 1024


class WaitCancelledError(Exception):
    """Whoever waited for a lock or for the server no longer wants it."""


def pause(cancelled: threading.Event) -> None:
    """Wait one polling interval; raises WaitCancelledError when told to stop."""
    if cancelled.wait(_POLL_SECONDS):
        raise WaitCancelledError


@dataclass(frozen=True)
class Account:
    """The user that the server runs as. `switch` says that this process has to become another user for it."""

    name: str
    uid: int
    gid: int
    switch: bool

    @property
    def popen_options(self) -> Mapping[str, Any]:  # Any: the values go to subprocess keyword arguments of three types
        """What `subprocess` needs to run a program as this user, in a directory it can enter."""
        options: dict[str, Any] = {"cwd": "/"}
        return options | ({"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {})


def _choose_account(owner: int) -> Account:
    """PostgreSQL refuses to run as root, so root gives it the directory's owner, or a system user of its own."""
    uid = os.geteuid()
    if uid != 0:
        return Account(pwd.getpwuid(uid).pw_name if _is_known(uid) else str(uid), uid, os.getegid(), switch=False)
    entry = pwd.getpwuid(owner) if owner != 0 and _is_known(owner) else _find_system_user()
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _find_system_user() -> pwd.struct_passwd:
    for attempt in ("look", "create"):
        if attempt == "create":
            command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
            try:
                subprocess.run(
                    [*command, "--shell", "/usr/sbin/nologin", _SYSTEM_USER], capture_output=True, check=False
                )
            except FileNotFoundError:
                break
        try:
            return pwd.getpwnam(_SYSTEM_USER)
        except KeyError:
            continue
    for fallback in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(fallback)
        except KeyError:
            continue
    raise DataDirectoryError(
        f"PostgreSQL refuses to run as root and no user for it could be made; add one with `useradd --system "
        f"{_SYSTEM_USER}`, or run Remit as another user"
    )


class DataDirectory:
    """One data directory, made ready for use by this process."""

    def __init__(self, path: Path) -> None:
        """Make the directory if it is missing and check that it can be used.

        Its mode is set only while it is empty, and never that of a parent.
        Raises DataDirectoryError.
        """
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            owner = self.path.stat().st_uid
            if os.geteuid() not in (0, owner):
                raise DataDirectoryError(
                    f"the data directory {self.path} belongs to another user; run Remit as that user, or choose "
                    "another with --data-dir"
                )
            self.account = _choose_account(owner)
            self._owner = owner
            if not any(self.path.iterdir()):
                self.path.chmod(0o711 if owner == 0 else 0o700)
            self.clusters.mkdir(mode=0o755, exist_ok=True)
            self._give_to_owner(self.clusters)
        except OSError as error:
            raise DataDirectoryError(
                f"cannot use the data directory {self.path}: {error.strerror}; make it writable or choose another "
                "with --data-dir"
            ) from error

    @property
    def clusters(self) -> Path:
        """The folder with one sub-folder for each major version."""
        return self.path / "postgres"

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self.path / "postgres.log"

    @property
    def socket_dir(self) -> Path:
        """Where the socket lies: always the same for one data directory, so that a connection string stays good."""
        inside = self.path / "run"
        if len(os.fsencode(inside / _SOCKET_NAME)) <= _LONGEST_SOCKET_PATH:
            return inside
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"remit-{self.account.uid}-{digest}"

    @property
    def current_major(self) -> int | None:
        """The major version whose cluster is in use; None before there is one."""
        try:
            return int((self.clusters / "current").read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DataDirectoryError(
                f"{self.clusters / 'current'} should hold a major version of PostgreSQL: write one of the folder names "
                "beside it there"
            ) from error

    def set_current_major(self, major: int) -> None:
        """Say in one step which cluster is in use."""
        fresh = self.clusters / "current.new"
        fresh.write_text(f"{major}\n")
        self._give_to_owner(fresh)
        fresh.replace(self.clusters / "current")

    def make_private_folder(self, folder: Path) -> None:
        """Make a folder that only the server's user can enter; raises DataDirectoryError if it is somebody else's."""
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()
            if folder.is_symlink() or status.st_uid not in (os.geteuid(), self.account.uid):
                raise DataDirectoryError(f"{folder} belongs to another user; remove it, PostgreSQL needs it for itself")
            if self.account.switch:
                os.chown(folder, self.account.uid, self.account.gid, follow_symlinks=False)
            folder.chmod(0o700)
        except OSError as error:
            raise DataDirectoryError(f"cannot make {folder}: {error.strerror}") from error

    def check_reachable(self, folder: Path) -> None:
        """Raise DataDirectoryError, naming the folder, if the server's user cannot enter one on the way."""
        if not self.account.switch or self._can_enter(folder):
            return
        closed = next(part for part in [*reversed(folder.parents), folder] if not self._can_enter(part))
        raise DataDirectoryError(
            f"PostgreSQL runs as the user {self.account.name}, which cannot enter {closed}; choose a directory outside "
            f"it with --data-dir, or allow it with `chmod o+x {closed}`"
        )

    def _can_enter(self, folder: Path) -> bool:
        command = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)]
        return subprocess.run(command, capture_output=True, check=False, **self.account.popen_options).returncode == 0

    def open_log(self) -> int:
        """A file descriptor that appends to the log; one that has grown large is set aside first."""
        if self.log_path.exists() and self.log_path.stat().st_size > _LARGEST_LOG:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        return self._open_private(self.log_path, os.O_WRONLY | os.O_APPEND)

    @contextmanager
    def lock_start(self, cancelled: threading.Event) -> Iterator[None]:
        """Keep every other process from starting or stopping the server meanwhile."""
        descriptor = self._open_private(self.path / "start.lock", os.O_RDWR)
        try:
            while not try_lock(descriptor, fcntl.LOCK_EX):
                pause(cancelled)
            yield
        finally:
            os.close(descriptor)

    def open_users_lock(self) -> int:
        """A file descriptor of the lock that every user of the server shares; the kernel frees it when one dies."""
        return self._open_private(self.path / "users.lock", os.O_RDWR)

    def _open_private(self, path: Path, flags: int) -> int:
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if os.geteuid() == 0 and self._owner != 0:
                os.fchown(descriptor, self._owner, -1)
        except OSError as error:
            raise DataDirectoryError(
                f"cannot write {path}: {error.strerror}; make the data directory writable or choose another with "
                "--data-dir"
            ) from error
        return descriptor

    def _give_to_owner(self, path: Path) -> None:
        if os.geteuid() == 0 and self._owner != 0:
            os.chown(path, self._owner, -1)


def try_lock(descriptor: int, operation: int) -> bool:
    """Take a lock (`LOCK_EX` or `LOCK_SH`) if nobody's stands in the way, and say whether it was taken."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise DataDirectoryError(
            f"the file system of the data directory does not lock files ({error.strerror}); choose a local directory "
            "with --data-dir"
        ) from error
    return True
