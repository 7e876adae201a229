"""Fault runs: real processes whose connections pass through a proxy that breaks them, and a checker of what is seen."""
