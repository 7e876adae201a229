"""The command `remit`. Modules that take long to load are imported inside the commands that need them."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any

import typer

USAGE_ERROR = 2
HAS_SERVER = find_spec("remit.app") is not None
"""Whether this is the whole of Remit, and not the distribution with the tools for migrations alone."""


@dataclass(slots=True)
class Flags:
    """Options of `remit` itself."""

    debug: bool = False


def make_app() -> typer.Typer:
    """The command with all its sub-commands."""
    from remit.cli import authz_move, authz_reconcile  # noqa: F401 - they add their commands
    from remit.cli.agent_keys import agent_keys_commands
    from remit.cli.agents import agents_commands
    from remit.cli.auth import auth_commands
    from remit.cli.auth_flags import flags_commands
    from remit.cli.authz import authz_commands
    from remit.cli.authz_engine import engine_commands
    from remit.cli.authz_modes import mode_commands
    from remit.cli.authz_outbox import outbox_commands
    from remit.cli.authz_shadow import shadow_commands
    from remit.cli.db import db_commands
    from remit.cli.demo import demo
    from remit.cli.doctor import doctor, print_version
    from remit.cli.groups import groups_commands
    from remit.cli.keys import keys_commands
    from remit.cli.serve import serve
    from remit.cli.tenants import tenants_commands
    from remit.cli.users import service_accounts_commands, users_commands
    from remit.cli.worker import worker_commands

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(start)
    app.command("serve")(serve)
    app.command("demo")(demo)
    app.command("doctor")(doctor)
    app.add_typer(tenants_commands, name="tenants")
    app.add_typer(users_commands, name="users")
    app.add_typer(service_accounts_commands, name="service-accounts")
    app.add_typer(groups_commands, name="groups")
    agents_commands.add_typer(agent_keys_commands, name="keys")
    app.add_typer(agents_commands, name="agents")
    app.add_typer(keys_commands, name="keys")
    authz_commands.add_typer(engine_commands)
    authz_commands.add_typer(mode_commands, name="mode")
    authz_commands.add_typer(shadow_commands, name="shadow")
    authz_commands.add_typer(outbox_commands, name="outbox")
    app.add_typer(authz_commands, name="authz")
    auth_commands.add_typer(flags_commands, name="flags")
    app.add_typer(auth_commands, name="auth")
    app.add_typer(db_commands, name="db")
    app.add_typer(worker_commands, name="worker")
    app.command("version")(print_version)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process with its exit code.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))


def run_command(arguments: Sequence[str], make: Callable[[], typer.Typer] = make_app) -> int:
    """Run the command and return its exit code; an error is one line on standard error and 2."""
    flags = Flags()
    command = typer.main.get_command(make())
    _join_lines(command)
    try:
        code = command.main(list(arguments), prog_name="remit", standalone_mode=False, obj=flags)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough; what is left must not be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except typer.Abort:
        return 130
    except Exception as error:  # noqa: BLE001 - the last line of defence: people are shown a sentence
        if flags.debug:
            import traceback

            traceback.print_exception(error)
        sys.stderr.write(f"error: {describe(error)}\n")
        return USAGE_ERROR
    return code if isinstance(code, int) else 0


def _join_lines(command: Any) -> None:
    """Make each paragraph of the help one line, which a terminal breaks where it ends; examples stay as they are."""
    paragraphs = (command.help or "").split("\n\n")
    command.help = "\n\n".join(one if "$ " in one else _one_line(one) for one in paragraphs)
    for one in getattr(command, "commands", {}).values():
        _join_lines(one)


def describe(error: Exception) -> str:
    """An error as one line that says what to do; an error of a schema shows its place below."""
    from remit.cli.context import CommandError

    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        hint = f" `{context.command_path} --help` shows how." if context else ""
        return _one_line(error.format_message()) + hint
    if isinstance(error, CommandError):
        return _one_line(str(error))
    from remit.db.errors import DatabaseSetupError

    if isinstance(error, DatabaseSetupError):
        return _one_line(str(error))
    if isinstance(error, OSError):
        return _one_line(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
    return describe_of_server(error) if HAS_SERVER else describe_unknown(error)


def describe_of_server(error: Exception) -> str:
    """An error of what only the server has."""
    from asyncpg import InterfaceError, PostgresError

    from remit.authz.errors import AuthzError, SchemaError
    from remit.db.data_dir import WaitCancelledError
    from remit.errors import RemitError

    match error:
        case SchemaError():
            return str(error)
        case RemitError() | AuthzError():
            return _one_line(str(error))
        case PostgresError() | InterfaceError() | WaitCancelledError():
            return _one_line(f"the database did not do it: {error or type(error).__name__}; `remit doctor` looks at it")
    return describe_unknown(error)


def describe_unknown(error: Exception) -> str:
    """An error that nobody thought of."""
    return f"something unexpected happened ({type(error).__name__}): `remit --debug …` shows where"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def start(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Remit: a control plane for AI-agent tasks in which every task has an owner."""
    context.obj.debug = debug
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
