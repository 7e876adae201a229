"""The check of many resources for one caller: his sets are found once, and each resource is held against them."""

from remit.authz.compile import Compiler
from remit.authz.formula import All, Node, cost
from remit.authz.reach import LARGEST_SET, CallerSets


def write_bulk(compiler: Compiler, node: Node, id_sql: str, widest: int) -> tuple[str, str, str]:
    """The parts of a statement: its WITH, a FROM item `s`, and the answer for one id.

    Callers with many groups are asked as a single check asks: from the resource, but the part of a conjunction that
    is answered soonest comes first, since many of the ids may be out of the caller's reach.

    Args:
        compiler: for the kind of caller.
        node: the permission.
        id_sql: the id.
        widest: the most groups of a caller whose sets are found.
    """
    sets = CallerSets(compiler, widest, LARGEST_SET)
    formula = compiler.graph.expand(node)
    held = sets.condition(node.type, formula, id_sql)
    asked = compiler.check(node, id_sql)
    if isinstance(formula, All) and not compiler.graph.component(node):
        asked = compiler.term(node.type, All(tuple(sorted(formula.parts, key=cost))), id_sql)
    answer = f"CASE WHEN s.wide THEN {asked} ELSE {held} END"
    return sets.with_sql, f"(SELECT {sets.wide_sql} AS wide OFFSET 0) s", answer
