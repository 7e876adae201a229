"""Where older code is taken from, and what is said where there is none. CI runs `scripts/previous-code` itself."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from migrations.previous_code import NotShownError, find_commit_before

NEWEST = "versions/0002.py"
Git = Callable[..., str]


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path, file: str) -> str:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(file)
    git(folder, "add", "-A")
    git(folder, "commit", "-m", file)
    return git(folder, "rev-parse", "HEAD")


def test_it_is_the_commit_before_the_newest_revision(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "-q")
    before = commit(origin, "versions/0001.py")
    assert find_commit_before(origin, NEWEST) == before  # it is not committed yet
    commit(origin, NEWEST)
    commit(origin, "other.py")
    assert find_commit_before(origin, NEWEST) == before
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", origin.as_uri(), str(shallow))
    with pytest.raises(NotShownError, match="unshallow"):
        find_commit_before(shallow, NEWEST)


def test_a_copy_without_git_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotShownError, match="git says"):
        find_commit_before(tmp_path, NEWEST)
