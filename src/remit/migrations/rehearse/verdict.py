"""What a person should know of a rehearsal, in sentences."""

from collections.abc import Container, Sequence

from remit.migrations.rehearse.model import LockHold, Report, RevisionReport, StatementReport

_STRENGTH = (
    "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
    "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
)  # fmt: skip


def strongest_lock(statement: StatementReport, tables: Container[str]) -> LockHold | None:
    """The lock that keeps most others out; of equal ones that on a table, and then one that it took itself."""
    return max(
        statement.locks,
        key=lambda lock: (
            _STRENGTH.index(lock.mode) if lock.mode in _STRENGTH else 0,
            lock.relation in tables,
            not lock.inherited,
        ),
        default=None,
    )


def list_findings(report: Report) -> list[str]:
    """Everything that makes the command end with 1."""
    found = []
    for revision in report.revisions:
        for number, statement in enumerate(revision.statements, 1):
            found += _judge(report, revision, number, statement)
        if revision.error and not any(statement.error for statement in revision.statements):
            found.append(f"{revision.revision} fails: {revision.error}")
        found += [
            f"{revision.revision} breaks an old query ({query.error}): {shorten(query.sql)}"
            for query in revision.queries
            if query.error and not query.made_up
        ]
    return found


def conclude(report: Report, findings: Sequence[str]) -> str:
    """What to know first, in a sentence."""
    if findings:
        count = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
        return f"Not ready for a database in use: {count}. `remit db lint` has safer forms of many statements to paste."
    tried = any(statement.interrupted for statement in report.statements)
    again = ", and it can be interrupted anywhere and run again" if tried else ""
    return f"Ready: nothing waited longer than {report.max_stall_ms:g} ms{again}."


def _judge(report: Report, revision: RevisionReport, number: int, statement: StatementReport) -> list[str]:
    place = f"{revision.revision}, statement {number}"
    found = []
    if statement.error:
        found.append(f"{place} fails: {statement.error}")
    if statement.stalls_beyond(report.max_stall_ms):
        found.append(f"{place}: {_describe_stall(statement, revision)}; allowed are {report.max_stall_ms:g} ms")
    for error in dict.fromkeys(statement.interrupted.values()):
        if error:
            ways = " or ".join(how for how, other in statement.interrupted.items() if other == error)
            found.append(f"{place}: when it is interrupted {ways} this statement, {error}")
    return found


def _describe_stall(statement: StatementReport, revision: RevisionReport) -> str:
    who = "readers" if statement.read_stall_ms >= statement.write_stall_ms else "writers"
    if statement.read_stall_ms and statement.write_stall_ms / max(statement.read_stall_ms, 0.01) < 1.5:
        who = "readers and writers"
    text = f"{who} waited up to {show_ms(statement.max_stall_ms)}"
    growth = statement.growth
    if growth is not None and growth.extrapolated_stall_ms is not None:
        text += f", extrapolated to {show_ms(growth.extrapolated_stall_ms)} at {growth.extrapolated_rows:,} rows"
    lock = strongest_lock(statement, revision.rows)
    if lock is not None and statement.lock_wait_ms > 1:
        text += f" while {lock.mode} on {lock.relation} was held"
    return text


def list_remarks(report: Report) -> list[str]:
    """What is worth knowing and is no failure."""
    found = []
    for revision in report.revisions:
        found += revision.notes
        found += [
            f"{revision.revision}: code that sends what an ORM of before it does would fail ({query.error}): "
            f"{shorten(query.sql)}"
            for query in revision.queries
            if query.error and query.made_up
        ]
        found += [f"{count} requests of the {name}" for name, count in revision.probe_errors.items()]
        noisy = [item for item in revision.statements if item.noise_ms > report.max_stall_ms]
        if noisy or (revision.noise is not None and revision.noise.max_ms > report.max_stall_ms):
            found.append(
                f"{revision.revision}: the machine itself made a probe wait longer than {report.max_stall_ms:g} ms; "
                "on a quieter one the stalls would be more certain"
            )
    return found


def show_ms(value: float) -> str:
    """A time in the unit that reads best."""
    if value >= 60_000:
        return f"{value / 60_000:.1f} min"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def show_bytes(value: int) -> str:
    """A size in the unit that reads best."""
    for limit, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= limit:
            return f"{value / limit:.1f} {unit}"
    return f"{value} B"


def shorten(sql: str, room: int = 100) -> str:
    """A statement on one line."""
    text = " ".join(sql.split())
    return text if len(text) <= room else text[: room - 1] + "…"


def describe_retry(statement: StatementReport) -> str:
    """Whether the revision can be run again, in one word."""
    if not statement.interrupted:
        return "not tried"
    return "fails" if any(statement.interrupted.values()) else "safe"


def describe_growth(statement: StatementReport) -> str:
    """How the duration grows, with the extrapolation where there is one."""
    growth = statement.growth
    if growth is None:
        return ""
    text = f"{growth.kind} ({show_ms(growth.duration_ms[0])} at {growth.rows[0]:,} rows)"
    if growth.extrapolated_ms is None:
        return text
    return f"{text}; extrapolated to {growth.extrapolated_rows:,} rows: {show_ms(growth.extrapolated_ms)}"


def describe_revision(revision: RevisionReport) -> list[str]:
    """The lines above a revision's statements."""
    rows = ", ".join(f"{name} {count:,}" for name, count in sorted(revision.rows.items()))
    lines = [f"Rows: {rows or 'no table that was there before is touched'}"]
    if revision.noise is not None:
        noise = revision.noise
        lines.append(
            f"Probes before the revision: median {noise.median_ms:.2f} ms, 99 % {noise.p99_ms:.2f} ms, longest "
            f"{noise.max_ms:.2f} ms of {noise.requests:,} requests"
        )
    if revision.queries:
        made_up = sum(query.made_up for query in revision.queries)
        failing = sum(query.error is not None for query in revision.queries)
        lines.append(
            f"Old queries tried after it: {len(revision.queries) - made_up}, and {made_up} made up; {failing} fail"
        )
    return lines
