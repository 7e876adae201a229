"""Writes the rules' pages: `python -m remit.migrations.lint.pages docs/lint`."""

import sys
from pathlib import Path

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.rule import Rule

COMPARISON = "comparison.md"
"""A page in the same folder that `scripts/compare-lint` writes."""

_INTRODUCTION = (
    "Written from the code by `python -m remit.migrations.lint.pages docs/lint`. What a downgrade does is at most a "
    "warning. Tables that a revision itself makes are not in use, and nothing is found about them. "
    f"[Other linters on the same cases]({COMPARISON}) is a page of its own."
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
    return "\n".join(
        [
            f"# `{rule.id}`",
            "",
            f"{rule.title}. Level: {rule.level}. Judged by {rule.by}.",
            "",
            f"> {_upper(rule.message)}.",
            "",
            rule.why,
            "",
            "## Instead",
            "",
            "```python",
            rule.fix,
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
        if old.name not in (*pages, COMPARISON):
            old.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
