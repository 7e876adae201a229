"""What an interrupted run had done outside any transaction, though its revision is not marked as done.

Nothing takes it back, and the revision sends the statement again: PostgreSQL then says that the index or the label is
there already, or that the index is gone. Only what is the same counts as done, and only an index that an earlier
revision names can be gone: any other name is mistyped.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from remit.migrations.lint.errors import LintError
from remit.migrations.lint.parse import dropped_names, parse
from remit.migrations.runner.control import Control
from remit.migrations.runner.sql import is_patient, read_words

_INDEX_IS_THERE = "42P07"
_LABEL_IS_THERE = "42710"
_IS_GONE = "42704"
_NOT_IN_NAMES = re.compile(r"[^\w$]+")
_HOW_IT_IS_MADE = {"concurrent", "if_not_exists", "location"}


def find_done(control: Control, statement: str, state: str | None, earlier: Iterable[Path]) -> str | None:
    """What to tell of a statement outside a transaction that failed because it was done before; None if it was not.

    Args:
        control: asks the database.
        statement: what failed.
        state: PostgreSQL's code of the error.
        earlier: the files of the revisions before.
    """
    words = [word.upper() for word in read_words(statement, 5)]
    if state == _IS_GONE and words[:2] == ["DROP", "INDEX"] and is_patient(statement):
        with suppress(LintError):
            return "was gone already" if _is_named(statement, earlier) else None
    # Not a RENAME, which says the same where another type or label has the new name.
    if state == _LABEL_IS_THERE and words[:2] == ["ALTER", "TYPE"] and words[3:] == ["ADD", "VALUE"]:
        return "was there already"
    if state == _INDEX_IS_THERE and is_patient(statement):
        with suppress(LintError):  # without the parser nobody can say that they are the same
            return "was there already, valid and the same" if _is_built(control, statement) else None
    return None


def _is_named(statement: str, files: Iterable[Path]) -> bool:
    """Whether the index that a statement drops is named in a string of a file."""
    [name] = [known.rpartition(".")[2] for known in dropped_names(parse(statement)[0].body)]
    return any(
        name == node.value or f'"{name}"' in node.value or name in _NOT_IN_NAMES.split(node.value)
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _is_built(control: Control, statement: str) -> bool:
    [asked] = parse(statement)
    table = asked.body.get("relation", {})
    found = control.find_definitions(asked.body.get("idxname", ""), table.get("relname", ""), table.get("schemaname"))
    return len(found) == 1 and _is_same(asked.body, parse(found[0])[0].body)


def _is_same(asked: Any, found: Any) -> bool:
    """Whether a definition that the server wrote is what a text means: the server adds schemas, and casts of values."""
    if isinstance(found, Mapping):
        if found.keys() == {"type_cast"} and not (isinstance(asked, Mapping) and asked.keys() == {"type_cast"}):
            return _is_same(asked, found["type_cast"]["arg"])
        if not isinstance(asked, Mapping):
            return False
        added = {"schemaname"} - asked.keys()
        keys = (asked.keys() | found.keys()) - _HOW_IT_IS_MADE - added
        return all(key in asked and key in found and _is_same(asked[key], found[key]) for key in keys)
    if isinstance(found, list):
        return isinstance(asked, list) and len(asked) == len(found) and all(map(_is_same, asked, found))
    return bool(asked == found)
