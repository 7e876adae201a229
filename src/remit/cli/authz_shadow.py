"""`remit authz shadow`: what relationships would have answered where roles decide."""

from typing import Annotated, Any

import typer

from remit.cli.context import AsJson, DataDir, OfTenant, Session, administer
from remit.cli.output import print_json, print_line, print_table, show, show_time

shadow_commands = typer.Typer(help="What relationships would have answered where roles decide.")

OfType = Annotated[str | None, typer.Option("--type", help="One resource type; all of them by default.")]

_COUNTS = """
SELECT resource_type AS type, permission, outcome, class, count, last_at FROM authz_shadow_counts
 WHERE tenant_id = $1 AND ($2::text IS NULL OR resource_type = $2) ORDER BY outcome DESC, type, permission, class
"""
_SAMPLES = """
SELECT s.resource_type AS type, s.resource_id::text AS resource_id, s.permission, s.outcome, s.class, s.subject_type,
       coalesce(u.external_id, s.subject_id::text) AS subject, s.explanation, s.at
  FROM authz_shadow_samples s LEFT JOIN subjects u ON u.id = s.subject_id
 WHERE s.tenant_id = $1 AND ($2::text IS NULL OR s.resource_type = $2) ORDER BY s.id DESC LIMIT 50
"""


@shadow_commands.command("reset")
def reset(tenant: OfTenant, resource_type: OfType = None, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Forget what was found so far, once its causes are removed: `enforce` waits until nothing would be allowed anew.

    Example:

    $ remit authz shadow reset --tenant acme
    """
    from remit.authz.model import Resource
    from remit.authz.shadow import forget
    from remit.identity.operator import record_change
    from remit.identity.tenants import find_tenant

    async def work(session: Session) -> int:
        owner = await find_tenant(session.connection, tenant)
        count = await forget(session.connection, owner.id, resource_type)
        detail: dict[str, object] = {"type": resource_type, "comparisons": count}
        await record_change(session.connection, owner.id, "shadow.reset", Resource("tenant", owner.id), detail)
        return count

    count = administer(data_dir, work)
    show(as_json, {"forgotten": count}, f"{count} comparisons are forgotten; new ones are counted from here")


@shadow_commands.command("report")
def report(tenant: OfTenant, resource_type: OfType = None, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show how often relationships would have answered otherwise, in which direction and why.

    Example:

    $ remit authz shadow report --tenant acme
    """
    from remit.identity.tenants import find_tenant

    async def read(session: Session) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        owner = await find_tenant(session.connection, tenant)
        counts = await session.connection.fetch(_COUNTS, owner.id, resource_type)
        samples = await session.connection.fetch(_SAMPLES, owner.id, resource_type)
        return [dict(row) for row in counts], [dict(row) for row in samples]

    counts, samples = administer(data_dir, read)
    if as_json:
        print_json({"counts": counts, "samples": samples})
        return
    if not counts:
        print_line("Nothing was compared yet: `remit authz mode set shadow` begins it.")
        return
    print_table(
        ["answer", "type", "permission", "class", "times", "last"],
        [
            [row["outcome"], row["type"], row["permission"], row["class"], str(row["count"]), show_time(row["last_at"])]
            for row in counts
        ],
        {"would_allow": "red", "would_deny": "yellow"},
    )
    for row in samples[:10]:
        asked = f"{row['subject_type']}:{row['subject']} {row['permission']} {row['type']}:{row['resource_id']}"
        print_line(f"\n{row['outcome']} ({row['class']}): {asked}\n  {row['explanation']}")
