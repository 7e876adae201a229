"""A case of the corpus as an Alembic project with a database of its own."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from alembic import command
from alembic.config import Config

from remit.migrations.rehearse.server import ScratchServer

LINT = Path(__file__).parents[2] / "tests" / "lint"
SIZES = (600, 6_000)
"""The rows of each table, in the small and in the large database."""

_FILL = """
INSERT INTO users (id, email, name, age, mood)
  SELECT 1000 + n, 'u' || n || '@example.org', CASE WHEN n % 2 = 0 THEN 'name ' || n END, n % 80, 'calm'
  FROM generate_series(1, {rows}) n;
INSERT INTO orders (id, user_id, status, total) SELECT n, 1000 + n, 'state ' || n, n FROM generate_series(1, {rows}) n;
INSERT INTO events (id) SELECT n FROM generate_series(1, {rows}) n;
INSERT INTO logs (id) SELECT n % 10 FROM generate_series(1, {rows}) n;
"""


@dataclass(frozen=True)
class Evidence:
    """What a run showed.

    Args:
        shown: whether it is what the rule warns of; None where nothing runs.
        words: what was seen.
    """

    shown: bool | None
    words: str


@dataclass(frozen=True)
class Place:
    """A project of one case and its filled database, both gone with the proof."""

    server: ScratchServer
    database: str
    folder: Path
    rows: int

    def config(self) -> Config:
        return Config(str(self.folder / "alembic.ini"))

    def upgrade(self, revision: str = "heads") -> None:
        command.upgrade(self.config(), revision)

    def downgrade(self, revision: str = "0001") -> None:
        command.downgrade(self.config(), revision)

    def load_app(self) -> ModuleType:
        """The application of the case."""
        module = ModuleType("corpus_app")
        sys.modules["corpus_app"] = module  # SQLAlchemy looks for the annotations of a class there
        exec(compile((self.folder / "app.py").read_text(), "app.py", "exec"), module.__dict__)
        return module


def list_cases() -> list[tuple[str, str]]:
    """Pairs of a rule and a case; a case of several revisions is one file for each."""
    files = [file for prefix in ("hazard", "safe") for file in (LINT / "corpus").glob(f"*/{prefix}_*.py")]
    return sorted({(file.parent.name, file.stem.partition("__")[0]) for file in files})


def list_revisions(rule: str, case: str) -> list[Path]:
    """The files of a case, in their order."""
    files = sorted((LINT / "corpus" / rule).glob(f"{case}*.py"))
    return [file for file in files if file.stem.partition("__")[0] == case]


class Bench:
    """The server with a filled template for each size."""

    def __init__(self, server: ScratchServer) -> None:
        self._server = server
        self._templates: dict[int, str] = {}
        for rows in SIZES:
            database = server.create()
            with _make_project(server, database, rows) as place:
                place.upgrade("0001")
            with server.connect(database) as connection:
                connection.execute(_FILL.format(rows=rows).encode())
                connection.execute("VACUUM ANALYZE")
            self._templates[rows] = database

    @contextmanager
    def open(
        self, rule: str, case: str, rows: int = SIZES[0], change: Callable[[str], str] = lambda text: text
    ) -> Iterator[Place]:
        """The case, ready to be upgraded.

        Args:
            rule: of which.
            case: which.
            rows: one of `SIZES`.
            change: what to change in the text of its revisions, as a time limit that would take too long.
        """
        with (
            self._server.copy(self._templates[rows]) as database,
            _make_project(self._server, database, rows) as place,
        ):
            for file in list_revisions(rule, case):
                (place.folder / "migrations" / "versions" / file.name).write_text(change(file.read_text()))
            app = LINT / "corpus" / rule / "app.py"
            if app.exists():
                shutil.copy(app, place.folder)
            yield place


@contextmanager
def _make_project(server: ScratchServer, database: str, rows: int) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="remit-truth-") as top:
        folder = Path(top) / "project"
        shutil.copytree(LINT / "project", folder, ignore=shutil.ignore_patterns("__pycache__"))
        config = folder / "alembic.ini"
        url = server.dsn(database).replace("postgresql://", "postgresql+psycopg://", 1)
        config.write_text(config.read_text().replace("postgresql://nobody@127.0.0.1:1/nothing", url.replace("%", "%%")))
        yield Place(server, database, folder, rows)
