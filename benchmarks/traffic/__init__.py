"""The parts of `scripts/bench api`."""
