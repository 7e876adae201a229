"""Ids of rows: UUIDv7 as text, so that id order is creation order (RFC 9562 §5.7)."""

import time
import uuid
from datetime import timedelta

from uuid_utils import uuid7

NIL_ID = "00000000-0000-0000-0000-000000000000"
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""Beyond every id: a list that starts before it starts with the newest row."""


def new_id() -> str:
    """A new id."""
    return str(uuid7())


def oldest_id(age: timedelta) -> str:
    """The least id that a row of at most this age can have, by this process's clock."""
    milliseconds = time.time_ns() // 1_000_000 - age // timedelta(milliseconds=1)
    return str(uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62)))
