"""Small Alembic projects to lint."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BODY = '''"""Made by a test."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down}


def upgrade() -> None:
    {up}


def downgrade() -> None:
    {downgrade}
'''

MakeProject = Callable[..., Path]


def write_revision(
    folder: Path, up: str, revision: str = "0002", down: str | None = "0001", back: str = "pass"
) -> Path:
    """Write a revision into a project."""
    file = folder / "migrations" / "versions" / f"{revision}.py"
    text = BODY.format(revision=revision, down=repr(down), up=up.replace("\n", "\n    "), downgrade=back)
    file.write_text(text)
    return file


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    """A function that makes a project of the base revision and the given files; it returns alembic.ini."""

    def make(revisions: Iterable[Path] = (), extra: Iterable[Path] = ()) -> Path:
        folder = tmp_path / "project"
        shutil.copytree(HERE / "project", folder, ignore=shutil.ignore_patterns("__pycache__"))
        for file in revisions:
            shutil.copy(file, folder / "migrations" / "versions")
        for file in extra:
            shutil.copy(file, folder / file.name)
        return folder / "alembic.ini"

    return make
