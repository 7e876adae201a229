"""A create that comes again without a key gets the task of the first, in whichever order the two are carried out.

The published client repeats a create after 429, 5xx or a lost connection, while the first one may still be on its way
through this server or another. Each create of an unnamed task therefore asks `find_task_of_request` (revision 0025),
inside of the one statement that inserts it:

- A *first* takes a lock of its principal and body that firsts share, and looks for a task which a repeat has made
  since the first arrived. That look is at an index of the tasks of repeats alone, which is all but empty.
- A *repeat* takes the lock for itself, and looks for any task of the request within `REPEAT_WINDOW`.

The lock is kept until the commit. So a repeat looks when every first that began to insert is committed, and a first
when every repeat is: one of the two sees the other, two repeats see each other, and firsts do not wait for firsts. The
function is one since a statement sees what was committed when it began, while a function that is volatile sees, in each
of its own statements, what was committed before that one: here, what was committed before the lock was had.

Requests of two connections arrive in any order, so a repeat lets what was sent before it pass: it begins `GRACE` later.
A first that arrives when a repeat has made its task already is a new request: who sent it may have had the repeat's
answer. How long ago a request arrived is measured in one process, so that clocks need not agree.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta

from remit.authz.model import Subject
from remit.db.params import Params
from remit.idempotency import REPEAT_WINDOW
from remit.ids import oldest_id

GRACE = 0.1
"""Seconds. The published client waits for at least 0.375 s before it repeats: this is for one that does not."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The request that makes a task.

    Attributes:
        tenant_id: where.
        sender: who sends it.
        request_hash: its fingerprint.
        repeated: it says that it was sent before.
        arrived: when it came, by `time.monotonic`.
    """

    tenant_id: str
    sender: Subject
    request_hash: bytes
    repeated: bool
    arrived: float

    async def let_first_pass(self) -> None:
        """Wait, if this is a repeat, for a first that was sent before it and may arrive after it."""
        if self.repeated:
            await asyncio.sleep(GRACE)

    def find_sql(self, sql: Params) -> str:
        """An SQL expression: the id of the task that another request of the same kind has made, or null."""
        if self.repeated:
            age = sql.add(REPEAT_WINDOW, "interval")
        else:
            # Read when the statement is sent: it may wait for a connection for longer than the repeat takes.
            age = sql.add_late(lambda: timedelta(seconds=time.monotonic() - self.arrived), "interval")
        # Ids grow with time, so only the tenant's newest tasks are looked at.
        oldest = sql.add(oldest_id(REPEAT_WINDOW * 2), "uuid")
        return (
            f"find_task_of_request({sql.add(self.tenant_id, 'uuid')}, {sql.add(self.sender.id, 'uuid')},"
            f" {sql.add(self.request_hash, 'bytea')}, {sql.add(self.repeated, 'boolean')}, {age}, {oldest})"
        )
