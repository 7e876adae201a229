"""Says which form the SQL of a permission has, for a check and for a list, and why."""

from dataclasses import dataclass

from remit.authz.formula import All, Any, Call, Direct, Every, Hop, Node, Not, Same, Term
from remit.authz.graph import Graph
from remit.authz.lists import FEW, ListCompiler
from remit.authz.postgres import PostgresEngine
from remit.authz.reach import LARGEST_SET, WIDEST


@dataclass(frozen=True, slots=True)
class Plan:
    """How one permission is answered for one kind of caller.

    Attributes:
        check: the form of the check.
        branches: for lists, each kind of relationship that the merge reads, with what is asked late of the merged ids.
        whole_sets: nodes whose objects are all found before the merge begins, with why that may be many.
        forms: the forms of the list in the order in which they are tried, each with whom it is for.
    """

    check: str
    branches: tuple[str, ...]
    whole_sets: tuple[str, ...]
    forms: tuple[str, ...]


def describe_plan(engine: PostgresEngine, resource_type: str, permission: str, subject_type: str = "user") -> Plan:
    """Describe the plan of a permission.

    Raises:
        PermissionUnknown: the schema has no such type or permission.
    """
    compiler = engine.compiler_for(subject_type)
    node = Node(resource_type, permission)
    graph = compiler.graph
    recursive = [found for found in [node, *_reached(compiler.graph.expand(node))] if graph.component(found)]
    if not recursive:
        check = "probes from the resource, without recursion"
    elif all(compiler.linear_products(found) is not None for found in recursive):
        check = f"probes from the resource, and a walk down through {', '.join(map(_name, recursive))}"
    else:
        hard = [found for found in recursive if compiler.linear_products(found) is None]
        check = f"all objects in reach, solved in rounds: {', '.join(map(_name, hard))} combine recursive parts"
    lists = ListCompiler(compiler)
    branches, sets = [], []
    for branch in lists.branches(node):
        late = f", then asks of the merged ids {' and '.join(map(_describe, branch.conditions))}"
        branches.append(f"{_describe(branch.leaf)}{late if branch.conditions else ''}")
        if isinstance(branch.leaf, Hop):
            sets.append(_describe_set(graph, node, branch.leaf.target))
    return Plan(
        check,
        tuple(branches),
        tuple(dict.fromkeys(sets)),
        _describe_forms(graph, node, engine.list_seconds) if branches else (),
    )


def _describe_set(graph: Graph, node: Node, target: Node) -> str:
    if target in graph.component(node):
        return f"{_name(target)} (recursive over what is listed: as many as the caller may see)"
    return f"{_name(target)} (walked up, level by level)" if graph.component(target) else _name(target)


def _describe_forms(graph: Graph, node: Node, seconds: float) -> tuple[str, ...]:
    small = f"a caller whose sets and branches number at most {WIDEST}"
    if graph.component(node):
        small += f"; {_name(node)} is recursive over what is listed, so that is somebody who sees little"
    return (
        f"ordered merge: for {small}",
        f"all ids, then sorted: for whoever has more, and reaches at most {FEW:,} ids",
        "scan of the newest rows, held against the caller's sets: for whoever reaches more, and sees many of them",
        f"checks of the newest rows, one by one: where those sets have more than {LARGEST_SET:,} members",
        "heads first: where the scan does not fill the page; the newest id of each branch, then what reaches the page",
        f"checks until the time is up: where the sets take more than {seconds / 2:g} s to find",
    )


def _name(node: Node) -> str:
    return f"{node.type}#{node.name}"


def _reached(term: Term) -> list[Node]:
    match term:
        case Hop(target=target):
            return [target]
        case Every(targets=targets):
            return [target for _, _, target in targets]
        case Call(node):
            return [node]
        case Any(parts) | All(parts):
            return [node for part in parts for node in _reached(part)]
        case Not(part):
            return _reached(part)
    return []


def _describe(term: Term) -> str:
    match term:
        case Same():
            return "the caller itself"
        case Direct(relations, everyone):
            return f"{'everyone' if everyone else 'the caller'} as {' | '.join(relations)}"
        case Hop(relations=relations, target=target):
            return f"{' | '.join(relations)} -> {_name(target)}"
        case Every(relation=relation, targets=targets):
            return f"{relation}.all({targets[0][2].name})"
        case Call(node):
            return _name(node)
        case Not(part):
            return f"not ({_describe(part)})"
        case Any(parts):
            return f"({' or '.join(map(_describe, parts))})"
        case All(parts):
            return f"({' and '.join(map(_describe, parts))})"
