"""Why a history could not be judged."""


class LintError(Exception):
    """The linter could not run; the message is one sentence that says why and what to do."""


class NeedsDatabaseError(LintError):
    """A revision asks the database a question that nobody can answer while it is only rendered."""


class TookTooLongError(LintError):
    """The project's own code did not come to an end."""
