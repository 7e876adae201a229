"""How ids are stored: as a UUID each, so that every hop of a check compares 16 bytes.

A canonical UUID is stored as it is. Any other id is stored as a UUIDv8 (RFC 9562) made from SHA-256 over type and
id, and remembered in `authz_ids`, so that a check needs no look-up. The nil UUID is `*`, everyone of a type. The nil
UUID and UUIDs of version 8 are hashed as well when they come as ids: the two ways can never meet.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from functools import lru_cache
from typing import Final

from remit.authz.errors import RelationshipError

EVERYONE: Final = uuid.UUID(int=0)
_EVERYONE_TEXT: Final = str(EVERYONE)
_CANONICAL: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_ID_RULE: Final = re.compile(r"[a-zA-Z0-9/_|\-=+]{1,1024}")
_ALLOWED: Final = "letters, digits and / _ | - = +"


@lru_cache(maxsize=10_000)
def encode_id(type_name: str, object_id: str) -> uuid.UUID:
    """The stored form of an id. Kept for a while: the relationships of one task name the same few ids again and again.

    Args:
        type_name: the definition that the id belongs to.
        object_id: the id, or `*`.

    Raises:
        RelationshipError: the id breaks SpiceDB's rules for object ids.
    """
    if is_stored_as_is(object_id):
        return uuid.UUID(object_id)
    if object_id == "*":
        return EVERYONE
    check_id(object_id)
    digest = hashlib.sha256(f"{type_name}\0{object_id}".encode()).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | (8 << 76)
    number = number & ~(0x3 << 62) | (2 << 62)
    return uuid.UUID(int=number)


def encode_text(type_name: str, object_id: str) -> str:
    """The stored form of an id as text, which for most ids is the id: what `encode_id` gives, for many at once."""
    return object_id if is_stored_as_is(object_id) else str(encode_id(type_name, object_id))


def is_canonical(text: str) -> bool:
    """Whether a text is a UUID as Remit writes one: 36 characters, the letters small."""
    return _CANONICAL.fullmatch(text) is not None


def is_stored_as_is(object_id: str) -> bool:
    """Whether the id is a canonical UUID that is its own stored form."""
    match = _CANONICAL.fullmatch(object_id)
    return match is not None and match.group(1) != "8" and object_id != _EVERYONE_TEXT


def check_id(object_id: str) -> None:
    """Check an id against SpiceDB's rules.

    Raises:
        RelationshipError: it is empty, longer than 1,024 characters, or has a character that is not allowed.
    """
    if _ID_RULE.fullmatch(object_id):
        return
    if not object_id:
        raise RelationshipError(f"an id is empty; it needs {_ALLOWED}")
    if len(object_id) > 1024:
        raise RelationshipError(f"an id has {len(object_id)} characters; at most 1024 are allowed")
    if object_id == "*":
        raise RelationshipError("'*' stands for everyone of a type and is no id of its own here")
    bad = next(char for char in object_id if not _ID_RULE.fullmatch(char))
    raise RelationshipError(f"id {object_id[:80]!r} has {bad!r}; allowed are {_ALLOWED}")
