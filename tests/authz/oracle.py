"""A naive evaluator over Python sets: slow, short, meant to be read and believed.

It follows the words of the language: a relation holds its subjects, everyone where `*` is written, and the members of
the sets written to it; a permission combines; an arrow looks at what a relation points at. Cycles are solved by
repeating from nothing until nothing changes; where an exclusion makes that swing for ever, there is no answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from remit.authz.model import Relationship, Resource, Subject
from remit.authz.schema import (
    Arrow,
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

Key = tuple[str, str, str]


class NoAnswer(Exception):
    """The facts contradict themselves: an exclusion that depends on its own result."""


class Oracle:
    """All facts of a schema and its relationships."""

    def __init__(self, schema: Schema, relationships: Iterable[Relationship]) -> None:
        now = datetime.now(UTC)
        self.schema = schema
        self.facts = [fact for fact in relationships if fact.expires_at is None or fact.expires_at > now]

    def objects(self) -> set[Resource]:
        """Every object that a fact names."""
        found = {fact.resource for fact in self.facts}
        return found | {Resource(f.subject.type, f.subject.id) for f in self.facts if f.subject.id != "*"}

    def holders(self, subject: Subject, also: Iterable[Resource] = ()) -> set[Key]:
        """Every (type, id, relation or permission) that the subject holds.

        Raises:
            NoAnswer: an exclusion depends on its own result.
        """
        objects = self.objects() | set(also) | {Resource(subject.type, subject.id)}
        held: set[Key] = set()
        seen: list[set[Key]] = []
        while True:
            following = {
                (item.type, item.id, member.name)
                for item in objects
                if (definition := self.schema.get(item.type)) is not None
                for member in definition.members
                if self._member(subject, item, member, held)
            }
            if following == held:
                return held
            if following in seen:
                raise NoAnswer
            seen.append(following)
            held = following

    def check(self, subject: Subject, name: str, resource: Resource) -> bool:
        """Whether the subject holds the relation or permission on the resource."""
        return (resource.type, resource.id, name) in self.holders(subject, [resource])

    def _member(self, subject: Subject, item: Resource, member: Relation | Permission, held: set[Key]) -> bool:
        if (subject.type, subject.id, subject.relation) == (item.type, item.id, member.name):
            return True
        if isinstance(member, Permission):
            return self._holds(subject, item, member.expression, held)
        for fact in self._facts_of(item, member.name):
            target = fact.subject
            if target == subject or (target.type == subject.type and target.id == "*"):
                return True
            if target.relation is not None and (target.type, target.id, target.relation) in held:
                return True
        return False

    def _facts_of(self, item: Resource, relation: str) -> list[Relationship]:
        return [fact for fact in self.facts if fact.resource == item and fact.relation == relation]

    def _holds(self, subject: Subject, item: Resource, expression: Expression, held: set[Key]) -> bool:
        match expression:
            case Nil():
                return False
            case Self():
                return subject == Subject(item.type, item.id)
            case Reference(name):
                return (item.type, item.id, name) in held
            case Arrow(relation, name, every):
                targets = [fact.subject for fact in self._facts_of(item, relation)]
                answers = [(target.type, target.id, name) in held for target in targets]
                return all(answers) and bool(answers) if every else any(answers)
            case Union(parts):
                return any(self._holds(subject, item, part, held) for part in parts)
            case Intersection(parts):
                return all(self._holds(subject, item, part, held) for part in parts)
            case Exclusion(base, removed):
                return self._holds(subject, item, base, held) and not self._holds(subject, item, removed, held)
