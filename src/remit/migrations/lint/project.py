"""The project to lint: its alembic.ini, its revisions, its settings, its code."""

import subprocess
import tomllib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from remit.migrations.lint.errors import LintError
from remit.migrations.lint.render import describe
from remit.migrations.project_config import read_config

SETTINGS_TABLE = "[tool.remit.lint]"
_LIBRARIES = ("/alembic/", "/sqlalchemy/")


@dataclass(frozen=True)
class LintSettings:
    """The table `[tool.remit.lint]` of pyproject.toml.

    Args:
        code: the folders that hold the application's code, relative to the file; the whole tree by default.
        small_tables: tables so small that reading or rewriting them is felt by nobody.
        registered_tables: tables whose rows are resources of the relationship graph.
        registration_tables: the tables that a migration writes to register rows there.
        relation_schema: the file, relative to pyproject.toml, that defines the relations of the graph.
        disable: rules that are not wanted.
    """

    code: tuple[str, ...] = (".",)
    small_tables: frozenset[str] = frozenset()
    registered_tables: frozenset[str] = frozenset()
    registration_tables: frozenset[str] = frozenset({"relationships", "outbox"})
    relation_schema: tuple[str, ...] = ()
    disable: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Project:
    """What there is to lint.

    Args:
        revisions: the whole history, oldest first.
        asked: the ids of those to judge.
        heads: more than one is a finding.
        since: the git reference that the revisions were chosen by.
    """

    config: Config
    script: ScriptDirectory
    root: Path
    revisions: tuple[Script, ...]
    asked: frozenset[str]
    heads: tuple[str, ...]
    settings: LintSettings = field(default_factory=LintSettings)
    since: str | None = None

    @property
    def asked_revisions(self) -> list[Script]:
        """Those to judge, oldest first."""
        return [revision for revision in self.revisions if revision.revision in self.asked]


def load_project(config_file: Path, revision_range: str | None = None, since: str | None = None) -> Project:
    """Read a project.

    Args:
        config_file: its alembic.ini.
        revision_range: `base:head` and the like, both ends by Alembic's rules, the first one excluded.
        since: a git reference; the revisions whose files are new or changed since then.

    Raises:
        LintError: it cannot be read, or the range is none.
    """
    if not config_file.is_file():
        raise LintError(f"there is no {config_file}: name the project's alembic.ini with --config")
    if revision_range and since:
        raise LintError("--range and --since exclude each other: leave out one of them")
    root = config_file.resolve().parent
    config = read_config(config_file)
    script, revisions = load_scripts(config, config_file)
    bases = [revision.revision for revision in revisions if revision.is_base]
    if len(bases) > 1:
        raise LintError(
            f"the history has several bases ({', '.join(sorted(bases))}): lint works on one history; give the later "
            "one a down_revision or keep it in a project of its own"
        )
    if since:
        asked = _select_since(revisions, since, root)
    else:
        asked = _select_range(script, revisions, revision_range or "base:heads")
    return Project(config, script, root, revisions, asked, tuple(script.get_heads()), _read_settings(root), since)


def make_project(config: Config, heads: Sequence[str], revision: str) -> Project:
    """A project whose revisions between what a database is at and another one are asked for.

    Args:
        config: as Alembic has it; of a file or made in the code.
        heads: what the database is at; none for an empty one.
        revision: where to stop, as Alembic names it.

    Raises:
        LintError: it cannot be read, or the revisions are not in it.
    """
    file = Path(config.config_file_name or "the configuration")
    script, revisions = load_scripts(config, file)
    try:
        done = {found.revision for head in heads for found in script.iterate_revisions(head, "base")}
        wanted = {found.revision for found in script.iterate_revisions(revision, "base")}
    except (CommandError, RevisionError) as error:
        raise LintError(describe_command(error)) from error
    root = file.resolve().parent if config.config_file_name else Path(script.dir)
    return Project(
        config, script, root, revisions, frozenset(wanted - done), tuple(script.get_heads()), _read_settings(root)
    )


def load_scripts(config: Config, config_file: Path) -> tuple[ScriptDirectory, tuple[Script, ...]]:
    """The script directory that a configuration names, and its revisions, oldest first.

    Raises:
        LintError: there is none, or a revision does not import.
    """
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            script = ScriptDirectory.from_config(config)
            revisions = tuple(reversed(list(script.walk_revisions("base", "heads"))))
    except CommandError as error:
        raise LintError(f"{config_file}: {describe_command(error)}") from error
    except (Exception, SystemExit) as error:
        if isinstance(error, KeyError) and not _locate(error):
            raise LintError(f"{config_file}: a revision follows {error}, which no file in its folder is") from error
        raise LintError(
            f"a revision in the folder that {config_file} names cannot be imported: {describe(error)}{_locate(error)}"
        ) from error
    twice = [text for text in map(str, (item.message for item in said)) if "present more than once" in text]
    if twice:
        raise LintError(f"{config_file}: {twice[0]}: Alembic runs one of the files and never the other; rename one")
    if not revisions:
        raise LintError(f"there is no revision in {script.versions}, which {config_file} names")
    return script, revisions


def describe_command(error: Exception) -> str:
    """Alembic's own words, on one line, and what to do about several heads."""
    text = " ".join(str(error).split())
    if text.startswith("Multiple head"):
        text = f"{text.partition(';')[0]}: merge them with `alembic merge`, or name one of them, or `heads` for all"
    return text


def _locate(error: BaseException) -> str:
    """Where in the project's own code an error came from."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith("<") and name != __file__ and not any(library in name for library in _LIBRARIES):
            place = f" at {name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _select_range(script: ScriptDirectory, revisions: Sequence[Script], text: str) -> frozenset[str]:
    lower, colon, upper = text.partition(":")
    if not colon or not lower or not upper:
        raise LintError(f"--range {text!r} is not LOWER:UPPER, as base:head or a1b2:head")
    if upper == "head":
        upper = "heads"
    try:
        chosen = {found.revision for found in script.walk_revisions(lower, upper)}
        if lower != "base":
            chosen -= {found.revision for found in script.get_revisions(lower)}
    except CommandError as error:
        raise LintError(f"--range {text}: {describe_command(error)}") from error
    except AssertionError as error:
        raise LintError(f"--range {text}: the first revision is not an ancestor of the second") from error
    if not chosen:
        raise LintError(f"--range {text} holds no revision")
    return frozenset(revision.revision for revision in revisions if revision.revision in chosen)


def _select_since(revisions: Sequence[Script], since: str, root: Path) -> frozenset[str]:
    top = Path(_run_git(root, "rev-parse", "--show-toplevel").strip())
    base = _run_git(root, "merge-base", since, "HEAD").strip()
    names = _run_git(root, "diff", "--name-only", "--diff-filter=d", "-z", base, "--", ":/").split("\0")
    names += _run_git(root, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", ":/").split("\0")
    changed = {(top / name).resolve() for name in names if name}
    return frozenset(
        revision.revision
        for revision in revisions
        if any(file.resolve() in changed for file in _list_files(Path(revision.path)))
    )


def _list_files(path: Path) -> list[Path]:
    """The revision's own file and those of the same name beside it, as its SQL."""
    return [path, *path.parent.glob(f"{path.stem}.*")]


def _run_git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise LintError("--since needs git, which is not on the PATH; use --range") from error
    except subprocess.CalledProcessError as error:
        raise LintError(f"--since: git says: {' '.join(error.stderr.split())}") from error
    return done.stdout


def _read_settings(root: Path) -> LintSettings:
    file = root / "pyproject.toml"
    if not file.is_file():
        return LintSettings()
    try:
        table: Any = tomllib.loads(file.read_text()).get("tool", {}).get("remit", {}).get("lint", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LintError(f"{file} is not TOML: {error}") from error
    names = LintSettings.__dataclass_fields__
    for name, value in table.items():
        if name not in names:
            raise LintError(f"{file}: {SETTINGS_TABLE} has no {name!r}; it knows {', '.join(names)}")
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise LintError(f"{file}: {name} in {SETTINGS_TABLE} must be a list of strings")
    return LintSettings(
        code=tuple(table.get("code", ["."])),
        small_tables=frozenset(table.get("small_tables", ())),
        registered_tables=frozenset(table.get("registered_tables", ())),
        registration_tables=frozenset(table.get("registration_tables", LintSettings.registration_tables)),
        relation_schema=tuple(table.get("relation_schema", ())),
        disable=frozenset(table.get("disable", ())),
    )
