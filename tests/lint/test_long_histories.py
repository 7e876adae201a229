"""Two long histories in the style of real projects are judged from end to end."""

import json

import pytest
from lint.conftest import HERE
from lint.test_history import rules_of
from lint.test_reports import run_lint

Capture = pytest.CaptureFixture[str]
SHOP = {
    "Index on orders by status": "require-concurrent-index-creation",
    "Everybody is a clerk": "backfill-in-migration",
    "Role is required": "set-not-null-scans-table",
    "Unique slugs": "disallowed-unique-constraint",
    "Slugs from titles": "backfill-in-migration",
    "Token of carts": "adding-field-with-default",
    "Index of order time, online": "invalid-index-passes",
    "New kinds of shipments": "column-type-rewrites-table",
    "Lower-case function": "adding-field-with-default",
}
SHOP_CLEAN = {
    "Create users", "Order lines", "Cancelled orders", "Prices with a history",
    "Check of quantities, online", "Validate quantities", "Not null of slugs, third step",
    "Index of events, for each partition", "Fill invoice numbers in batches", "Vacuum after the clean-up",
}  # fmt: skip
WAREHOUSE = {
    "0006": "require-concurrent-index-creation",
    "0009": "column-type-rewrites-table",
    "0012": "backfill-in-migration",
    "0023": "autocommit-commits-earlier-half",
    "0043": "rename-breaks-running-code",
    "0059": "adding-field-with-default",
}
WAREHOUSE_CLEAN = {
    "0002",
    "0005",
    "0008",
    "0015",
    "0029",
    "0031",
    "0039",
    "0045",
    "0049",
    "0056",
}


def lint_history(name: str, capsys: Capture) -> tuple[dict[str, list[str]], dict[str, object]]:
    code, out, err = run_lint(HERE / "histories" / name / "alembic.ini", capsys, "--format", "json")
    assert code == 1, err
    document = json.loads(out)
    assert document["revisions"] >= 60
    return rules_of(out), document


def test_shop(capsys: Capture) -> None:
    found, _ = lint_history("shop", capsys)
    titles = {}
    for file in (HERE / "histories" / "shop" / "migrations" / "versions").glob("*.py"):
        titles[file.read_text().partition("\n")[0].strip('"')] = file.name.partition("_")[0]
    for title, rule in SHOP.items():
        assert rule in found.get(titles[title], ()), title
    for title in SHOP_CLEAN:
        assert titles[title] not in found, (title, found.get(titles[title]))


def test_warehouse(capsys: Capture) -> None:
    found, document = lint_history("warehouse", capsys)
    for revision, rule in WAREHOUSE.items():
        assert rule in found.get(revision, ()), revision
    assert not {revision: found[revision] for revision in WAREHOUSE_CLEAN & found.keys()}
    findings = document["findings"]
    assert isinstance(findings, list)
    executed = {finding["revision"] for finding in findings if finding["rule"] == "executed-to-be-judged"}
    assert {"0015", "0054"} <= executed
