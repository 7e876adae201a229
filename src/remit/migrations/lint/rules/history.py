"""What only the whole history shows."""

from collections.abc import Iterator

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.locks import Mode
from remit.migrations.lint.model import Finding
from remit.migrations.lint.rules.finding import fill, find
from remit.migrations.lint.view import History, RevisionView, Step


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
    """Two transactions that lock the same tables in opposite order can wait for each other."""
    first: dict[tuple[str, str], str] = {}
    for view in history.revisions:
        orders = _list_orders(view)
        for (early, late), step in orders.items():
            other = first.get((late, early))
            if other is not None and view.revision.asked and (early, late) not in first:
                yield find(view, step, "opposite-lock-order", table=late, first=early, other=other)
        for pair in orders:
            first.setdefault(pair, view.revision.id)


def _list_orders(view: RevisionView) -> dict[tuple[str, str], Step]:
    """The pairs of busy tables that a transaction locks one after the other, strongly enough to stop a writer."""
    found: dict[tuple[str, str], Step] = {}
    held: dict[int, list[str]] = {}
    for step in view.upgrade:
        number = step.statement.transaction
        if number is None:
            continue
        before = held.setdefault(number, [])
        news = [table for table, mode in step.locks.items() if mode >= Mode.SHARE and table not in before]
        for late in news:
            for early in before:
                found.setdefault((early, late), step)
        before.extend(news)
    return found
