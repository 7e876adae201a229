"""How a validation error is told: the field and what it must be, never what was sent."""

from collections.abc import Iterable, Mapping
from typing import Any

_LONGEST_NAME = 64


def describe_errors(errors: Iterable[Mapping[str, Any]], prefix: str | None = None) -> list[tuple[str, str]]:
    """Pydantic's errors as pairs of a field and what it must be.

    Args:
        errors: as `ValidationError.errors()` gives them.
        prefix: put before each field, for a part of a body.
    """
    return [(_field(error["loc"], prefix), _text(error)) for error in errors]


def _field(location: Iterable[int | str], prefix: str | None) -> str:
    parts = [str(part)[:_LONGEST_NAME] for part in location]
    return ".".join([prefix, *parts] if prefix else parts) or "body"


def _text(error: Mapping[str, Any]) -> str:
    # These two would repeat what was sent.
    if error["type"] == "union_tag_invalid":
        return f"must be one of {error['ctx']['expected_tags']}"
    if error["type"] == "json_invalid":
        return "must be JSON"
    text: str = error["msg"]
    text = text.removeprefix("Value error, ").removeprefix("Input should ").removeprefix("should ")
    return text if text.startswith("must ") else f"must {text}" if text.startswith(("be ", "match ", "have ")) else text
