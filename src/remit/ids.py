"""Ids of rows: UUIDv7 as text, so that id order is creation order (RFC 9562 §5.7)."""

from uuid_utils import uuid7

NIL_ID = "00000000-0000-0000-0000-000000000000"


def new_id() -> str:
    """A new id."""
    return str(uuid7())
