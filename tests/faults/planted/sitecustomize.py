"""Python runs this when a process starts with this folder on its path."""

import os

import mutants  # type: ignore[import-not-found]  # beside this file

if os.environ.get("REMIT_PLANTED"):
    mutants.plant(os.environ["REMIT_PLANTED"])
if os.environ.get("REMIT_SKEWED_SECONDS"):
    mutants.skew(float(os.environ["REMIT_SKEWED_SECONDS"]))
