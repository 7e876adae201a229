"""How a project configures Alembic: alembic.ini, pyproject.toml, or both."""

import configparser
import sys
import tomllib
from pathlib import Path

from alembic.config import Config
from alembic.util import CommandError

from remit.migrations.lint.errors import LintError

FOLDER = "remit_folder"
"""The attribute of a configuration with the folder in which Alembic would be run, where that is another one."""


def read_config(file: Path) -> Config:
    """Alembic's configuration, as Alembic's own command has it when it is run in the project's folder.

    A script directory that is named relative to that folder is found from elsewhere too.

    Args:
        file: alembic.ini, or a pyproject.toml with `[tool.alembic]`.

    Raises:
        LintError: it is not such a file.
    """
    try:
        return _read(file)
    except (CommandError, configparser.Error, OSError, ValueError) as error:
        raise LintError(f"{file} is no configuration of Alembic: {' '.join(str(error).split())}") from error


def _read(file: Path) -> Config:
    folder = file.resolve().parent
    toml = file if file.suffix == ".toml" else folder / "pyproject.toml"
    known = str(toml) if _configures_alembic(toml) else None
    config = Config(None if file.suffix == ".toml" else str(file), toml_file=known)
    location = config.get_alembic_option("script_location") if known else config.get_main_option("script_location")
    if location and ":" not in location and not Path(location).exists() and (folder / location).is_dir():
        config.set_main_option("script_location", str(folder / location).replace("%", "%%"))
        config.attributes[FOLDER] = str(folder)
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))  # where `prepend_sys_path = .` points
    return config


def _configures_alembic(file: Path) -> bool:
    try:
        return "alembic" in tomllib.loads(file.read_text()).get("tool", {})
    except (OSError, ValueError):
        return False
