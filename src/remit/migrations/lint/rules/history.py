"""What only the whole history shows."""

from collections.abc import Iterator

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.locks import Mode
from remit.migrations.lint.model import Finding
from remit.migrations.lint.rules.finding import fill, find
from remit.migrations.lint.view import History, RevisionView, Step

Modes = tuple[Mode, Mode]
"""Of the table that is locked first and of the one after it."""


def check_heads(history: History) -> Iterator[Finding]:
    """`alembic upgrade head` refuses a history with several heads."""
    if len(history.heads) < 2:
        return
    rule = CATALOG["several-heads"]
    names = {"heads": ", ".join(sorted(history.heads)), "arguments": " ".join(sorted(history.heads))}
    last = [view.revision for view in history.revisions if view.revision.id in history.heads][-1]
    yield Finding(
        last.id, "several-heads", rule.level, fill(rule.message, names), last.file, last.line, "", fill(rule.fix, names)
    )


def check_lock_order(history: History) -> Iterator[Finding]:
    """Two transactions that lock the same tables in opposite order, in modes that exclude each other, can wait for
    each other.
    """
    known: dict[tuple[str, str], list[tuple[str, Modes]]] = {}
    for view in history.revisions:
        orders = _list_orders(view)
        for (early, late), (step, modes) in orders.items():
            others = [name for name, back in known.get((late, early), ()) if _exclude(modes, (back[1], back[0]))]
            if others and view.revision.asked and (early, late) not in known:
                yield find(view, step, "opposite-lock-order", table=late, first=early, other=others[0])
        for pair, (_, modes) in orders.items():
            known.setdefault(pair, []).append((view.revision.id, modes))


def _exclude(ours: Modes, theirs: Modes) -> bool:
    """Whether each of two tables cannot be locked by both: of the modes that stop a writer, only SHARE can."""
    return all({one, other} != {Mode.SHARE} for one, other in zip(ours, theirs, strict=True))


def _list_orders(view: RevisionView) -> dict[tuple[str, str], tuple[Step, Modes]]:
    """The pairs of busy tables that a transaction locks one after the other, strongly enough to stop a writer; most
    statements lock their tables one after the other too.
    """
    found: dict[tuple[str, str], tuple[Step, Modes]] = {}
    held: dict[int, dict[str, Mode]] = {}
    for step in view.upgrade:
        number = step.statement.transaction
        if number is None:
            continue
        before = held.setdefault(number, {})
        # In which order a new table's keys stand is nobody's choice, and it is made but once.
        earlier = dict(before) if step.statement.kind == "create_stmt" else before
        for late, mode in step.locks.items():
            if mode < Mode.SHARE or late in before:
                continue
            for early, first in earlier.items():
                found.setdefault((early, late), (step, (first, mode)))
            before[late] = mode
    return found
