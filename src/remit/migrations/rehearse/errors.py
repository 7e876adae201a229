"""Why a revision could not be rehearsed."""


class RehearseError(Exception):
    """The rehearsal could not run; the message is one sentence that says why and what to do."""


class NoRowFitsError(RehearseError):
    """A constraint or a trigger refuses every row that was tried; the message names it."""


def advise(error: str) -> str:
    """What to do about what the scratch server or the environment lacks."""
    if "extension" in error and any(text in error for text in ("not available", "could not open extension")):
        return "; name an installation that has the extension with --postgres DIR, the folder with its `bin`"
    if error.startswith("KeyError"):
        return "; if that is an environment variable, set it, and name it with --url-variable if it holds the URL"
    return ""
