"""Writes the rules' pages: `python -m remit.migrations.lint.pages docs/lint`."""

import sys
from pathlib import Path

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.rule import Rule

COMPARISON, TRUTH = "comparison.md", "truth.md"
"""Pages in the same folder that `scripts/compare-lint` and `scripts/truth` write."""

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
        if old.name not in (*pages, COMPARISON, TRUTH):
            old.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
