"""The parts of `scripts/bench engine`."""
