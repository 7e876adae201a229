"""Our own rules, by subject. Each yields findings; `ALL` lists them."""

from collections.abc import Callable, Iterator

from remit.migrations.lint.model import Finding
from remit.migrations.lint.rules import backfill, code, downgrade, graph, history, retry, statement, transaction
from remit.migrations.lint.view import History

ALL: tuple[Callable[[History], Iterator[Finding]], ...] = (
    statement.check_scans,
    statement.check_renames,
    statement.check_dynamic,
    transaction.check_validation,
    transaction.check_work_after_lock,
    transaction.check_enum_values,
    retry.check_autocommit,
    retry.check_invalid_indexes,
    retry.check_concurrently,
    retry.check_partitioned,
    retry.check_time_limits,
    backfill.check_backfills,
    history.check_heads,
    history.check_lock_order,
    downgrade.check_downgrades,
    code.check_dropped_names,
    code.check_dropped_defaults,
    code.check_cached_plans,
    code.check_conflict_targets,
    graph.check_rows,
    graph.check_cascades,
    graph.check_dropped_relations,
)
