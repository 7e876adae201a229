"""The `filters` of message lists: `(include1 OR include2 …) AND NOT (exclude1 OR …)`, each by nested equality.

A filter becomes a list of leaves, each a path into the message and the value that must be there. They travel as two
parameters of one fixed statement, so that no text of a caller becomes SQL and one plan serves every filter.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from fastapi import Query
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from remit.content import JsonObject
from remit.errors import BadRequest, Invalid
from remit.validation import describe_errors

LONGEST = 16_384
MOST_LEAVES = 100

Leaf = dict[str, Any]


class MessageFilter(BaseModel):
    """One filter: what a message must have, or must not when `exclude` is set. Null asks for nothing."""

    model_config = ConfigDict(extra="forbid")  # a misspelt name would choose other messages than was meant

    content: JsonObject | None = None
    streaming_status: Literal["IN_PROGRESS", "DONE"] | None = None
    exclude: bool = False


@dataclass(frozen=True, slots=True)
class MessageFilters:
    """What `FILTER_SQL` takes: per filter its leaves; None when there is no filter of the kind."""

    include: list[list[Leaf]] | None = None
    exclude: list[list[Leaf]] | None = None


_adapter: TypeAdapter[MessageFilter | list[MessageFilter]] = TypeAdapter(MessageFilter | list[MessageFilter])

_ANY_MATCHES = """EXISTS (
  SELECT 1 FROM jsonb_array_elements({filters}::jsonb) f WHERE NOT EXISTS (
    SELECT 1 FROM jsonb_array_elements(f) leaf
     WHERE jsonb_build_object('content', content, 'streaming_status', streaming_status)
             #> ARRAY(SELECT jsonb_array_elements_text(leaf -> 'path')) IS DISTINCT FROM leaf -> 'value'))"""


def filter_sql(include: str, exclude: str) -> str:
    """A condition over the columns of `messages`.

    Args:
        include: the placeholder of `MessageFilters.include`.
        exclude: the placeholder of `MessageFilters.exclude`.
    """
    return (
        f"({include}::jsonb IS NULL OR {_ANY_MATCHES.format(filters=include)}) "
        f"AND ({exclude}::jsonb IS NULL OR NOT {_ANY_MATCHES.format(filters=exclude)})"
    )


async def read_filters(
    filters: Annotated[
        str | None,
        Query(
            max_length=LONGEST,
            description="JSON: one object or an array of `{content, streaming_status, exclude}`. Including filters are "
            "joined by OR, then those that exclude are taken away.",
        ),
    ] = None,
) -> MessageFilters:
    """The filters of a request.

    Raises:
        BadRequest: they are not JSON.
        Invalid: they are JSON of another shape, or too much of it.
    """
    if filters is None:
        return MessageFilters()
    try:
        value = orjson.loads(filters)
    except orjson.JSONDecodeError as error:
        raise BadRequest("The query parameter `filters` must be JSON.") from error
    try:
        parsed = _adapter.validate_python(value)
    except ValidationError as error:
        # Errors of both branches of the union are told; the caller knows which one was meant.
        raise Invalid(describe_errors(error.errors(), "query.filters")) from error
    given = parsed if isinstance(parsed, list) else [parsed]
    leaves = [(one.exclude, _leaves_of(one)) for one in given]
    if sum(len(found) + 1 for _, found in leaves) > MOST_LEAVES:
        raise Invalid([("query.filters", f"must ask for at most {MOST_LEAVES} values")])
    include = [found for exclude, found in leaves if not exclude]
    exclude = [found for exclude, found in leaves if exclude]
    return MessageFilters(include or None, exclude or None)


def _leaves_of(one: MessageFilter) -> list[Leaf]:
    wanted: Leaf = {"content": {key: value for key, value in (one.content or {}).items() if value is not None}}
    if one.streaming_status is not None:
        wanted["streaming_status"] = one.streaming_status
    leaves: list[Leaf] = []
    pending: list[tuple[list[str], Any]] = [([], wanted)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, dict):
            pending += [([*path, key], child) for key, child in value.items()]
        else:
            leaves.append({"path": path, "value": value})
    return leaves
