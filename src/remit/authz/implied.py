"""Which parts of a formula another part already says, so that a row is asked less.

`(owner + tenant->admin) & tenant->access` asks the second part of an administrator too, although `access` holds for
whoever is `admin`. Freed of that it reads `tenant->admin + (owner & tenant->access)`.
"""

from __future__ import annotations

from remit.authz.formula import All, Any, Direct, Hop, Node, Term
from remit.authz.graph import Graph


def free_implied(graph: Graph, term: All) -> Term:
    """A conjunction, with the alternatives that imply all its other parts put beside it."""
    for part in term.parts:
        if not isinstance(part, Any):
            continue
        others = tuple(other for other in term.parts if other is not part)
        free = [item for item in part.parts if all(covers(graph, other, item) for other in others)]
        bound = [item for item in part.parts if item not in free]
        if free:
            rest = (All((Any(tuple(bound)) if len(bound) > 1 else bound[0], *others)),) if bound else ()
            return Any((*free, *rest))
    return term


def covers(graph: Graph, wide: Term, narrow: Term) -> bool:
    """Whether `wide` certainly holds on every object on which `narrow` does; False where that is not plain to see."""
    if wide == narrow:
        return True
    if isinstance(narrow, Any):
        return all(covers(graph, wide, part) for part in narrow.parts)
    if isinstance(wide, All):
        return all(covers(graph, part, narrow) for part in wide.parts)
    if isinstance(wide, Any):
        return any(covers(graph, part, narrow) for part in wide.parts)
    if isinstance(narrow, All):
        return any(covers(graph, wide, part) for part in narrow.parts)
    match wide, narrow:
        case Direct(), Direct():
            return _follows(wide, narrow) and wide.everyone == narrow.everyone
        case Hop(), Hop():
            fewer = not narrow.any_subject_relation and set(narrow.subject_relations) <= set(wide.subject_relations)
            alike = wide.subject_type == narrow.subject_type and (wide.any_subject_relation or fewer)
            return alike and _follows(wide, narrow) and _covers_node(graph, wide.target, narrow.target)
    return False


def _follows(wide: Direct | Hop, narrow: Direct | Hop) -> bool:
    """Whether every relationship that `narrow` follows is one that `wide` follows as well."""
    return set(narrow.relations) <= set(wide.relations) and narrow.expiring <= wide.expiring


def _covers_node(graph: Graph, wide: Node, narrow: Node) -> bool:
    if wide == narrow:
        return True
    # Recursion would have to be followed to its end.
    if graph.component(wide) or graph.component(narrow):
        return False
    return covers(graph, graph.expand(wide), graph.expand(narrow))
