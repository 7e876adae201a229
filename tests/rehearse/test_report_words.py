"""What a report says: in words, as a person reads them."""

from dataclasses import replace

from remit.migrations.rehearse.growth import describe_growth
from remit.migrations.rehearse.model import LockHold, QueryResult, Report, RevisionReport, StatementReport
from remit.migrations.rehearse.page import show_page
from remit.migrations.rehearse.text import show_text

SIZES = (200_000, 1_000_000)
HELD = LockHold("users", "AccessExclusiveLock", 400.0)


def make_statement(took: float, stall: float) -> StatementReport:
    return StatementReport(
        "0002", "ALTER TABLE users ALTER COLUMN age TYPE bigint", duration_ms=took, write_stall_ms=stall,
        lock_wait_ms=stall, locks=[HELD], interrupted={"after": None},
    )  # fmt: skip


def make_report(statement: StatementReport, *queries: QueryResult, asked: int = 20_000_000) -> Report:
    revision = RevisionReport(
        "0002", "Wider ages", [statement], {"users": SIZES[1]}, None, [], 0.0, queries=list(queries), asked=asked
    )
    return Report(asked, 50, [revision], "18.6")


def read(report: Report) -> str:
    """The text on one line."""
    return " ".join(show_text(report).split())


def test_an_extrapolation_is_called_one_and_counts() -> None:
    large = make_statement(410, 40)
    large.growth = describe_growth(make_statement(90, 8), large, SIZES, 20_000_000)
    report = make_report(large)
    text = read(report)
    assert "grows with the table (90 ms at 200,000 rows); extrapolated to 20,000,000 rows: 8.01 s" in text
    assert (
        "Finding: 0002, statement 1: writers waited up to 40 ms, extrapolated to 800 ms at 20,000,000 rows while "
        "AccessExclusiveLock on users was held; allowed are 50 ms"
    ) in text
    assert "Not ready for a database in use: 1 finding." in text
    assert "extrapolated to 20,000,000 rows: 8.01 s" in show_page(report)
    assert report.failed


def test_what_was_measured_is_not_called_an_extrapolation() -> None:
    large = make_statement(410, 40)
    large.growth = describe_growth(make_statement(90, 8), large, SIZES, SIZES[1])
    report = make_report(large, asked=SIZES[1])
    assert "grows with the table (90 ms at 200,000 rows)" in read(report)
    assert "extrapolat" not in show_text(report) + show_page(report)
    assert not report.failed


def test_what_does_not_grow_is_not_extended() -> None:
    large = make_statement(12, 1)
    large.growth = describe_growth(make_statement(11.5, 1), large, SIZES, 20_000_000)
    assert "hardly grows (12 ms at 200,000 rows); extrapolated to 20,000,000 rows: 24 ms" in read(make_report(large))
    short = make_statement(2, 1)
    short.growth = describe_growth(make_statement(0.5, 1), short, SIZES, 20_000_000)
    assert "too short to tell (0.5 ms at 200,000 rows); extrapolated to 20,000,000 rows: 2.0 ms" in read(
        make_report(short)
    )


def test_a_made_up_query_that_breaks_is_a_note_and_one_that_was_seen_a_finding() -> None:
    seen = QueryResult("SELECT age FROM users", "column age does not exist")
    made_up = replace(seen, made_up=True)
    text = read(make_report(make_statement(4, 1), made_up))
    assert "Old queries tried after it: 0, and 1 made up; 1 fail" in text
    assert (
        "Note: 0002: code that sends what an ORM of before it does would fail (column age does not exist): "
        "SELECT age FROM users"
    ) in text
    assert "Finding" not in text
    assert "Ready: nothing waited longer than 50 ms, and it can be interrupted anywhere and run again." in text
    assert not make_report(make_statement(4, 1), made_up).failed
    assert "(made up)" in show_page(make_report(make_statement(4, 1), made_up))
    text = read(make_report(make_statement(4, 1), seen))
    assert "Finding: 0002 breaks an old query (column age does not exist): SELECT age FROM users" in text
    assert make_report(make_statement(4, 1), seen).failed


def test_what_is_emptied_is_not_called_a_rewrite() -> None:
    statement = make_statement(4, 1)
    statement.emptied = ["users", "users_pkey"]
    for shown in (read(make_report(statement)), show_page(make_report(statement))):
        assert "empties users, users_pkey: new files, nothing is copied" in shown
        assert "anew" not in shown


def test_two_ways_to_fail_alike_are_one_finding() -> None:
    statement = make_statement(4, 1)
    statement.interrupted = {"after": "the second run fails: no", "during": "the second run fails: no"}
    text = read(make_report(statement))
    assert text.count("Finding: ") == 1
    assert "when it is interrupted after or during this statement, the second run fails: no" in text
