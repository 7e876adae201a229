"""Why a revision could not be rehearsed."""


class RehearseError(Exception):
    """The rehearsal could not run; the message is one sentence that says why and what to do."""


class NoRowFitsError(RehearseError):
    """A constraint or a trigger refuses every row that was tried; the message names it."""
