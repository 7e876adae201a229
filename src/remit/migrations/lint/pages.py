"""Writes the rules' pages: `python -m remit.migrations.lint.pages docs/lint`."""

import sys
from pathlib import Path

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.rule import Rule
from remit.migrations.lint.rules.finding import fill, fill_code

COMPARISON, TRUTH = "comparison.md", "truth.md"
"""Pages in the same folder that `scripts/compare-lint` and `scripts/truth` write."""

_EXAMPLE = {
    "table": "orders", "column": "total", "name": "ix_orders_total", "index": "ix_orders_total", "type": "state",
    "value": "sent", "first": "users", "stopped": "users", "mode": "ACCESS EXCLUSIVE",
    "who": "readers and writers", "other": "4f1c", "heads": "4f1c, 9ab2",
    "arguments": "4f1c 9ab2", "what": "column orders.total", "work": "reads every row", "where": "", "used": "",
    "earlier": "ALTER TABLE orders ADD COLUMN note text", "limit": "statement_timeout = 30000 ms",
    "setting": "statement_timeout", "places": "app/models.py:31", "driver": "asyncpg", "done": "inserts rows into",
    "rule": "backfill-in-migration", "file": "schema.zed", "error": "it reads an answer of the database",
}  # fmt: skip
"""The names on the pages."""
_EXAMPLES = {
    "backfill-in-migration": {"why": "changes any number of rows of orders in one statement: they stay locked"},
    "cached-plan-breaks": {"why": "SELECT * at app/orders.py:12 answers with other columns"},
    "on-conflict-index-missing": {"why": "the INSERT … ON CONFLICT at app/orders.py:40 fails meanwhile"},
    "dropped-relation-has-relationships": {
        "what": "relation task#reader", "type": "task", "name": "reader", "why": "which HEAD still has",
    },
    "dynamic-sql-not-judged": {"what": "EXECUTE command"},
    "rename-breaks-running-code": {"what": "table orders"},
    "require-concurrent-partition-detach": {"name": "orders_2025"},
    "validated-in-same-transaction": {"name": "ck_orders_total"},
}  # fmt: skip
_CALL = "CREATE INDEX CONCURRENTLY ix_orders_total ON orders (total)"
_CALLS = {
    "enum-value-used-too-early": "ALTER TABLE orders ALTER COLUMN state SET DEFAULT 'sent'",
    "lock-timeout-not-in-effect": "ALTER TABLE orders ADD COLUMN note text",
    "no-lock-timeout": "ALTER TABLE orders ADD COLUMN note text",
    "opposite-lock-order": "ALTER TABLE orders ADD COLUMN note text",
    "registered-rows-changed": "INSERT INTO orders (id, total) VALUES (1, 5)",
    "second-lock-in-transaction": "ALTER TABLE orders ADD COLUMN note text",
    "validated-in-same-transaction": "ALTER TABLE orders VALIDATE CONSTRAINT ck_orders_total",
    "work-after-exclusive-lock": "ALTER TABLE orders VALIDATE CONSTRAINT ck_orders_total",
}
"""The statement that a page is about, where its code has it again."""

_INTRODUCTION = (
    "Written from the code by `python -m remit.migrations.lint.pages docs/lint`. What a downgrade does is at most a "
    "warning. Tables that a revision itself makes are not in use, and nothing is found about them. "
    f"Each rule has hazards and safe twins, and [what a server shows of them]({TRUTH}) and what "
    f"[other linters say of them]({COMPARISON}) are pages of their own."
)


def make_pages() -> dict[str, str]:
    """Every page by its file name."""
    return {"README.md": _make_list(), **{f"{rule.id}.md": _make_page(rule) for rule in CATALOG.values()}}


def _make_list() -> str:
    rows = [
        f"| [`{rule.id}`]({rule.id}.md) | {rule.level} | {rule.title} | {rule.by} |"
        for rule in sorted(CATALOG.values(), key=lambda rule: rule.id)
    ]
    return "\n".join(
        [
            "# The rules of `remit db lint`",
            "",
            _INTRODUCTION,
            "",
            "| Rule | Level | What is wrong | Judged by |",
            "|---|---|---|---|",
            *rows,
            "",
            "A comment beside the statement allows it, with a reason: `# remit: allow RULE because …`.",
            "",
        ]
    )


def _make_page(rule: Rule) -> str:
    names = _EXAMPLE | _EXAMPLES.get(rule.id, {})
    message = fill(rule.message, names)
    return "\n".join(
        [
            f"# `{rule.id}`",
            "",
            f"{rule.title}. Level: {rule.level}. Judged by {rule.by}.",
            "",
            f"> {message if rule.message.startswith('{') else _upper(message)}.",
            "",
            rule.why,
            "",
            "## Instead",
            "",
            "```python",
            fill_code(rule.fix, names, _CALLS.get(rule.id, _CALL)),
            "```",
            "",
        ]
    )


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def main() -> None:
    """Write the pages to the folder named on the command line; pages of rules that are gone are removed."""
    folder = Path(sys.argv[1])
    pages = make_pages()
    for old in folder.glob("*.md"):
        if old.name not in (*pages, COMPARISON, TRUTH):
            old.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
