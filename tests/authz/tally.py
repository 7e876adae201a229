"""What was asked and how it was answered, by judge."""

from collections import Counter
from dataclasses import dataclass, field

Answer = bool | str


@dataclass
class Tally:
    """How many questions each judge answered, and how."""

    answers: Counter[str] = field(default_factory=Counter)

    def add(self, judge: str, answer: Answer) -> None:
        """Count one answer."""
        kind = answer if isinstance(answer, str) else "allow" if answer else "deny"
        self.answers[f"{judge} {kind}"] += 1

    def count(self, what: str) -> None:
        """Count anything else."""
        self.answers[what] += 1

    def share(self, judge: str, kinds: tuple[str, ...]) -> float:
        """The part of a judge's answers that is of these kinds."""
        of_judge = sum(count for name, count in self.answers.items() if name.startswith(f"{judge} "))
        return sum(self.answers[f"{judge} {kind}"] for kind in kinds) / max(of_judge, 1)
