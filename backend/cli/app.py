"""The commands: their names, where they live, and how the words of a command line reach them."""

import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError, Parameter

from backend.cli.exits import Misused

# In the order of `--help`. A module is imported only when its command is asked for.
COMMANDS = {
    "demo": "demo:demo",
    "serve": "serve:serve",
    "stdio": "serve:stdio",
    "token create": "tokens:create",
    "token list": "tokens:listing",
    "token revoke": "tokens:revoke",
    "token remember": "tokens:remember",
    "token recover": "tokens:recover",
    "vault rotate": "vault:rotate",
    "account add": "account_add:add",
    "account set-credentials": "account_add:set_credentials",
    "account list": "accounts:listing",
    "account show": "accounts:show",
    "account rename": "accounts:rename",
    "account enable": "accounts:enable",
    "account disable": "accounts:disable",
    "account delete": "accounts:delete",
    "account reset": "accounts:reset",
    "account limit": "accounts:limit",
    "account resume": "accounts:resume",
    "trades": "trades:trades",
    "approve": "trades:approve",
    "reject": "trades:reject",
    "halt": "halt:halt",
    "resume": "halt:resume",
    "settle": "trades:settle",
    "audit verify": "audit:verify_chain",
    "audit export": "audit:export",
    "backup": "backup:backup",
    "verify": "audit:verify",
    "doctor": "doctor:doctor",
    "install": "install:install",
}

_GROUPS = {
    "token": "Make, list, revoke and remember API tokens.",
    "vault": "Change the keys that seal credentials.",
    "account": "Add, show and change accounts.",
    "audit": "Prove and export the audit.",
}

_HELP = "The execution layer for agent-driven trading: plan, claim, execute at most once."

_EPILOGUE = (
    "State lives in EXEC_MCP_HOME. An operator's command reads operator.token there or the OS "
    "keyring, else asks for the token or reads it from a pipe; it is never an argument. "
    "Exit codes: 0 done; 1 refused or failed, or something is wrong; 2 usage or settings; "
    "3 the server or its storage is not reached; 4 not everything could be checked; "
    "130 interrupted."
)


def build_app() -> App:
    """Return the command line, with nothing imported for any single command."""
    shown = {
        "version": version("exec-mcp"),
        "default_parameter": Parameter(negative=()),
        "help_formatter": "default" if sys.stdout.isatty() else "plain",
        "suppress_keyboard_interrupt": False,
    }
    app = App("exec-mcp", _HELP, help_epilogue=_EPILOGUE, **shown)  # type: ignore[arg-type]
    groups = {name: App(name, text, help_epilogue="") for name, text in _GROUPS.items()}
    for order, (name, target) in enumerate(COMMANDS.items()):
        group, _, word = name.rpartition(" ")
        parent = groups[group] if group else app
        parent.command(f"backend.cli.{target}", name=word, sort_key=order, help_epilogue="")
        if group and group not in app:
            groups[group].sort_key = order
            app.command(groups[group])
    return app


def play(arguments: Sequence[str]) -> int | None:
    """Run the command that `arguments` name and return its exit code, if it has one.

    Raises:
        Misused: the command line is not of its form.
        Failed, SettingError, KeyboardInterrupt: as the command ends.
    """
    app = build_app()
    words = list(arguments)
    if not words or words[-1] in app.help_flags or words[0] in _GROUPS:
        _import_all(app, words)
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        raise Misused(str(error)) from error
    return code if isinstance(code, int) else None


def _import_all(app: App, words: Sequence[str]) -> None:
    """Import the commands of a listing, so that it has their first lines."""
    listed = app[words[0]] if words and words[0] in _GROUPS else app
    for name in listed:
        listed[name]
