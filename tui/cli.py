"""The command line: one table of commands, each imported only when it is the one that runs."""

from __future__ import annotations

import logging
import sqlite3
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from photon_triage.core.common.containment import RefusedError
from photon_triage.core.common.errors import TriageError, UsageError
from photon_triage.tui.terminal.text import safe_text

DONE, FOUND_WRONG, WRONG_USAGE = 0, 1, 2
PASSING_ON = ("sweep",)
"""Commands that give options they do not know to another one."""
PASSES_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


class Command(NamedTuple):
    """A command: its name, the module in tui/commands, the function or typer.Typer in it, and a line of help."""

    name: str
    module: str
    attribute: str
    help: str


COMMANDS = (
    Command("demo", "demo", "demo", "Simulate a beamtime, triage it, and show it."),
    Command("watch", "engine", "watch", "Watch files as they come in, and triage them on a screen."),
    Command("attach", "engine", "attach", "Open another screen on a session."),
    Command("scan", "scan", "scan", "Triage files that are there, without a screen."),
    Command("engine", "engine", "app", "Ask after a session's engine, or stop it."),
    Command("retry", "retry", "retry", "Try files again that were unreadable or missed something."),
    Command("session", "session", "app", "List a session's files, or repair it."),
    Command("doctor", "doctor", "doctor", "Check this machine, the folders and the terminal, with advice."),
    Command("inspect", "inspect", "inspect", "Say what a detector file holds."),
    Command("recipes", "inspect", "recipes", "List the shipped recipes, or print one."),
    Command("models", "models", "app", "List and inspect models, bring them in and out, choose the one in use."),
    Command("train", "train", "train", "Train a model on what was accepted and rejected."),
    Command("training", "train", "app", "List a session's trainings, pause, stop or continue one."),
    Command("weak", "weak", "weak", "Train on doubtful masks, and say which to correct first."),
    Command("pretrain", "pretrain", "pretrain", "Train a network on frames without labels, to begin trainings from."),
    Command("embed", "embed", "embed", "Sort frames by kind without labels, for the queues of kinds and outliers."),
    Command("sweep", "sweep", "sweep", "Train over a small grid of options, and name the best on validation."),
    Command("study", "study", "app", "Make published comparisons again, on simulated data."),
    Command("labels", "labels", "app", "Bring labels in from a CSV table, or write them to one."),
    Command("metrics", "metrics", "metrics", "Precision, recall, F and IoU against labels."),
    Command("audit", "metrics", "audit", "Draw frames at random, and estimate the numbers of all frames from them."),
    Command("export", "export", "export", "Write the selected frames as a list for the next program."),
    Command("powder", "inspect", "powder", "Write what all hits and all misses look like together."),
    Command("compare", "compare", "compare", "Hold lists from elsewhere against the labels and each other."),
    Command("em", "compare", "em", "Sort frames into classes by expectation and maximisation, for comparison."),
    Command("report", "report", "report", "Write what a session came to as one HTML page."),
    Command("simulate", "simulate", "app", "Write a beamtime of known truth."),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 the work found something wrong, 2 wrong usage.

    click's own ways out (--help, wrong options) leave by SystemExit with the same codes.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _tell_warnings()
    try:
        build_app(given)(given, prog_name="photon-triage")
    except TriageError as error:
        _complain(error.title, error.message, error.hint)
        return WRONG_USAGE if isinstance(error, UsageError) else FOUND_WRONG
    except sqlite3.DatabaseError as error:
        _complain("Results not readable", f"{error}.", "`photon-triage session repair SESSION` looks into it.")
        return FOUND_WRONG
    except RefusedError as error:
        _complain(
            "Not opened",
            f"Could not open {error.filename}: {error.strerror}.",
            "Remove it, or copy the session once more from where it came from.",
        )
        return FOUND_WRONG
    except OSError as error:
        # What no module turned into an error of its own: the system's words name the file and the cause.
        _complain("The system refused", str(error), "")
        return FOUND_WRONG
    except Exception as error:
        if _is_model_error(error):
            _complain(*(str(getattr(error, name)) for name in ("title", "message", "hint")))
            return FOUND_WRONG
        if (damage := _damage_behind(given)) is not None:
            _complain(*damage)
            return FOUND_WRONG
        _complain_of_a_bug()
        return FOUND_WRONG
    return DONE


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """The application for one call: the command that the arguments name is imported, the others have help only."""
    app = typer.Typer(
        name="photon-triage",
        help="Beamtime triage in a terminal: watch files, find hits, label, retrain, export.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for command in COMMANDS:
        _register(app, command, load(command) if command.name == wanted else _only_help)
    return app


def load(command: Command) -> Any:
    """The function or typer.Typer of a command."""
    return getattr(import_module(f"photon_triage.tui.commands.{command.module}"), command.attribute)


def _register(app: typer.Typer, command: Command, implementation: typer.Typer | Callable[..., Any]) -> None:
    if isinstance(implementation, typer.Typer):
        app.add_typer(implementation, name=command.name, help=command.help)
    else:
        # The function's own docstring, if it has one, is the longer help.
        app.command(
            command.name,
            help=implementation.__doc__ or command.help,
            short_help=command.help,
            context_settings=PASSES_ON if command.name in PASSING_ON else None,
        )(implementation)


def _only_help() -> None: ...


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"photon-triage {version('photon-triage')}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


def _is_model_error(error: Exception) -> bool:
    from photon_triage.models.common.errors import ModelError

    return isinstance(error, ModelError)


class _Told(logging.Handler):
    """Prints a warning of the program on stderr, each once in a command; names in it are made safe."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            typer.echo(safe_text(text), err=True)


def _tell_warnings() -> None:
    """Show what modules warn of as lines for people: rows passed over, entries skipped, keys of a cfg ignored."""
    told = _Told()
    for name in ("photon_triage.results", "photon_triage.refused"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [told], False
    usual = warnings.formatwarning

    def formatted(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> str:
        if category.__name__ == "ModelWarning":  # by its name: its module takes a second to import
            return f"{safe_text(str(message))}\n"
        return usual(message, category, *place, **more)

    warnings.formatwarning = formatted


def _damage_behind(arguments: Sequence[str]) -> tuple[str, str, str] | None:
    """What is wrong with the results of a session that the command line names, as title, message and hint."""
    from photon_triage.core.session.store.repair import problem

    for argument in arguments:
        path = Path(argument) / "results.db"
        with suppress(OSError, ValueError):
            if path.is_file() and (found := problem(path)):
                hint = f"Make them again: photon-triage session repair {argument}"
                return "Results damaged", f"Could not use {path}: {found}.", hint
    return None


def _complain(title: str, message: str, hint: str) -> None:
    """Print an error on stderr, without markup."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)
    console.print(Text(safe_text(title), style="bold red"))
    console.print(Text(safe_text(message)))
    if hint:
        console.print(Text(safe_text(hint), style="dim"))


def _complain_of_a_bug() -> None:
    """Print the traceback of an error that nobody foresaw; names in it are made safe too."""
    for line in traceback.format_exc().splitlines():
        typer.echo(safe_text(line), err=True)
