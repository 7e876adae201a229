"""Faults to plant in the engine, each by replacing one function while a block runs: the fuzzer must find them all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from remit.authz import formula, graph
from remit.authz.compile import Compiler
from remit.authz.formula import NEVER, Direct, Hop, Not, Same
from remit.authz.graph import Graph
from remit.authz.lists import ListCompiler, Order
from remit.authz.pages import Lister

Original = Callable[..., Any]


def _expiry_ignored(_: Original) -> Original:
    return lambda *_: ""


def _subject_type_dropped(original: Original) -> Original:
    def rows_of(self: Compiler, alias: str, type_name: str, hop: Hop, object_sql: str) -> str:
        sql: str = original(self, alias, type_name, hop, object_sql)
        return sql.replace(f" AND {alias}.subject_type = {self.codes.types[hop.subject_type]}", "")

    return rows_of


def _all_over_nothing(original: Original) -> Original:
    def every_of(*arguments: object) -> str:
        sql: str = original(*arguments)
        return "(" + sql[sql.index("NOT EXISTS") :]

    return every_of


def _arrow_only_to_plain_subjects(original: Original) -> Original:
    def rows_of(self: Compiler, alias: str, type_name: str, hop: Hop, object_sql: str) -> str:
        sql: str = original(self, alias, type_name, hop, object_sql)
        return f"{sql} AND {alias}.subject_relation = 0" if hop.any_subject_relation else sql

    return rows_of


def _walk_without_steps(original: Original) -> Original:
    return lambda *arguments: original(*arguments[:-1], [])


def _gate_dropped_in_lists(_: Original) -> Original:
    return lambda *_: "TRUE"


def _late_gate_alone(original: Original) -> Original:
    async def run(*arguments: Any) -> tuple[list[Any], bool]:
        found, wide = await original(*arguments)
        # A page that comes out short looks like the end.
        return [row for row in found if row["list_ok"]], wide

    return run


def _exclusion_dropped(original: Original) -> Original:
    return lambda parts: original([part for part in parts if not isinstance(part, Not)])


def _intersection_as_union(original: Original) -> Original:
    def join_all(parts: list[formula.Term]) -> object:
        # An exclusion is joined here too, and is another operator.
        exclusion = any(isinstance(part, Not) for part in parts)
        return original(parts) if exclusion or not parts else formula.join_any(parts)

    return join_all


def _set_not_in_itself(original: Original) -> Original:
    def formula_of(self: Graph, type_name: str, name: str) -> object:
        term = original(self, type_name, name)
        if (type_name, name) != (self.subject_type, self.subject_relation):
            return term
        if isinstance(term, formula.Any):
            return formula.join_any([part for part in term.parts if not isinstance(part, Same)])
        return NEVER

    return formula_of


def _everyone_left_out(original: Original) -> Original:
    def relation_term(self: Graph, relation: object) -> object:
        term = original(self, relation)
        parts = term.parts if isinstance(term, formula.Any) else (term,)
        return formula.join_any([part for part in parts if not (isinstance(part, Direct) and part.everyone)])

    return relation_term


def _one_relation_of_several(original: Original) -> Original:
    return lambda self, column, relations: original(self, column, relations[:1])


def _list_of_the_first_branch(original: Original) -> Original:
    return lambda self, node: original(self, node)[:1]


def _page_without_cursor(original: Original) -> Original:
    return lambda self, id_sql: original(self, id_sql).replace(" <", " <=").replace(" >", " >=")


MUTANTS: dict[str, tuple[object, str, Callable[[Original], Original]]] = {
    "expiry ignored": (Compiler, "alive", _expiry_ignored),
    "a hop's type filter dropped": (Compiler, "rows_of", _subject_type_dropped),
    ".all over nothing allows": (Compiler, "_every_of", _all_over_nothing),
    "an arrow skips sets": (Compiler, "rows_of", _arrow_only_to_plain_subjects),
    "a walk stops at once": (Compiler, "_levels", _walk_without_steps),
    "one relation of several": (Compiler, "relation_is", _one_relation_of_several),
    "the gate is dropped in lists": (ListCompiler, "_late", _gate_dropped_in_lists),
    "the late gate has no fallback": (Lister, "_run", _late_gate_alone),
    "lists read one branch": (ListCompiler, "branches", _list_of_the_first_branch),
    "a page repeats its cursor": (Order, "after", _page_without_cursor),
    "an exclusion is dropped": (graph, "join_all", _exclusion_dropped),
    "& is read as +": (graph, "join_all", _intersection_as_union),
    "a set is not in itself": (Graph, "_formula_of", _set_not_in_itself),
    "everyone is left out": (Graph, "_relation_term", _everyone_left_out),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Plant one fault."""
    owner, function, mutate = MUTANTS[name]
    fault = mutate(getattr(owner, function))
    with patch.object(owner, function, fault):
        yield
