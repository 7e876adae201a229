"""Shapes that more than one noun shows."""

from pydantic import BaseModel


class DeleteResponse(BaseModel):
    """What was deleted."""

    id: str
    message: str
