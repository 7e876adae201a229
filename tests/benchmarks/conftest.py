"""The package `traffic` of `benchmarks/`; the folder stays off the path: its `lint.py` is not the tests of the lint."""

import sys
from importlib import import_module
from pathlib import Path

_FOLDER = str(Path(__file__).parents[2] / "benchmarks")

sys.path.append(_FOLDER)
import_module("traffic")
sys.path.remove(_FOLDER)
