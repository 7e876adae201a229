"""A reconciliation beside requests goes evenly, by a clock of the test's own."""

from remit.authz.reconcile.pace import LARGEST, SMALLEST, Pace


class Clock:
    """Time that passes by sleeping alone, or when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


async def test_it_keeps_the_rate() -> None:
    clock = Clock()
    pace = Pace(1000, lambda: clock.now, clock.sleep)
    for _ in range(20):
        clock.now += 0.03  # what the batch itself takes
        await pace.after(100)
    assert clock.slept == [0.07] * 20
    assert round(clock.now, 6) == 2.0, "2,000 resources"


async def test_lost_time_is_not_made_up_for() -> None:
    clock = Clock()
    pace = Pace(1000, lambda: clock.now, clock.sleep)
    clock.now += 60  # the database was busy, or the process was stopped
    await pace.after(100)
    assert clock.slept == []
    for _ in range(3):
        clock.now += 0.01
        await pace.after(100)
    assert clock.slept == [0.09] * 3


def test_batches_are_few_and_not_too_large() -> None:
    sizes = {rate: Pace(rate).batch for rate in (1, 300, 500, 3000, 1_000_000)}
    assert sizes == {1: SMALLEST, 300: 150, 500: 250, 3000: LARGEST, 1_000_000: LARGEST}
