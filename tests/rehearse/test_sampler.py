"""When the sampler of a rehearsal says that a lock was held."""

import time
from collections.abc import Callable
from typing import Any

import psycopg

from remit.migrations.rehearse.measure import Measured, Sampler


class LateAnswers(psycopg.Connection[tuple[Any, ...]]):
    """A connection on which something happens between what the server says and what is read of it."""

    meanwhile: Callable[[], None] | None = None

    def execute(self, *args: Any, **kwargs: Any) -> psycopg.Cursor[tuple[Any, ...]]:
        answer = super().execute(*args, **kwargs)
        if self.meanwhile is not None:
            self.meanwhile()
        return answer


def test_an_answer_that_comes_late_does_not_lengthen_a_lock(database: str) -> None:
    found, released = Measured(), list[float]()

    def release() -> None:
        released.append(time.monotonic())
        migrator.rollback()

    with psycopg.connect(database) as migrator, LateAnswers.connect(database, autocommit=True) as connection:
        assert isinstance(connection, LateAnswers)
        sampler = Sampler(connection, [], found)
        migrator.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        sampler.sample(migrator.info.backend_pid)
        connection.meanwhile = release
        sampler.sample(migrator.info.backend_pid)
        connection.meanwhile = None
        sampler.sample(migrator.info.backend_pid)
    [span] = found.locks["tasks", "AccessExclusiveLock"]
    assert span.end < released[0]
