"""A naive evaluator over Python sets: slow, short, meant to be read and believed.

It follows the words of the language: a relation holds its subjects, everyone where `*` is written, and the members of
the sets written to it; a permission combines; an arrow looks at what a relation points at. Everything is derived
from nothing until nothing is added. An exclusion needs to know what does not hold: the facts are derived again and
again, with what cannot hold taken from the derivation before (the well-founded semantics of Van Gelder, Ross and
Schlipf 1991). What depends on its own opposite has no answer.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from remit.authz.model import Relationship, Resource, Subject
from remit.authz.schema_tree import (
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

    def holders(self, subject: Subject, also: Iterable[Resource] = ()) -> tuple[set[Key], set[Key]]:
        """What the subject holds certainly, and what it may hold: (type, id, relation or permission) each."""
        objects = self.objects() | set(also) | {Resource(subject.type, subject.id)}
        certain: set[Key] = set()
        while True:
            possible = self._derive(subject, objects, certain)
            following = self._derive(subject, objects, possible)
            if following == certain:
                return certain, possible
            certain = following

    def _derive(self, subject: Subject, objects: set[Resource], other: set[Key]) -> set[Key]:
        """Everything that follows when an exclusion removes what `other` holds."""
        held: set[Key] = set()
        while True:
            following = {
                (item.type, item.id, member.name)
                for item in objects
                if (definition := self.schema.get(item.type)) is not None
                for member in definition.members
                if self._member(subject, item, member, held, other)
            }
            if following == held:
                return held
            held = following

    def check(self, subject: Subject, name: str, resource: Resource) -> bool:
        """Whether the subject holds the relation or permission on the resource.

        Raises:
            NoAnswer: that depends on its own opposite.
        """
        certain, possible = self.holders(subject, [resource])
        key = (resource.type, resource.id, name)
        if key in possible and key not in certain:
            raise NoAnswer
        return key in certain

    def _member(
        self, subject: Subject, item: Resource, member: Relation | Permission, held: set[Key], other: set[Key]
    ) -> bool:
        if (subject.type, subject.id, subject.relation) == (item.type, item.id, member.name):
            return True
        if isinstance(member, Permission):
            return self._holds(subject, item, member.expression, held, other)
        for fact in self._facts_of(item, member.name):
            target = fact.subject
            if target == subject or (target.type == subject.type and target.id == "*"):
                return True
            if target.relation is not None and (target.type, target.id, target.relation) in held:
                return True
        return False

    def _facts_of(self, item: Resource, relation: str) -> list[Relationship]:
        return [fact for fact in self.facts if fact.resource == item and fact.relation == relation]

    def _holds(self, subject: Subject, item: Resource, expression: Expression, held: set[Key], other: set[Key]) -> bool:
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
                return any(self._holds(subject, item, part, held, other) for part in parts)
            case Intersection(parts):
                return all(self._holds(subject, item, part, held, other) for part in parts)
            case Exclusion(base, removed):
                kept = self._holds(subject, item, base, held, other)
                return kept and not self._holds(subject, item, removed, other, held)
