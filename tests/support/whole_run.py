"""A whole run fails where a test that `docs/differences.md` names did not run and pass; a partial run says nothing.

With workers (pytest-xdist) the reports of all of them come to the process that started them, and only that one looks.
"""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py::test_\w+)`")

# Options with which a run leaves tests out.
_LEAVING_OUT = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "collectonly")


def is_whole(config: pytest.Config) -> bool:
    """Whether a run takes all tests: no path and no option says otherwise."""
    if any(config.getoption(option, None) for option in _LEAVING_OUT):
        return False
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS or config.args == config.getini("testpaths")


class WholeRun:
    """Notes what passed, and looks at the end.

    Args:
        config: of the run.
        page: names tests as `tests/file.py::test_name` in backquotes.
    """

    def __init__(self, config: pytest.Config, page: Path = PAGE) -> None:
        self._config = config
        self._named = set(NAMED.findall(page.read_text()))
        self._passed: set[str] = set()
        self._told: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._passed.add(report.nodeid.partition("[")[0])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if not is_whole(self._config) or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return
        missing = sorted(self._named - self._passed)
        self._told = f"differences from the existing server: {len(self._named)} tests are named"
        self._told += f", and these did not run and pass: {', '.join(missing)}" if missing else ", and all of them ran"
        if missing:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._told is not None:
            terminalreporter.write_line(self._told)


def watch(config: pytest.Config, page: Path = PAGE) -> None:
    """Look at this run, unless it is that of a worker."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(WholeRun(config, page), "whole-run")
