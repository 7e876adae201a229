"""What can be said of all formulas of a schema at once: which go in circles, and which can hold at all."""

from __future__ import annotations

from remit.authz.formula import (
    NEVER,
    All,
    Any,
    Call,
    Every,
    Hop,
    Node,
    Not,
    Term,
    join_all,
    join_any,
    references,
)


def without_circles(formulas: dict[Node, Term]) -> dict[Node, Term]:
    """Write permissions that call each other in a circle on the same object as the least that they say.

    What a formula says of its own node is replaced by never (Bekić 1984); a schema in which such a call is excluded
    does not load.
    """
    components = find_components({node: Any(tuple(map(Call, _calls(term)))) for node, term in formulas.items()})

    def write_out(term: Term, component: frozenset[Node], path: frozenset[Node]) -> Term:
        match term:
            case Call(node) if node in component:
                return NEVER if node in path else write_out(formulas[node], component, path | {node})
            case Any(parts):
                return join_any([write_out(part, component, path) for part in parts])
            case All(parts):
                return join_all([write_out(part, component, path) for part in parts])
        return term

    return {
        node: write_out(term, components[node], frozenset((node,))) if components[node] else term
        for node, term in formulas.items()
    }


def _calls(term: Term) -> list[Node]:
    match term:
        case Call(node):
            return [node]
        case Any(parts) | All(parts):
            return [node for part in parts for node in _calls(part)]
        case Not(part):
            return _calls(part)
    return []


def find_possible(formulas: dict[Node, Term]) -> set[Node]:
    """The nodes that the caller can hold at all, looking only at kinds of subjects."""
    possible: set[Node] = set()

    def holds(term: Term) -> bool:
        match term:
            case Hop(target=target):
                return target in possible
            case Every(targets=targets):
                return any(target in possible for _, _, target in targets)
            case Call(node):
                return node in possible
            case Any(parts):
                return any(holds(part) for part in parts)
            case All(parts):
                return all(holds(part) for part in parts)
        return True

    changed = True
    while changed:
        found = {node for node, term in formulas.items() if node not in possible and holds(term)}
        possible |= found
        changed = bool(found)
    return possible


def prune_term(term: Term, possible: set[Node]) -> Term:
    """The term without what can never lead to the caller."""
    match term:
        case Hop(target=target):
            return term if target in possible else NEVER
        case Every(relation, targets, expiring):
            left = tuple(target for target in targets if target[2] in possible)
            return Every(relation, left, expiring) if left else NEVER
        case Call(node):
            return term if node in possible else NEVER
        case Any(parts):
            return join_any([prune_term(part, possible) for part in parts])
        case All(parts):
            return join_all([prune_term(part, possible) for part in parts])
        case Not(part):
            return Not(prune_term(part, possible))
    return term


def find_components(formulas: dict[Node, Term]) -> dict[Node, frozenset[Node]]:  # noqa: C901 - Tarjan's, in one piece
    """Strongly connected components (Tarjan 1972, without recursion); empty for a node that is not recursive."""
    edges = {node: list(dict.fromkeys(references(term))) for node, term in formulas.items()}
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    stack: list[Node] = []
    on_stack: set[Node] = set()
    components: dict[Node, frozenset[Node]] = {}
    for root in formulas:
        if root in index:
            continue
        work = [(root, iter(edges[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(edges[target])))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    members = [stack.pop()]
                    while members[-1] != node:
                        members.append(stack.pop())
                    on_stack.difference_update(members)
                    recursive = len(members) > 1 or node in edges[node]
                    for member in members:
                        components[member] = frozenset(members) if recursive else frozenset()
    return components
