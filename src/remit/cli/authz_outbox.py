"""`remit authz outbox`: what an engine elsewhere has not been told yet."""

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from remit.cli.context import AsJson, DataDir, Session, administer, configured, fail, migrated_database
from remit.cli.output import print_json, print_note, print_table, show, show_time

if TYPE_CHECKING:
    from remit.authz.model import Resource
    from remit.authz.outbox import Pending
    from remit.settings import Settings

LEFT = 1
POLL_SECONDS = 0.5

outbox_commands = typer.Typer(help="What SpiceDB or an auth provider has not been told yet.")

ByHand = Annotated[str, typer.Argument(metavar="RESOURCE", help="As the list shows it: task:ID.")]


@outbox_commands.command("list")
def list_outbox(
    dead: Annotated[bool, typer.Option("--dead", help="Only what was given up.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List resources whose changes wait for delivery: what takes something away first, then the oldest.

    Example:

    $ remit authz outbox list
    """
    from remit.authz.outbox import MOST_LISTED, list_pending

    async def read(session: Session) -> list["Pending"]:
        return await list_pending(session.connection)

    pending = [one for one in administer(data_dir, read) if one.dead_at is not None or not dead]
    if as_json:
        print_json([_as_json(one) for one in pending])
    elif not pending:
        show(False, None, "nothing waits")
    else:
        print_table(
            ["tenant", "resource", "changes", "takes away", "since", "tries", "state"],
            [
                [
                    one.tenant or "",
                    str(one.resource),
                    str(one.entries),
                    "yes" if one.revocation else "",
                    show_time(one.since),
                    str(one.attempts),
                    _state(one),
                ]
                for one in pending
            ],
        )
        if len(pending) == MOST_LISTED:
            print_note(f"These are the first {MOST_LISTED:,}; there may be more.")


@outbox_commands.command("wait")
def wait(
    seconds: Annotated[int, typer.Option("--seconds", min=0, help="How long at most.")] = 3600,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Wait until everything that waits at this moment is delivered; exit code 1 if something is left.

    A running server or `remit worker` delivers.

    Example:

    $ remit authz outbox wait --seconds 600
    """
    settings = configured(data_dir=data_dir)
    waiting, dead = asyncio.run(_wait(settings, seconds, quiet=as_json))
    show(
        as_json,
        {"waiting": waiting, "dead": dead},
        f"{waiting} changes wait, {dead} were given up: `remit authz outbox list` says why"
        if waiting or dead
        else "everything is delivered",
    )
    if waiting or dead:
        raise typer.Exit(LEFT)


async def _wait(settings: "Settings", seconds: int, *, quiet: bool) -> tuple[int, int]:
    from remit.authz.outbox import count_waiting, last_entry
    from remit.cli.beside import progress_bar

    async with migrated_database(settings) as database:
        async with database.connection() as connection:
            upto = await last_entry(connection)
            waiting, dead = await count_waiting(connection, upto)
        ends, total = time.monotonic() + seconds, waiting
        with progress_bar(quiet=quiet) as progress:
            bar = progress.add_task("delivering", total=total)
            while waiting and time.monotonic() < ends:
                await asyncio.sleep(min(POLL_SECONDS, max(0.0, ends - time.monotonic())))
                async with database.connection() as connection:
                    waiting, dead = await count_waiting(connection, upto)
                progress.update(bar, completed=max(0, total - waiting))
        return waiting, dead


@outbox_commands.command("retry")
def retry(
    resource: Annotated[str | None, typer.Argument(metavar="[RESOURCE]", help="One resource, as task:ID.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Everything that waits or was given up.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Have the worker try again at once, also what was given up.

    Example:

    $ remit authz outbox retry --all
    """
    from remit.authz.outbox import revive

    if (resource is None) != every:
        fail("name one resource, or say --all")

    async def work(session: Session) -> int:
        return await revive(session.connection, _parse(resource) if resource else None)

    count = administer(data_dir, work)
    show(as_json, {"revived": count}, f"the worker tries again; {count} given-up changes are among it")


@outbox_commands.command("discard")
def discard_dead(resource: ByHand, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Forget the given-up changes of a resource. Its next change delivers everything that is missing then.

    Example:

    $ remit authz outbox discard task:0198a3c4-1111-7000-8000-000000000001
    """
    from remit.audit import AuditEntry, write_audit
    from remit.authz.outbox import discard
    from remit.identity.operator import operator_name

    named = _parse(resource)

    async def work(session: Session) -> int:
        count = await discard(session.connection, named)
        if not count:
            fail(f"nothing of {named} was given up; `remit authz outbox list --dead` shows what was")
        entry = AuditEntry(
            tenant_id=None,
            actor_type="operator",
            actor_id=None,
            action="outbox.discard",
            outcome="done",
            resource_type=named.type,
            resource_id=named.id,
            request_id=None,
            detail={"entries": count, "operator": operator_name()},
        )
        await write_audit(session.connection, entry)
        return count

    count = administer(data_dir, work)
    show(as_json, {"discarded": count}, f"{count} changes of {resource} are forgotten")


def _parse(text: str) -> "Resource":
    from remit.authz.model import Resource

    type, _, id = text.partition(":")
    if not type or not id:
        fail(f"{text!r} is not a resource as the list shows it, such as task:0198a3c4-1111-7000-8000-000000000001")
    return Resource(type, id)


def _state(pending: "Pending") -> str:
    if pending.dead_at is not None:
        return f"given up: {pending.last_error}"
    return f"waits: {pending.last_error}" if pending.last_error else "waits"


def _as_json(pending: "Pending") -> dict[str, Any]:
    return {**dataclasses.asdict(pending), "resource": str(pending.resource)}
