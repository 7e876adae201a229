"""Turns: one `message/send` at a time on a task, whichever process it comes to.

A turn is a row with a lease, not a lock: a lock would hold a database connection for as long as an agent thinks. The
process renews it while the turn lasts; when it dies, the lease ends by itself.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from remit.db.pool import UNREACHABLE, Database
from remit.errors import TaskBusy, Unavailable
from remit.ids import new_id

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25


def take_sql(task: str, holder: str, lease: str) -> str:
    """The statement that takes a turn if nobody has it, and returns its holder then.

    Args:
        task: placeholder of the task's id.
        holder: of whom takes it.
        lease: of the seconds for which it is taken.
    """
    return f"""
INSERT INTO task_turns (task_id, holder, expires_at) VALUES ({task}, {holder}, now() + {lease} * interval '1 second')
ON CONFLICT (task_id) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
 WHERE task_turns.expires_at < now()
RETURNING holder"""


_TAKE = take_sql("$1", "$2", "$3")
_RENEW = "UPDATE task_turns SET expires_at = now() + $3 * interval '1 second' WHERE task_id = $1 AND holder = $2"
_RELEASE = "DELETE FROM task_turns WHERE task_id = $1 AND holder = $2"


class Turn:
    """The turn of one send on one task, once `take` has returned, or a statement of `take_sql` has taken it.

    Attributes:
        task_id: the task.
        holder: what the turn is known by.
        lease: seconds for which it is taken at a time.
    """

    def __init__(self, database: Database, task_id: str, lease: float) -> None:
        self._database = database
        self.task_id = task_id
        self.lease = lease
        self.holder = new_id()

    async def take(self, wait: float) -> bool:
        """Wait for the turn.

        Args:
            wait: seconds to wait at most.

        Returns:
            Whether another send had it first, so that the task may have changed meanwhile.

        Raises:
            TaskBusy: another send still has it then.
        """
        loop = asyncio.get_running_loop()
        deadline, pause, waited = loop.time() + wait, FIRST_PAUSE, False
        while True:
            async with self._database.connection() as connection:
                if await connection.fetchval(_TAKE, self.task_id, self.holder, self.lease):
                    return waited
            waited = True
            if loop.time() >= deadline:
                raise TaskBusy("The task is answering another message. Send this one when that answer is complete.")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keep the turn until the end of the block."""
        renewal = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewal.cancel()

    async def release(self) -> None:
        """Give the turn to the next one. With the database away the lease ends by itself."""
        with contextlib.suppress(Unavailable, *UNREACHABLE):
            async with self._database.connection() as connection:
                await connection.execute(_RELEASE, self.task_id, self.holder)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.lease / 3)
            try:
                async with self._database.connection() as connection:
                    await connection.execute(_RENEW, self.task_id, self.holder, self.lease)
            except (Unavailable, *UNREACHABLE):
                log.warning("a turn could not be renewed", task_id=self.task_id)
