"""The relations that a schema file of the relationship graph defines, now and in git."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from remit.migrations.lint.errors import LintError

Relation = tuple[str, str]
"""A type and one of its relations."""


def read_relations(text: str) -> set[Relation]:
    """The relations of a schema in SpiceDB's language: `definition task { relation owner: user }`."""
    found: set[Relation] = set()
    kind = ""
    words = iter(_split(text))
    for word in words:
        if word == "definition":
            kind = next(words, "")
        elif word == "relation" and kind:
            found.add((kind, next(words, "")))
    return found


def _split(text: str) -> Iterator[str]:
    """The words and signs, without comments and without what caveats have in braces of their own."""
    place = 0
    while place < len(text):
        sign = text[place]
        if text.startswith("//", place):
            place = _end(text, "\n", place)
        elif text.startswith("/*", place):
            place = _end(text, "*/", place)
        elif sign in "\"'":
            place = _end(text, sign, place + 1)
        elif sign.isalnum() or sign in "_/":
            start = place
            while place < len(text) and (text[place].isalnum() or text[place] in "_/"):
                place += 1
            yield text[start:place]
        else:
            place += 1


def _end(text: str, sign: str, start: int) -> int:
    found = text.find(sign, start)
    return len(text) if found < 0 else found + len(sign)


def find_dropped(file: Path, since: str | None) -> tuple[set[Relation], str]:
    """The relations that the file in git has and the one in the tree has not, and which commit that was.

    Args:
        file: the schema file.
        since: a git reference, whose common ancestor with HEAD counts; HEAD itself without one.

    Raises:
        LintError: there is no such file.
    """
    if not file.is_file():
        raise LintError(f"the settings name {file} as the schema of the relationship graph, and there is none")
    now = read_relations(file.read_text())
    base = "HEAD"
    if since is not None:
        base = (_ask_git(file.parent, "merge-base", since, "HEAD") or since).strip()
    before = _ask_git(file.parent, "show", f"{base}:./{file.name}")
    if before is None:
        return set(), ""
    return read_relations(before) - now, since or "HEAD"


def _ask_git(folder: Path, *arguments: str) -> str | None:
    """What git says; None without a repository, without git, or if the file was not there."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
