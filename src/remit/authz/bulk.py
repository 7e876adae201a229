"""The check of many resources for one caller: his sets are found once, and each resource is held against them."""

from remit.authz.compile import Compiler
from remit.authz.graph import Node
from remit.authz.reach import CallerSets


def write_bulk(compiler: Compiler, node: Node, id_sql: str, widest: int) -> tuple[str, str, str]:
    """The parts of a statement: its WITH, a FROM item `s`, and the answer for one id.

    Who reaches much is asked from the resource up to his groups; callers with many groups are asked as a single check
    asks, from the resource alone.

    Args:
        compiler: for the kind of caller.
        node: the permission.
        id_sql: the id.
        widest: the most groups of a caller whose sets are found.
    """
    sets, formula = CallerSets(compiler, widest), compiler.graph.expand(node)
    held = sets.condition(node.type, formula, id_sql)
    followed = sets.condition(node.type, formula, id_sql, only_walks=True)
    answer = (
        f"CASE WHEN s.many_groups THEN {compiler.check(node, id_sql)} WHEN s.wide THEN {followed} ELSE {held} END"
    )
    source = f"(SELECT {sets.wide_walks_sql} AS many_groups, {sets.wide_sql} AS wide OFFSET 0) s"
    return sets.with_sql, source, answer
