"""A rehearsal from its beginning to its end."""

import time
from collections.abc import Callable
from functools import partial
from operator import itemgetter

from remit.migrations.rehearse.errors import RehearseError, advise
from remit.migrations.rehearse.migrator import run_through
from remit.migrations.rehearse.model import Report, RevisionReport
from remit.migrations.rehearse.options import Options
from remit.migrations.rehearse.project import RehearsedProject, list_ancestors
from remit.migrations.rehearse.revision import Rehearsal
from remit.migrations.rehearse.server import ScratchServer, open_server


def rehearse(project: RehearsedProject, options: Options, tell: Callable[[str], None]) -> Report:
    """Rehearse the revisions of a project, one after the other, on a server made for it.

    Args:
        project: whose.
        options: how.
        tell: is given a sentence whenever something new begins.

    Raises:
        RehearseError: it could not be done.
    """
    began = time.monotonic()
    tell("starting a scratch server")
    with open_server(options.postgres) as server:
        reports = rehearse_on(server, server.create(), project, options, tell)
        asked = max((report.asked for report in reports), default=options.rows)
        return Report(asked, options.max_stall_ms, reports, server.version, time.monotonic() - began)


def rehearse_on(
    server: ScratchServer, base: str, project: RehearsedProject, options: Options, tell: Callable[[str], None]
) -> list[RevisionReport]:
    """Rehearse the revisions of a project on a server that is there.

    Args:
        server: which.
        base: a database of it, empty or at a revision before those to rehearse. It is migrated on with them.
        project: whose.
        options: how.
        tell: as for `rehearse`.

    Raises:
        RehearseError: it could not be done.
    """
    reports = []
    for script in project.revisions:
        for ancestor in list_ancestors(script):
            tell(f"migrating to {ancestor}")
            order = project.order(server.dsn(base), ancestor, watch=False)
            error, _ = server.roles.retry(partial(run_through, order), itemgetter(0))
            if error is not None:
                raise RehearseError(
                    f"the revisions up to {ancestor} do not run on an empty database: {error}{advise(error)}"
                )
        reports.append(Rehearsal(server, project, options, script, base, tell).run())
    return reports
