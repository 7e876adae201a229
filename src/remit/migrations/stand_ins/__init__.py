"""Stand-ins for extensions that many projects create and the embedded server does not ship.

A scratch database only has to accept what the revisions say and to take the same locks: plain SQL functions do for
that. A server that has the real extension uses that one.
"""

import shutil
from pathlib import Path

from remit.db.binaries import Binaries

_FIRST_MAJOR = 18


def install_stand_ins(folder: Path, binaries: Binaries) -> dict[str, str]:
    """Put the stand-ins where a server finds them.

    Args:
        folder: a new one that the server's user can read.
        binaries: of the server.

    Returns:
        The settings that the server needs; none for a server before 18, which looks in one place only.
    """
    if binaries.major < _FIRST_MAJOR:
        return {}
    target = folder / "extension"
    shutil.copytree(Path(__file__).parent / "extension", target)
    for path in (folder, target, *target.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return {"extension_control_path": f"$system:{folder}"}


FIND_STAND_INS = """
SELECT e.extname FROM pg_extension e JOIN pg_available_extensions a ON a.name = e.extname
WHERE a.comment LIKE 'Stand-in of Remit%' ORDER BY 1
"""
"""The stand-ins that a database uses."""
