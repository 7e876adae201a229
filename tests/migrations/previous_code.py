"""Shows that the code of before the newest revision works with the schema after it: `scripts/previous-code`.

The commit before the one that added the newest revision is laid out in a scratch folder, and its own tests of the store
run there with its own code, on databases that today's revisions have made. Ends with 0 if they pass, 1 if they do not,
and 3 if nothing could be shown, with the reason: a copy without git, or without the commits.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

import psycopg
from alembic.script import ScriptDirectory

from remit.migrations import run, state

ROOT = Path(__file__).parents[2]
TESTS = (
    "agent_api_keys", "checkpoints", "children", "get_or_create", "lists", "message_batches", "message_pages",
    "registration", "retention", "spans", "task_changes", "trackers", "turns",
)  # fmt: skip
WORKS, BREAKS, NOT_SHOWN = 0, 1, 3


class NotShownError(Exception):
    """There is nothing to compare with; the text says why."""


def main(root: Path = ROOT) -> int:
    """Show it for a clone; the exit code."""
    try:
        newest = find_newest()
        commit = find_commit_before(root, str(newest.resolve().relative_to(ROOT.resolve())))
        with tempfile.TemporaryDirectory(prefix="remit-old-", dir="/tmp") as scratch:
            old = Path(scratch)
            lay_out(root, commit, old)
            since = read_declared()
            if not list((old / "src" / "remit" / "migrations" / "versions").glob(f"{since}_*.py")):
                say(f"{newest.name} says that only code since revision {since} works with it: nothing to run.")
                return WORKS
            say(f"The code of {commit[:12]} on the schema after {newest.name}:")
            if run_tests(root, old) == 0:
                say(f"Works: the code before {newest.name} passes its tests of the store on the schema after it.")
                return WORKS
    except NotShownError as reason:
        say(f"Not shown whether older code works with the newest schema: {reason}.")
        return NOT_SHOWN
    say(
        f"The code before {newest.name} does not work with the schema after it: servers that are still to be replaced "
        "would fail. Split the revision into one that adds and a later one that takes away, or let it call "
        "`set_compatible_since`, and stop the older servers before it."
    )
    return BREAKS


def say(text: str) -> None:
    """Tell a person."""
    sys.stderr.write(f"{text}\n")


def find_newest() -> Path:
    """The file of the newest revision."""
    script = ScriptDirectory.from_config(run.make_config()).get_revision(state.head_revision())
    assert script is not None
    return Path(script.path)


def find_commit_before(root: Path, file: str) -> str:
    """The commit before the one that added a file of a clone; the last one if none has it yet."""
    git(root, "rev-parse", "HEAD")
    added = git(root, "log", "--diff-filter=A", "--format=%H", "--", file).split()
    if not added:
        return git(root, "rev-parse", "HEAD").strip()
    try:
        return git(root, "rev-parse", "--verify", "--quiet", f"{added[0]}^").strip()
    except NotShownError:
        raise NotShownError(
            f"the commits before {added[0][:12]} are not here; fetch the whole history (`git fetch --unshallow`)"
        ) from None


def git(root: Path, *arguments: str) -> str:
    """What git answers."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except OSError as error:
        raise NotShownError(f"git does not run ({error.strerror})") from error
    except subprocess.CalledProcessError as error:
        raise NotShownError(f"git says: {error.stderr.strip() or 'no'}") from error
    return done.stdout


def lay_out(root: Path, commit: str, folder: Path) -> None:
    """Write a commit's files into a folder."""
    try:
        packed = subprocess.run(["git", "-C", str(root), "archive", commit], capture_output=True, check=True).stdout
    except subprocess.CalledProcessError as error:
        raise NotShownError(f"git says: {error.stderr.decode().strip()}") from error
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


def read_declared() -> str:
    """The oldest revision whose code works with the newest schema, as the revisions have it."""
    from support.databases import make_database, run_server

    with run_server() as server, make_database(server) as dsn:
        run.upgrade(dsn)
        with psycopg.connect(dsn) as connection:
            row = connection.execute("SELECT compatible_since FROM schema_compatibility").fetchone()
    assert row is not None
    return str(row[0])


def run_tests(root: Path, old: Path) -> int:
    """Run the old tests of the store with the old code; pytest's exit code."""
    files = [file for name in TESTS if (file := old / "tests" / "api" / f"test_{name}.py").is_file()]
    if not files:
        raise NotShownError("that commit has no tests of the store")
    plugins = Path(__file__).with_name("previous_plugin")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(old / "src"), str(plugins)]),
        "REMIT_NEW_SOURCE": str(root / "src"),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "newest_schema", "-p", "no:cacheprovider"]
    return subprocess.run([*command, *map(str, files)], cwd=old, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    sys.exit(main())
