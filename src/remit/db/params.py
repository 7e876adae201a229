"""The positional parameters of one SQL statement, collected while its text is put together."""


class Params:
    """Numbers parameters as they are added, so that parts of a statement can be written apart.

    >>> params = Params()
    >>> f"SELECT {params.add(7, 'int')} + {params.add(8, 'int')}", params.values
    ('SELECT $1::int + $2::int', [7, 8])
    """

    __slots__ = ("_named", "values")

    def __init__(self) -> None:
        self.values: list[object] = []
        self._named: dict[tuple[str, object], str] = {}

    def add(self, value: object, cast: str) -> str:
        """Add a value and return its placeholder, cast to a PostgreSQL type; an equal hashable value is sent once."""
        try:
            known = self._named.get((cast, value))
        except TypeError:
            return self._append(value, cast)
        if known is None:
            known = self._named[cast, value] = self._append(value, cast)
        return known

    def copy(self) -> "Params":
        """The same parameters, to go on with in another statement."""
        copied = Params()
        copied.values, copied._named = list(self.values), dict(self._named)
        return copied

    def _append(self, value: object, cast: str) -> str:
        self.values.append(value)
        return f"${len(self.values)}::{cast}"
