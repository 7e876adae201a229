"""Small Alembic projects to rehearse, made from the lint's base revision."""

import shutil
from collections.abc import Mapping
from pathlib import Path

BASE = Path(__file__).parents[1] / "lint" / "project"
BODY = '''"""Made by a test."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{down}"


def upgrade() -> None:
    {up}
'''


def make_project(folder: Path, revisions: Mapping[str, str]) -> Path:
    """Write a project whose revisions follow the base in order; its alembic.ini."""
    shutil.copytree(BASE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    down = "0001"
    for name, up in revisions.items():
        text = BODY.format(revision=name, down=down, up=up.strip().replace("\n", "\n    "))
        (folder / "migrations" / "versions" / f"{name}.py").write_text(text)
        down = name
    return folder / "alembic.ini"
