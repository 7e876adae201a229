"""A schema as formulas over one caller: what each relation and permission asks of the relationships.

The formulas are made for one kind of caller (`user`, or a set like `group#member`): what can never lead to that kind
is left out, so that the SQL asks only what can be answered with yes. A node is a relation or permission of a type.
"""

from __future__ import annotations

from remit.authz.errors import PermissionUnknown
from remit.authz.formula import (
    NEVER,
    All,
    Any,
    Call,
    Direct,
    Every,
    Hop,
    Node,
    Not,
    Same,
    Term,
    join_all,
    join_any,
)
from remit.authz.formulas import find_components, find_possible, prune_term, without_circles
from remit.authz.schema_check import suggest
from remit.authz.schema_tree import (
    Arrow,
    Exclusion,
    Expression,
    Intersection,
    Nil,
    Reference,
    Relation,
    Schema,
    Self,
    Union,
)


class Graph:
    """The formulas of a schema for one kind of caller.

    Args:
        schema: a checked schema.
        subject_type: the caller's type.
        subject_relation: the caller's relation when it is a set, else None.
    """

    def __init__(self, schema: Schema, subject_type: str, subject_relation: str | None) -> None:
        self.subject_type = subject_type
        self.subject_relation = subject_relation
        self._schema = schema
        raw = {
            Node(definition.name, member.name): self._formula_of(definition.name, member.name)
            for definition in schema.definitions
            for member in definition.members
        }
        raw = without_circles(raw)
        possible = find_possible(raw)
        self.formulas = {node: prune_term(term, possible) for node, term in raw.items()}
        self._components = find_components(self.formulas)

    def formula(self, node: Node) -> Term:
        """A node's formula.

        Raises:
            PermissionUnknown: the schema has no such type or permission.
        """
        try:
            return self.formulas[node]
        except KeyError:
            raise _unknown(self._schema, node) from None

    def component(self, node: Node) -> frozenset[Node]:
        """The nodes that are recursive together with this one; empty when it is not recursive."""
        self.formula(node)
        return self._components[node]

    def expand(self, node: Node) -> Term:
        """The formula with every call on the same object written out, except calls into other recursions."""
        component = self.component(node)

        def write_out(term: Term) -> Term:
            match term:
                case Call(callee):
                    inner = self.component(callee)
                    return term if inner and inner != component else write_out(self.formulas[callee])
                case Any(parts):
                    return join_any([write_out(part) for part in parts])
                case All(parts):
                    return join_all([write_out(part) for part in parts])
                case Not(part):
                    return Not(write_out(part))
            return term

        return write_out(self.formula(node))

    def _formula_of(self, type_name: str, name: str) -> Term:
        definition = self._schema.get(type_name)
        member = definition.get(name) if definition else None
        assert member is not None
        if isinstance(member, Relation):
            term = self._relation_term(member)
        else:
            term = self._expression_term(type_name, member.expression)
        # SpiceDB: a set is a member of itself.
        if (type_name, name) == (self.subject_type, self.subject_relation):
            return join_any([Same(), term])
        return term

    def _relation_term(self, relation: Relation) -> Term:
        parts: list[Term] = []
        # A relation may take a kind of subject with and without expiration; one that has expired grants nothing in
        # either case.
        expires: dict[tuple[str, str | None, bool], bool] = {}
        for allowed in relation.allowed:
            kind = (allowed.type, allowed.relation, allowed.wildcard)
            expires[kind] = expires.get(kind, False) or allowed.expiration
        for (type_name, subject_relation, wildcard), expiring in expires.items():
            if type_name == self.subject_type:
                if wildcard:
                    # SpiceDB: the wildcard holds for every subject of the type, for a set too.
                    parts.append(Direct((relation.name,), True, expiring))
                elif subject_relation == self.subject_relation:
                    parts.append(Direct((relation.name,), False, expiring))
            if subject_relation is not None:
                target = Node(type_name, subject_relation)
                parts.append(Hop((relation.name,), type_name, (subject_relation,), False, target, expiring))
        return join_any(parts)

    def _expression_term(self, type_name: str, expression: Expression) -> Term:
        match expression:
            case Reference(name):
                return Call(Node(type_name, name))
            case Nil():
                return NEVER
            case Self():
                own = (type_name, None) == (self.subject_type, self.subject_relation)
                return Same() if own else NEVER
            case Arrow(relation, name, every):
                return self._arrow_term(type_name, relation, name, every)
            case Union(parts):
                return join_any([self._expression_term(type_name, part) for part in parts])
            case Intersection(parts):
                return join_all([self._expression_term(type_name, part) for part in parts])
            case Exclusion(base, removed):
                kept = self._expression_term(type_name, base)
                return join_all([kept, Not(self._expression_term(type_name, removed))])

    def _arrow_term(self, type_name: str, relation_name: str, name: str, every: bool) -> Term:
        definition = self._schema.get(type_name)
        relation = definition.get(relation_name) if definition else None
        assert isinstance(relation, Relation)
        expiring = any(allowed.expiration for allowed in relation.allowed)
        subject_relations: dict[str, list[str | None]] = {}
        for allowed in relation.allowed:
            subject_relations.setdefault(allowed.type, []).append(allowed.relation)
        targets = [
            (subject_type, tuple(dict.fromkeys(subject_relations[subject_type])), Node(subject_type, name))
            for subject_type in subject_relations
            if (target := self._schema.get(subject_type)) is not None
            # An object whose type has no such permission grants nothing.
            and (target.get(name) is not None)
        ]
        if every:
            return Every(relation_name, tuple(targets), expiring)
        return join_any(
            [
                Hop((relation_name,), subject_type, relations, True, target, expiring)
                for subject_type, relations, target in targets
            ]
        )


def _unknown(schema: Schema, node: Node) -> PermissionUnknown:
    definition = schema.get(node.type)
    if definition is None:
        near = suggest(node.type, (known.name for known in schema.definitions))
        return PermissionUnknown(f"the schema has no type {node.type!r}" + (f"; {near}" if near else ""))
    near = suggest(node.name, (member.name for member in definition.members))
    return PermissionUnknown(
        f"type {node.type!r} has no relation or permission {node.name!r}" + (f"; {near}" if near else "")
    )
