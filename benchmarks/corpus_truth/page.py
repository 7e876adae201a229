"""docs/lint/truth.md."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from corpus_truth.case import SIZES, Evidence

TARGET = Path(__file__).parents[2] / "docs" / "lint" / "truth.md"


@dataclass(frozen=True)
class Truth:
    """A case, what a run showed of it, and by which proof."""

    rule: str
    case: str
    evidence: Evidence
    proof: str

    @property
    def contradicts(self) -> bool:
        return self.evidence.shown is not None and self.evidence.shown != self.case.startswith("hazard")

    @property
    def verdict(self) -> str:
        if self.contradicts:
            return "CONTRADICTS"
        return "nothing runs" if self.evidence.shown is None else self.case.partition("_")[0]


def make_page(found: list[Truth], version: str) -> str:
    """The page, one table for each way to look."""
    hazards = sum(truth.verdict == "hazard" for truth in found)
    twins = sum(truth.verdict == "safe" for truth in found)
    silent = sum(truth.evidence.shown is None for truth in found)
    against = sum(truth.contradicts for truth in found)
    lines = [
        "# What a server shows of our corpus",
        "",
        (
            f"Written by `scripts/truth`, PostgreSQL {version}: {hazards} hazards show what their rule warns of, "
            f"{twins} safe twins do not, {against} contradict what the corpus says, and {silent} are about comments, "
            "of which a server sees nothing."
        ),
        "",
        (
            f"Each case (`tests/lint/corpus`) is run by Alembic on an embedded server whose tables hold {SIZES[0]:,} "
            f"rows, and {SIZES[1]:,} where it matters how the work grows. No clock decides but where a time limit is "
            "the case: rows are counted by the server's own statistics, locks are read from `pg_locks`, and who waits "
            "is seen by standing in the way. Neither the linter nor `remit db rehearse` has a say."
        ),
    ]
    by_proof = sorted(found, key=lambda truth: truth.proof)
    for proof, group in groupby(by_proof, key=lambda truth: truth.proof):
        lines += ["", f"## {proof.rstrip('.')}", "", "| rule | case | seen |", "| --- | --- | --- |"]
        for truth in sorted(group, key=lambda truth: (truth.rule, truth.case)):
            case = truth.case.replace("_", " ")
            words = f"**contradicts:** {truth.evidence.words}" if truth.contradicts else truth.evidence.words
            lines.append(f"| [{truth.rule}]({truth.rule}.md) | {case} | {words.replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"
