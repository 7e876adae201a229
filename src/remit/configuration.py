"""Describes the settings as Markdown: `python -m remit.configuration` prints `docs/configuration.md`."""

from datetime import timedelta
from typing import Any, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from remit.settings import Settings

HEAD = """# Configuration

Every setting is an environment variable, read once when a process starts. Written from `src/remit/settings.py` by
`scripts/write-configuration`; change it there.

| variable | default | meaning |
| --- | --- | --- |
"""


def describe_settings() -> str:
    """The page, as Markdown."""
    rows = []
    for name, field in Settings.model_fields.items():
        choices = _choices(field.annotation)
        meaning = (field.description or "") + (f" One of {choices}." if choices else "")
        rows.append(f"| `REMIT_{name.upper()}` | {_default(field.default)} | {meaning} |\n")
    return HEAD + "".join(rows)


def _choices(annotation: Any) -> str:
    return ", ".join(f"`{choice}`" for choice in get_args(annotation)) if get_origin(annotation) is Literal else ""


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "see meaning"
    if value is None:
        return "none"
    if isinstance(value, timedelta):
        return f"`{int(value.total_seconds())}` s"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    print(describe_settings(), end="")  # noqa: T201 - printing is this module's purpose
