"""What commands do that work for long beside a server: they show how far they are, and let requests go first."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from remit.settings import Settings

_NICENESS: Final = 10
_PATIENCE_SECONDS: Final = 30.0


def progress_bar(*, quiet: bool, console: "Console | None" = None) -> "Progress":
    """A bar with how many are done of how many, and how long it takes still; on a terminal, and on standard error.

    Args:
        quiet: show nothing.
        console: where else.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = console or Console(stderr=True)
    return Progress(*columns, console=shown, disable=quiet or not shown.is_terminal, transient=True)


def let_others_go_first() -> None:
    """Give this process a low priority, so that a server on the same machine does not wait for it.

    Not for one that holds locks for long, which a server would wait for all the more; and not before the database is
    open, which would have that priority as well if this process starts it.
    """
    with suppress(OSError):
        os.nice(_NICENESS)


def with_patience(settings: "Settings") -> "Settings":
    """The settings of a command that nobody's request waits for: an engine elsewhere may take long for an answer."""
    return settings.model_copy(update={"authz_timeout": max(settings.authz_timeout, _PATIENCE_SECONDS)})
