"""Random schemas, relationships and questions: every operator of the language occurs.

Plain random numbers spread over schemas better than a strategy library, whose examples lean towards small and repeated
ones; cases are shrunk afterwards (`fuzz.shrink`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from authz.oracle import Oracle

from remit.authz.errors import SchemaError
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.schema_check import check_schema, find_wildcard
from remit.authz.schema_print import print_schema
from remit.authz.schema_tree import (
    AllowedType,
    Arrow,
    Definition,
    Exclusion,
    Expression,
    Intersection,
    Nil,
    Permission,
    Reference,
    Relation,
    Schema,
    Self,
    Union,
)

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2300, 1, 1, tzinfo=UTC)
TYPES = ("user", "grp", "folder", "doc")
# One id is a UUID, which is stored as it is, so that objects of several types share it.
IDS = ("one", "0199b0a2-7c00-7000-8000-000000000002")
RELATIONS = ("rel_a", "rel_b", "rel_c")
PERMISSIONS = ("per_a", "per_b", "per_c")
CIRCLING = 0.2
SELF_NAMING = 0.1
QUESTIONS = 16


@dataclass(frozen=True)
class Case:
    """One world and what is asked about it; a question is written like a relationship."""

    schema: str
    relationships: tuple[Relationship, ...]
    questions: tuple[Relationship, ...]


def make_schema(random: Random) -> Schema:
    """A schema that type-checks, over four types."""
    object_types = TYPES[1 : 1 + random.randint(1, 3)]
    names = {kind: RELATIONS[: random.randint(1, 3)] for kind in object_types}
    permissions = {kind: PERMISSIONS[: random.randint(1, 3)] for kind in object_types}
    relations: dict[str, list[Relation]] = {
        kind: _relations(random, names[kind], lambda: _allowed(random, object_types, names, permissions))
        for kind in object_types
    }
    bare = Schema(
        (
            Definition("user", ()),
            *(
                Definition(kind, (*relations[kind], *(Permission(name, Nil()) for name in permissions[kind])))
                for kind in object_types
            ),
        ),
        ("expiration", "self"),
    )
    # What a set includes must hold no wildcard, and no arrow may start at one: drop the wildcards that are reached.
    definitions = [Definition("user", ())]
    naming = random.random() < SELF_NAMING
    for kind in object_types:
        members: list[Relation | Permission] = list(relations[kind])
        for index, name in enumerate(permissions[kind]):
            named = permissions[kind] if naming else permissions[kind][:index]
            expression = _expression(random, bare, kind, relations[kind], named)
            members.append(Permission(name, expression))
        definitions.append(Definition(kind, tuple(members)))
    return _without_included_wildcards(Schema(tuple(definitions), ("expiration", "self")))


def _relations(random: Random, names: tuple[str, ...], pick: Callable[[], tuple[AllowedType, ...]]) -> list[Relation]:
    """Relations of which half take what the one before takes, as viewers, editors and owners do."""
    found: list[Relation] = []
    for name in names:
        again = bool(found) and random.random() < 0.5
        found.append(Relation(name, found[-1].allowed if again else pick()))
    return found


def _allowed(
    random: Random, kinds: tuple[str, ...], names: dict[str, tuple[str, ...]], permissions: dict[str, tuple[str, ...]]
) -> tuple[AllowedType, ...]:
    choices = [AllowedType("user")] * 3 + [AllowedType("user", wildcard=True), AllowedType("user", expiration=True)]
    for kind in kinds:
        choices += [AllowedType(kind), AllowedType(kind, wildcard=True), AllowedType(kind, expiration=True)]
        choices += [AllowedType(kind, name) for name in (*names[kind], *permissions[kind])]
        choices += [AllowedType(kind, name, expiration=True) for name in names[kind]]
    picked = [random.choice(choices) for _ in range(random.randint(1, 3))]
    if random.random() < 0.5:
        picked.append(AllowedType("user"))
    if all(allowed.wildcard for allowed in picked):
        picked.append(AllowedType(random.choice(("user", *kinds))))
    return tuple(dict.fromkeys(picked))


def _expression(
    random: Random, schema: Schema, kind: str, relations: list[Relation], named: tuple[str, ...]
) -> Expression:
    leaves: list[Expression] = [Reference(relation.name) for relation in relations]
    leaves += [Reference(name) for name in named]
    arrows: list[Expression] = []
    for relation in relations:
        if any(allowed.wildcard for allowed in relation.allowed):
            continue
        targets = {
            member.name
            for allowed in relation.allowed
            if (definition := schema.get(allowed.type)) is not None
            for member in definition.members
        }
        arrows += [Arrow(relation.name, name, every) for name in sorted(targets) for every in (False, False, True)]
    # Deep ones are rare: written out over recursive types they become megabytes of SQL.
    return _combined(random, leaves * 6 + arrows * 3 + [Self(), Nil()], random.choice((0, 1, 1, 1, 1, 2)))


def _combined(random: Random, leaves: list[Expression], depth: int) -> Expression:
    """One leaf, or parts of the next depth put together; unions are the most frequent, as in real schemas."""
    kinds = ["union", "union", "union", "leaf", "both", "minus"] if depth else ["leaf"]
    kind = random.choice(kinds)
    if kind == "leaf":
        return random.choice(leaves)
    parts = [_combined(random, leaves, depth - 1) for _ in range(random.randint(2, 3) if kind == "union" else 2)]
    if kind == "union":
        return Union(tuple(parts))
    return Intersection(tuple(parts)) if kind == "both" else Exclusion(*parts)


def _without_included_wildcards(schema: Schema) -> Schema:
    def reaches(allowed: AllowedType) -> bool:
        return allowed.relation is not None and find_wildcard(schema, allowed.type, allowed.relation) is not None

    arrowed = {
        (definition.name, part.relation)
        for definition in schema.definitions
        for member in definition.members
        if isinstance(member, Permission)
        for part in _arrows(member.expression)
    }
    definitions = []
    for definition in schema.definitions:
        members: list[Relation | Permission] = []
        for member in definition.members:
            if isinstance(member, Relation):
                kept = tuple(allowed for allowed in member.allowed if not reaches(allowed))
                if (definition.name, member.name) in arrowed:
                    kept = tuple(allowed for allowed in kept if not allowed.wildcard)
                members.append(Relation(member.name, kept or (AllowedType("user"),)))
            else:
                members.append(member)
        definitions.append(Definition(definition.name, tuple(members)))
    return Schema(tuple(definitions), schema.flags)


def _arrows(expression: Expression) -> list[Arrow]:
    match expression:
        case Arrow():
            return [expression]
        case Union(parts) | Intersection(parts):
            return [arrow for part in parts for arrow in _arrows(part)]
        case Exclusion(base, removed):
            return _arrows(base) + _arrows(removed)
    return []


def make_case(random: Random) -> Case:
    """A checked schema, up to 45 relationships that it allows, and questions about it."""
    schema = make_schema(random)
    while not _type_checks(schema):
        schema = make_schema(random)
    choices = [
        (definition.name, member.name, allowed)
        for definition in schema.definitions
        for member in definition.members
        if isinstance(member, Relation)
        for allowed in member.allowed
    ]
    facts: dict[tuple[Resource, str, Subject], Relationship] = {}
    # In most worlds objects point at later ones only, so that a recursion ends: SpiceDB has no answer where one circles
    # until its limit, and every judge should have one to most questions.
    order = [(kind, identifier) for kind in TYPES for identifier in IDS]
    random.shuffle(order)
    ranks = {place: rank for rank, place in enumerate(order)}
    circles = random.random() < CIRCLING
    for kind, relation, allowed in (random.choice(choices) for _ in range(random.randint(6, 45))):
        resource = Resource(kind, random.choice(IDS))
        subject_id = "*" if allowed.wildcard else random.choice(IDS)
        expires = random.choice((PAST, FUTURE, FUTURE)) if allowed.expiration else None
        target = ranks.get((allowed.type, subject_id), len(ranks))
        if not circles and allowed.type != "user" and target <= ranks[kind, resource.id]:
            continue
        fact = Relationship(resource, relation, Subject(allowed.type, subject_id, allowed.relation), expires)
        facts[fact.resource, fact.relation, fact.subject] = fact
    return Case(print_schema(schema), tuple(facts.values()), _questions(random, schema, tuple(facts.values())))


def _questions(random: Random, schema: Schema, facts: tuple[Relationship, ...]) -> tuple[Relationship, ...]:
    """Questions of which about half are allows, as far as the world has any: the oracle tells which are."""
    oracle = Oracle(schema, facts)
    members = [(definition.name, member.name) for definition in schema.definitions for member in definition.members]
    kinds = [definition.name for definition in schema.definitions]
    set_type, set_name = random.choice(members)
    subjects = [Subject("user", "one"), Subject("user", IDS[1]), Subject(random.choice(kinds), "one")]
    subjects.append(Subject(set_type, "one", set_name))
    allowed: list[Relationship] = []
    denied: list[Relationship] = []
    everything = [Resource(kind, identifier) for kind in kinds for identifier in IDS]
    for subject in subjects:
        held, _ = oracle.holders(subject, everything)
        for kind, name in members:
            for identifier in IDS:
                question = Relationship(Resource(kind, identifier), name, subject)
                (allowed if (kind, identifier, name) in held else denied).append(question)
    return tuple(
        question for pool in (allowed, denied) if pool for question in random.sample(pool, min(QUESTIONS, len(pool)))
    )


def _type_checks(schema: Schema) -> bool:
    try:
        check_schema(schema)
    except SchemaError:
        return False
    return True
