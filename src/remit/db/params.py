"""The positional parameters of one SQL statement, collected while its text is put together."""

from collections.abc import Callable


class Params:
    """Numbers parameters as they are added, so that parts of a statement can be written apart.

    >>> params = Params()
    >>> f"SELECT {params.add(7, 'int')} + {params.add(8, 'int')}", params.values
    ('SELECT $1::int + $2::int', [7, 8])
    """

    __slots__ = ("_late", "_named", "_values")

    def __init__(self) -> None:
        self._values: list[object] = []
        self._named: dict[tuple[str, object], str] = {}
        self._late: list[tuple[int, Callable[[], object]]] = []

    @property
    def values(self) -> list[object]:
        """The values in the order of their numbers, as they are at this moment."""
        for place, read in self._late:
            self._values[place] = read()
        return self._values

    def add(self, value: object, cast: str) -> str:
        """Add a value and return its placeholder, cast to a PostgreSQL type; an equal hashable value is sent once."""
        try:
            known = self._named.get((cast, value))
        except TypeError:
            return self._append(value, cast)
        if known is None:
            known = self._named[cast, value] = self._append(value, cast)
        return known

    def add_late(self, read: Callable[[], object], cast: str) -> str:
        """Add a value that is read anew whenever `values` is, and return its placeholder."""
        self._late.append((len(self._values), read))
        return self._append(None, cast)

    def copy(self) -> "Params":
        """The same parameters, to go on with in another statement."""
        copied = Params()
        copied._values, copied._named, copied._late = list(self._values), dict(self._named), list(self._late)
        return copied

    def _append(self, value: object, cast: str) -> str:
        self._values.append(value)
        return f"${len(self._values)}::{cast}"
