"""The page of the comparison: one table of totals, one of all cases."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from linters.tools import NOT_RUN, TOOLS, Said

OURS = "remit db lint"
NAMES = (OURS, *(tool.name for tool in TOOLS))
ABOUT = (
    (
        "One measure for all. A hazard is caught if there is any finding on it, of whatever rule and level. A finding "
        "of level warning or more on a safe twin is a false alarm. A rule is told apart if all of its hazards are "
        "caught and all of its twins left in peace: who warns of everything catches everything, and tells nothing "
        "apart. What reads SQL gets what `alembic upgrade --sql` renders, with BEGIN and COMMIT; where the rule is "
        "about downgrades, the downgrade too. Not judged means that Alembic could not render the case without a "
        "database, or that the linter failed: a hazard missed, no alarm on a twin."
    ),
    "",
    (
        "The corpus (`tests/lint/corpus`) is ours, was written along with the rules, and some of it is about what no "
        "other linter sets out to find: the code that still runs, the relationship graph, our suppressions. Read the "
        "cases, not the totals."
    ),
)
READS = {"sql": "SQL", "revisions": "revisions", "config": "revisions, through alembic.ini"}


@dataclass(frozen=True)
class Case:
    """A case and what each linter says of it; None where it could not be given the case."""

    rule: str
    name: str
    said: dict[str, Said | None]

    @property
    def is_hazard(self) -> bool:
        return self.name.startswith("hazard")

    def is_right(self, linter: str) -> bool:
        """A hazard is caught, or a safe twin left in peace."""
        said = self.said[linter]
        if said is None:
            return not self.is_hazard
        return bool(said.findings) if self.is_hazard else not said.warnings


def make_page(cases: Sequence[Case]) -> str:
    hazards, twins = [case for case in cases if case.is_hazard], [case for case in cases if not case.is_hazard]
    rules = sorted({case.rule for case in cases})
    lines = [
        "# Other linters on our corpus",
        "",
        f"Written by `scripts/compare-lint`: {len(hazards)} hazards and {len(twins)} safe twins of {len(rules)} rules.",
        "",
        *ABOUT,
        "",
        "| linter | version | reads | caught | missed | false alarms | rules told apart |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    versions = {OURS: ("this one", "revisions, through alembic.ini")}
    versions |= {tool.name: (tool.version, READS[tool.reads]) for tool in TOOLS}
    for name in NAMES:
        caught = sum(case.is_right(name) for case in hazards)
        alarms = sum(not case.is_right(name) for case in twins)
        apart = sum(all(case.is_right(name) for case in cases if case.rule == rule) for rule in rules)
        version, reads = versions[name]
        lines.append(
            f"| {name} | {version} | {reads} | {caught} of {len(hazards)} | {len(hazards) - caught} | "
            f"{alarms} of {len(twins)} | {apart} of {len(rules)} |"
        )
    lines += ["", *(f"- **{tool.name}**: {tool.note}." for tool in TOOLS if tool.note)]
    lines += ["", "Not run:", "", *(f"- **{name}**: {why}." for name, why in NOT_RUN.items())]
    lines += ["", "## Hazards: caught or missed", "", *_make_table(hazards, "caught", "missed")]
    lines += ["", "## Safe twins: quiet or false alarm", "", *_make_table(twins, "·", "alarm")]
    return "\n".join(lines) + "\n"


def _make_table(cases: Sequence[Case], right: str, wrong: str) -> Iterator[str]:
    yield f"| rule | case | {' | '.join(NAMES)} |"
    yield f"| --- | --- |{' --- |' * len(NAMES)}"
    for case in cases:
        cells = (
            "not judged" if case.said[name] is None else right if case.is_right(name) else f"**{wrong}**"
            for name in NAMES
        )
        title = case.name.partition("_")[2].replace("_", " ")
        yield f"| [{case.rule}]({case.rule}.md) | {title} | {' | '.join(cells)} |"
