"""Where the operations of a batch are written: Alembic keeps them and sends them when its `with` ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic.operations.batch import BatchOperationsImpl

from remit.migrations.lint.frames import acting_for, find_sites
from remit.migrations.lint.model import Site


class _Kept(list[Any]):
    """The operations that a batch keeps, each with its place, which counts while it is carried out."""

    def __init__(self) -> None:
        super().__init__()
        self._sites: list[tuple[Site, ...]] = []

    def append(self, operation: Any) -> None:
        self._sites.append(find_sites())
        super().append(operation)

    def __iter__(self) -> Iterator[Any]:
        for operation, sites in zip(super().__iter__(), self._sites, strict=True):
            with acting_for(sites):
                yield operation


@contextmanager
def noting_batches() -> Iterator[None]:
    """Note where the operations of batches are written, as long as the block lasts."""
    originals: tuple[Any, Any] = (BatchOperationsImpl.__init__, BatchOperationsImpl.flush)

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        originals[0](self, *arguments, **options)
        self.batch = _Kept()

    def flush(self: Any) -> None:
        with acting_for(()):  # and nothing is left of a place whose operation failed
            originals[1](self)

    changed: Any = BatchOperationsImpl
    changed.__init__, changed.flush = init, flush
    try:
        yield
    finally:
        changed.__init__, changed.flush = originals
