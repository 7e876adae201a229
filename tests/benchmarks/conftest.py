"""The modules of `benchmarks/`, which is no package."""

import sys
from pathlib import Path

# Last, so that none of its scripts is taken for somebody else's module.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
