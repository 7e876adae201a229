"""Random schemas, relationships and questions, as hypothesis strategies: every operator of the language occurs."""

from dataclasses import dataclass
from datetime import UTC, datetime

from authz.oracle import Oracle
from hypothesis import strategies as st

from remit.authz.errors import SchemaError
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.schema import (
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
from remit.authz.schema_check import check_schema, find_wildcard
from remit.authz.schema_print import print_schema

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2300, 1, 1, tzinfo=UTC)
TYPES = ("user", "grp", "folder", "doc")
# One id is a UUID, which is stored as it is, so that objects of several types share it.
IDS = ("one", "0199b0a2-7c00-7000-8000-000000000002")
RELATIONS = ("rel_a", "rel_b", "rel_c")
PERMISSIONS = ("per_a", "per_b", "per_c")


@dataclass(frozen=True)
class Case:
    """One world and what is asked about it; a question is written like a relationship."""

    schema: str
    relationships: tuple[Relationship, ...]
    questions: tuple[Relationship, ...]


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """A schema that type-checks, over four types."""
    object_types = TYPES[1 : 1 + draw(st.integers(1, 3))]
    names = {kind: RELATIONS[: draw(st.integers(1, 3))] for kind in object_types}
    permissions = {kind: PERMISSIONS[: draw(st.integers(1, 3))] for kind in object_types}
    relations: dict[str, list[Relation]] = {
        kind: [Relation(name, draw(_allowed(object_types, names, permissions))) for name in names[kind]]
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
    for kind in object_types:
        members: list[Relation | Permission] = list(relations[kind])
        for index, name in enumerate(permissions[kind]):
            expression = draw(_expressions(bare, kind, relations[kind], permissions[kind][:index]))
            members.append(Permission(name, expression))
        definitions.append(Definition(kind, tuple(members)))
    return _without_included_wildcards(Schema(tuple(definitions), ("expiration", "self")))


@st.composite
def _allowed(
    draw: st.DrawFn, kinds: tuple[str, ...], names: dict[str, tuple[str, ...]], permissions: dict[str, tuple[str, ...]]
) -> tuple[AllowedType, ...]:
    choices = [AllowedType("user")] * 3 + [AllowedType("user", wildcard=True), AllowedType("user", expiration=True)]
    for kind in kinds:
        choices += [AllowedType(kind), AllowedType(kind, wildcard=True), AllowedType(kind, expiration=True)]
        choices += [AllowedType(kind, name) for name in (*names[kind], *permissions[kind])]
        choices += [AllowedType(kind, name, expiration=True) for name in names[kind]]
    picked = draw(st.lists(st.sampled_from(choices), min_size=1, max_size=3, unique=True))
    if all(allowed.wildcard for allowed in picked):
        picked.append(AllowedType(draw(st.sampled_from(("user", *kinds)))))
    # SpiceDB 1.54 skips the expiry where a relation takes a type with expiration and a set of that same type without:
    # it takes the set for the type when it counts what cannot expire. Such relations are left out.
    expiring = {allowed.type for allowed in picked if allowed.expiration and allowed.relation is None}
    return tuple(
        allowed
        for allowed in dict.fromkeys(picked)
        if allowed.relation is None or allowed.expiration or allowed.type not in expiring
    )


def _expressions(
    schema: Schema, kind: str, relations: list[Relation], earlier: tuple[str, ...]
) -> st.SearchStrategy[Expression]:
    leaves: list[Expression] = [Reference(relation.name) for relation in relations]
    leaves += [Reference(name) for name in earlier]
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
    leaf = st.sampled_from(leaves * 4 + arrows * 4 + [Self(), Nil()])
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: Union(tuple(parts))),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: Union(tuple(parts))),
            st.lists(inner, min_size=2, max_size=2).map(lambda parts: Intersection(tuple(parts))),
            st.tuples(inner, inner).map(lambda pair: Exclusion(*pair)),
        ),
        max_leaves=5,
    )


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


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A checked schema, up to 45 relationships that it allows, and questions about it."""
    schema = draw(schemas().filter(_type_checks))
    choices = [
        (definition.name, member.name, allowed)
        for definition in schema.definitions
        for member in definition.members
        if isinstance(member, Relation)
        for allowed in member.allowed
    ]
    facts: dict[tuple[Resource, str, Subject], Relationship] = {}
    for kind, relation, allowed in draw(st.lists(st.sampled_from(choices), min_size=14, max_size=45)):
        resource = Resource(kind, draw(st.sampled_from(IDS)))
        subject_id = "*" if allowed.wildcard else draw(st.sampled_from(IDS))
        expires = draw(st.sampled_from((PAST, FUTURE, FUTURE))) if allowed.expiration else None
        fact = Relationship(resource, relation, Subject(allowed.type, subject_id, allowed.relation), expires)
        facts[fact.resource, fact.relation, fact.subject] = fact
    return Case(print_schema(schema), tuple(facts.values()), draw(_questions(schema, tuple(facts.values()))))


@st.composite
def _questions(draw: st.DrawFn, schema: Schema, facts: tuple[Relationship, ...]) -> tuple[Relationship, ...]:
    """Questions of which about half are allows, as far as the world has any: the oracle tells which are."""
    oracle = Oracle(schema, facts)
    members = [(definition.name, member.name) for definition in schema.definitions for member in definition.members]
    kinds = [definition.name for definition in schema.definitions]
    set_type, set_name = draw(st.sampled_from(members))
    subjects = [Subject("user", "one"), Subject("user", IDS[1]), Subject(draw(st.sampled_from(kinds)), "one")]
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
        question
        for pool in (allowed, denied)
        if pool
        for question in draw(
            st.lists(st.sampled_from(pool), min_size=8, max_size=8, unique=True) if len(pool) > 8 else st.just(pool)
        )
    )


def _type_checks(schema: Schema) -> bool:
    try:
        check_schema(schema)
    except SchemaError:
        return False
    return True
