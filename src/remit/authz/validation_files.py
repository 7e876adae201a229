"""Reads SpiceDB's validation files: a schema, relationships, and what must and must not hold."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import yaml

from remit.authz.errors import RelationshipError
from remit.authz.model import Relationship, Resource, Subject

_NAME = r"[a-z][a-z0-9_/]*"
_ID = r"[^#@:\s\[]+"
_RELATIONSHIP = re.compile(
    rf"(?P<type>{_NAME}):(?P<id>{_ID})#(?P<relation>[a-z0-9_.]+)@"
    rf"(?P<subject_type>{_NAME}):(?P<subject_id>{_ID})(#(?P<subject_relation>\.\.\.|[a-z0-9_]+))?"
    r"(?P<traits>(\[[^\]]*\])*)"
)
_EXPIRATION = re.compile(r"\[expiration:([^\]]+)\]")


@dataclass(frozen=True, slots=True)
class ValidationFile:
    """What one validation file says.

    Attributes:
        schema: the schema's source.
        relationships: the facts.
        allowed: questions that must be answered with yes.
        denied: questions that must be answered with no.
        expected: per `type:id#permission`, the subjects that hold it and no others.
    """

    schema: str
    relationships: list[Relationship]
    allowed: list[Relationship] = field(default_factory=list)
    denied: list[Relationship] = field(default_factory=list)
    expected: dict[str, list[str]] = field(default_factory=dict)


def parse_relationship(text: str) -> Relationship:
    """Read `type:id#relation@type:id`, perhaps with `#relation` and `[expiration:…]`.

    Raises:
        RelationshipError: the text is no relationship, or carries a caveat.
    """
    match = _RELATIONSHIP.fullmatch(text.strip())
    if match is None:
        raise RelationshipError(f"not a relationship: {text.strip()[:200]!r}")
    traits = match["traits"]
    expiration = _EXPIRATION.search(traits)
    if _EXPIRATION.sub("", traits):
        raise RelationshipError(f"caveats are not supported: {text.strip()[:200]!r}")
    relation = match["subject_relation"]
    return Relationship(
        Resource(match["type"], match["id"]),
        match["relation"],
        Subject(match["subject_type"], match["subject_id"], None if relation in (None, "...") else relation),
        datetime.fromisoformat(expiration[1]) if expiration else None,
    )


def read_validation_file(text: str) -> ValidationFile:
    """Read one file.

    Raises:
        RelationshipError: a line that is no relationship, or no validation file at all.
    """
    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RelationshipError(f"not YAML: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("schema"), str):
        raise RelationshipError("not a validation file: it has no schema")
    lines = [line.strip() for line in str(data.get("relationships") or "").splitlines()]
    assertions = data.get("assertions") or {}
    if assertions.get("assertCaveated"):
        raise RelationshipError("caveats are not supported: assertCaveated")
    return ValidationFile(
        data["schema"],
        [parse_relationship(line) for line in lines if line and not line.startswith("//")],
        [parse_relationship(line) for line in assertions.get("assertTrue") or []],
        [parse_relationship(line) for line in assertions.get("assertFalse") or []],
        {str(key): [str(item) for item in value or []] for key, value in (data.get("validation") or {}).items()},
    )
