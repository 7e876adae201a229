"""Python runs this when a process starts with this folder on its path."""

import os
import traceback

# Python starts all the same if this module fails, and the process would run without what was to be planted.
try:
    import mutants  # type: ignore[import-not-found]  # beside this file

    if os.environ.get("REMIT_PLANTED"):
        mutants.plant(os.environ["REMIT_PLANTED"])
    if os.environ.get("REMIT_SKEWED_SECONDS"):
        mutants.skew(float(os.environ["REMIT_SKEWED_SECONDS"]))
except Exception:  # noqa: BLE001 - whatever it is, the process must not start
    traceback.print_exc()
    os._exit(70)
