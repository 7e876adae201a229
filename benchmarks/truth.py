"""What a real server shows of each case of the lint's corpus: `scripts/truth`.

Each case is run on an embedded server with rows in its tables, and what is seen is compared with what the corpus says:
a hazard must show what its rule warns of, and a safe twin must not. Writes docs/lint/truth.md. None of the linter's or
the rehearsal's judgement is used. Ends with 1 if a run contradicts the corpus.
"""

import sys
import time
from collections.abc import Callable

from corpus_truth.case import Bench, Evidence, list_cases
from corpus_truth.code import prove_conflict_targets, prove_kept_plans, prove_old_queries
from corpus_truth.locked import prove_failure, prove_rows_held, prove_work_under_lock
from corpus_truth.page import TARGET, Truth, make_page
from corpus_truth.rows import (
    prove_heads,
    prove_nothing,
    prove_others_emptied,
    prove_registered,
    prove_way_back,
)
from corpus_truth.waits import (
    prove_build_survives,
    prove_deadlock,
    prove_lock_timeout,
    prove_queue,
    prove_second_run,
)

from remit.migrations.rehearse.server import open_server

Proof = Callable[[Bench, str, str], Evidence]

PROOFS: dict[str, Proof] = {
    "adding-field-with-default": prove_work_under_lock,
    "adding-foreign-key-constraint": prove_work_under_lock,
    "adding-required-field": prove_failure,
    "adding-serial-primary-key-field": prove_work_under_lock,
    "autocommit-commits-earlier-half": prove_second_run,
    "backfill-in-migration": prove_rows_held,
    "ban-alter-domain-with-add-constraint": prove_work_under_lock,
    "ban-truncate-cascade": prove_others_emptied,
    "cached-plan-breaks": prove_kept_plans,
    "column-type-rewrites-table": prove_work_under_lock,
    "concurrently-in-transaction": prove_failure,
    "concurrently-on-partitioned": prove_failure,
    "constraint-missing-not-valid": prove_work_under_lock,
    "disallowed-unique-constraint": prove_work_under_lock,
    "default-dropped-too-early": prove_old_queries,
    "downgrade-cannot-restore": prove_way_back,
    "downgrade-loses-data": prove_way_back,
    "dropped-but-code-names-it": prove_old_queries,
    "dynamic-sql-not-judged": prove_rows_held,
    "enum-value-used-too-early": prove_failure,
    "invalid-index-passes": prove_second_run,
    "lock-timeout-not-in-effect": prove_lock_timeout,
    "long-work-under-lock": prove_work_under_lock,
    "no-lock-timeout": prove_lock_timeout,
    "on-conflict-index-missing": prove_conflict_targets,
    "opposite-lock-order": prove_deadlock,
    "registered-rows-cascade": prove_registered,
    "registered-rows-changed": prove_registered,
    "rename-breaks-running-code": prove_old_queries,
    "require-concurrent-index-creation": prove_work_under_lock,
    "require-concurrent-index-deletion": prove_queue,
    "require-concurrent-partition-detach": prove_queue,
    "require-concurrent-reindex": prove_work_under_lock,
    "second-lock-in-transaction": prove_queue,
    "set-not-null-scans-table": prove_work_under_lock,
    "several-heads": prove_heads,
    "suppression-without-reason": prove_nothing,
    "timeout-ends-concurrent-build": prove_build_survives,
    "unused-suppression": prove_nothing,
    "validated-in-same-transaction": prove_work_under_lock,
    "work-after-exclusive-lock": prove_work_under_lock,
}


def main() -> None:
    only = sys.argv[1:]
    found, version = [], ""
    with open_server() as server:
        bench, version = Bench(server), server.version
        for rule, case in list_cases():
            if only and rule not in only and f"{rule}/{case}" not in only:
                continue
            began = time.monotonic()
            truth = Truth(rule, case, PROOFS[rule](bench, rule, case), PROOFS[rule].__doc__ or "")
            found.append(truth)
            print(
                f"{truth.verdict:12} {rule}/{case}: {truth.evidence.words}  {time.monotonic() - began:.1f} s",
                flush=True,
            )
    if not only:
        TARGET.write_text(make_page(found, version))
    raise SystemExit(any(truth.contradicts for truth in found))


if __name__ == "__main__":
    main()
