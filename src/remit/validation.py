"""Input: what it must be beyond its type, and how an error in it is told: the field and the rule, never the input."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime
from pydantic_core import PydanticCustomError

_LONGEST_NAME = 64

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def check_moment(moment: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        PydanticCustomError: there it lies before the year 1 or after the year 9999, or is the first or the last
            microsecond of them, which asyncpg writes as -infinity and infinity.
    """
    try:
        found = moment.astimezone(UTC)
    except OverflowError:
        found = None
    if found in (None, _FIRST, _LAST):
        raise PydanticCustomError("moment", "must lie between the years 1 and 9999 in UTC")
    return found


Moment = Annotated[AwareDatetime, AfterValidator(check_moment)]


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
