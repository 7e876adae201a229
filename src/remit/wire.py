"""Shapes that more than one noun shows, and answers of many rows."""

from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel


class DeleteResponse(BaseModel):
    """What was deleted."""

    id: str
    message: str


def answer_rows(rows: list[dict[str, Any]], headers: dict[str, str] | None = None) -> Response:
    """Many rows as they came from the database, which hold what the route's response model says.

    Models of them, validated and dumped, would cost as much as the rest of the request.

    Args:
        rows: values of JSON, and moments in UTC.
        headers: of the answer.
    """
    return Response(orjson.dumps(rows, option=orjson.OPT_UTC_Z), headers=headers, media_type="application/json")
