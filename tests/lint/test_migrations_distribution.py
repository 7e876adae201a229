"""The distribution with the tools for migrations alone holds what it imports."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PROJECT = tomllib.loads((ROOT / "packaging" / "migrations" / "pyproject.toml").read_text())
WHOLE = tomllib.loads((ROOT / "pyproject.toml").read_text())


def list_files() -> set[Path]:
    listed = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    places = [SOURCE / target for target in listed.values()]
    return {file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place])}


def list_imports(file: Path) -> Iterator[str]:
    """The modules of ours that are imported as soon as the file is."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "remit":
            yield from (f"{node.module}.{name.name}" for name in node.names)


def find_file(name: str) -> Path:
    """The file of a module, or of the one that a name is imported from."""
    for parts in (name.split("."), name.split(".")[:-1]):
        for file in (SOURCE.joinpath(*parts).with_suffix(".py"), SOURCE.joinpath(*parts, "__init__.py")):
            if file.exists():
                return file
    raise AssertionError(name)


def test_every_import_is_in_it() -> None:
    files = list_files()
    assert all(file.exists() for file in files)
    missing = {(str(file), name) for file in files for name in list_imports(file) if find_file(name) not in files}
    assert not missing


def test_it_asks_for_what_the_whole_asks_for() -> None:
    project, whole = PROJECT["project"], WHOLE["project"]
    known = {*whole["dependencies"], *whole["optional-dependencies"]["migrations"]}
    assert set(project["dependencies"]) <= known
    assert set(whole["optional-dependencies"]["migrations"]) <= set(project["dependencies"])
    assert (project["version"], project["requires-python"]) == (whole["version"], whole["requires-python"])
