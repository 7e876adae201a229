"""Starts agents, each in a process of its own, from one that has imported the SDK once, since importing takes long.

The argument is a JSON list: a module that has the application as `acp`, and what its environment has besides.
"""

import importlib
import json
import os
import signal
import sys

import uvicorn
from agentex.lib import adk, environment_variables
from agentex.lib.sdk.fastacp.fastacp import FastACP
from agentex.lib.types.fastacp import AsyncACPConfig


def serve(module, environment):
    os.environ.update(environment)
    environment_variables.refreshed_environment_variables = None  # what the parent may have read of its own
    application = importlib.import_module(module).acp
    uvicorn.run(application, host="127.0.0.1", port=int(environment["ACP_PORT"]), log_level="warning")


def main():
    assert adk
    assert FastACP
    assert AsyncACPConfig
    children = []
    for start in json.loads(sys.argv[1]):
        child = os.fork()
        if child == 0:
            serve(**start)
            os._exit(0)
        children.append(child)

    def end(*_):
        for child in children:
            os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    # One that ends by itself ends all: the test is told so at once.
    os.wait()
    end()
    for _ in children[1:]:
        os.wait()


if __name__ == "__main__":
    main()
