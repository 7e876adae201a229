"""The report as JSON; the forms for people are in `text.py` and `page.py`."""

import json
from collections.abc import Callable
from typing import Any

from remit.migrations.rehearse.model import Report, RevisionReport, StatementReport
from remit.migrations.rehearse.page import show_page
from remit.migrations.rehearse.text import show_text


def show_json(report: Report) -> str:
    """One JSON document."""
    return json.dumps(
        {
            "statements": [_describe_statement(statement, report.max_stall_ms) for statement in report.statements],
            "retry_safe": report.retry_safe,
            "failed": report.failed,
            "rows": report.rows,
            "max_stall_ms": report.max_stall_ms,
            "server": report.server,
            "seconds": round(report.seconds, 1),
            "revisions": [_describe_revision(revision) for revision in report.revisions],
        },
        indent=2,
    )


def _describe_statement(statement: StatementReport, limit_ms: float) -> dict[str, Any]:
    growth = statement.growth
    return {
        "revision": statement.revision,
        "sql": statement.sql,
        "times": statement.times,
        "autocommit": statement.autocommit,
        "max_stall_ms": round(statement.max_stall_ms, 2),
        "read_stall_ms": round(statement.read_stall_ms, 2),
        "write_stall_ms": round(statement.write_stall_ms, 2),
        "noise_ms": round(statement.noise_ms, 2),
        "lock_wait_ms": round(statement.lock_wait_ms, 2),
        "stalls_beyond_limit": statement.stalls_beyond(limit_ms),
        "locks": [
            {
                "relation": lock.relation,
                "mode": lock.mode,
                "held_ms": round(lock.held_ms, 2),
                "inherited": lock.inherited,
            }
            for lock in statement.locks
        ],
        "rewrite": statement.rewrite,
        "rewritten": statement.rewritten,
        "emptied": statement.emptied,
        "duration_ms": round(statement.duration_ms, 2),
        "wal_bytes": statement.wal_bytes,
        "growth": None
        if growth is None
        else {
            "kind": growth.kind,
            "measured": [
                {"rows": rows, "duration_ms": round(took, 2)}
                for rows, took in zip(growth.rows, growth.duration_ms, strict=True)
            ],
            "extrapolated": None
            if growth.extrapolated_rows is None
            else {
                "rows": growth.extrapolated_rows,
                "duration_ms": round(growth.extrapolated_ms or 0, 2),
                "max_stall_ms": round(growth.extrapolated_stall_ms or 0, 2),
            },
        },
        "interrupted": statement.interrupted,
        "error": statement.error,
    }


def _describe_revision(revision: RevisionReport) -> dict[str, Any]:
    noise = revision.noise
    return {
        "revision": revision.revision,
        "title": revision.title,
        "retry_safe": revision.retry_safe,
        "rows": dict(revision.rows),
        "baseline": None
        if noise is None
        else {
            "median_ms": round(noise.median_ms, 3),
            "p99_ms": round(noise.p99_ms, 3),
            "max_ms": round(noise.max_ms, 3),
            "requests": noise.requests,
        },
        "old_queries": [
            {"sql": query.sql, "error": query.error, "made_up": query.made_up} for query in revision.queries
        ],
        "probe_errors": dict(revision.probe_errors),
        "notes": revision.notes,
        "error": revision.error,
    }


FORMATS: dict[str, Callable[[Report], str]] = {"text": show_text, "json": show_json, "html": show_page}
