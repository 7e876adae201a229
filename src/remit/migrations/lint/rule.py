"""What is written about a rule."""

from dataclasses import dataclass

from remit.migrations.lint.model import Level


@dataclass(frozen=True)
class Rule:
    """A rule of the linter.

    Args:
        id: its name in findings and suppressions.
        level: `error` stops a deployment, `warn` needs a look, `note` is for information.
        title: what is wrong, in general.
        message: what is wrong, with names in braces.
        why: the mechanism, for the page.
        fix: the safe form as code to paste.
        by: which program judges: `remit` or `squawk`.
    """

    id: str
    level: Level
    title: str
    message: str
    why: str
    fix: str
    by: str = "remit"
