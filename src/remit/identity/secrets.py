"""Secrets of API keys: how they look, and what is kept of them.

A secret is `remit_<kind>_` and 43 characters of base62 (256 random bits), then a checksum of six: the fixed prefix and
the checksum let a secret scanner find leaked keys without asking anybody. Only its SHA-256 is stored; a slow hash is
for secrets that people choose.
"""

import hashlib
import secrets
import string
import zlib
from typing import Literal

KeyKind = Literal["user", "service", "agent"]

PREFIX_LENGTH = 8
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM, _CHECKSUM = 43, 6


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def make_secret(kind: KeyKind) -> str:
    """A new secret for a key of a user, a service account or an agent."""
    body = f"remit_{kind}_" + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return body + _base62(zlib.crc32(body.encode()), _CHECKSUM)


def is_well_formed(secret: str) -> bool:
    """Whether a text can be a secret of ours, by its checksum; most mistyped keys end here, without the database."""
    body, checksum = secret[:-_CHECKSUM], secret[-_CHECKSUM:]
    return body.startswith("remit_") and body.isascii() and _base62(zlib.crc32(body.encode()), _CHECKSUM) == checksum


def hash_secret(secret: str) -> bytes:
    """What is stored and looked up: SHA-256."""
    return hashlib.sha256(secret.encode()).digest()


def visible_prefix(secret: str) -> str:
    """The part of a secret that lists may show, so that people can tell keys apart."""
    head, _, random = secret.rpartition("_")
    return f"{head}_{random[:PREFIX_LENGTH]}"
