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

KeyKind = Literal["user", "service", "agent", "external"]

OWN_PREFIX = "remit_"
# What people choose themselves for an agent's key is stored under a fast hash too: long enough not to be guessed.
SHORTEST_CHOSEN, LONGEST_CHOSEN = 32, 512
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
    """A new secret: of a user, a service account or an agent, or for those who call an agent from outside."""
    body = f"remit_{kind}_" + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return body + _base62(zlib.crc32(body.encode()), _CHECKSUM)


def is_well_formed(secret: str) -> bool:
    """Whether a text can be a secret at all: most mistyped keys end here by their checksum, without the database."""
    if not secret.startswith(OWN_PREFIX):
        return can_be_chosen(secret)
    body, checksum = secret[:-_CHECKSUM], secret[-_CHECKSUM:]
    return body.isascii() and _base62(zlib.crc32(body.encode()), _CHECKSUM) == checksum


def can_be_chosen(secret: str, shortest: int = SHORTEST_CHOSEN) -> bool:
    """Whether a text may be a secret that people chose: printable ASCII, long enough, not in the form of ours."""
    return (
        shortest <= len(secret) <= LONGEST_CHOSEN
        and secret.isascii()
        and secret.isprintable()
        and secret == secret.strip()
        and not secret.startswith(OWN_PREFIX)
    )


def hash_secret(secret: str) -> bytes:
    """What is stored and looked up: SHA-256."""
    return hashlib.sha256(secret.encode()).digest()


def visible_prefix(secret: str) -> str:
    """The part of a secret that lists may show, so that people can tell keys apart."""
    head, _, random = secret.rpartition("_")
    return f"{head}_{random[:PREFIX_LENGTH]}"
