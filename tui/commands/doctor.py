"""`photon-triage doctor`: whether this machine, these folders and this terminal are fit for a beamtime."""

from __future__ import annotations

import shutil
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.tui.commands.output import say, say_json
from photon_triage.tui.commands.sessions import DeviceOption
from photon_triage.tui.terminal.text import safe_text

if TYPE_CHECKING:
    from photon_triage.core.doctor.machine import Check

MOST_FOLDERS = 5
"""Data folders of a session that are looked at when none is named."""


def doctor(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH...]", help="Where frames come in; of a session, its folders.")
    ] = None,
    session_path: Annotated[
        Path | None,
        typer.Option(
            "--session", "-s", metavar="DIR", help="Where the session is kept, or is to be; else this folder."
        ),
    ] = None,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check device, precision, processor, file systems, HDF5 filters and terminal, with advice.

    Every line is ok, a note or a problem. Ends with 1 where there is a problem.
    """
    session = (session_path or Path.cwd()).expanduser().resolve()
    folders = [path.expanduser().resolve() for path in paths or ()] or _folders_of(session)
    checks = [*_machine(device), *_storage(session, folders), *_formats(), *_terminal()]
    if as_json:
        say_json({"healthy": _healthy(checks), "checks": [asdict(check) for check in checks]})
    else:
        _tell(checks)
    if not _healthy(checks):
        raise typer.Exit(1)


def _machine(device: str | None) -> list[Check]:
    from photon_triage.core.doctor.machine import check_cpu, check_device, check_memory, check_precision

    return [check_device(device), check_precision(device), check_cpu(), check_memory()]


def _storage(session: Path, folders: list[Path]) -> list[Check]:
    from photon_triage.core.doctor.storage import check_data, check_session

    return [*check_session(session), *(check_data(folder) for folder in folders)]


def _formats() -> list[Check]:
    from photon_triage.core.doctor.machine import check_filters, check_packages

    return [check_filters(), check_packages()]


def _terminal() -> list[Check]:
    from photon_triage.core.doctor.machine import Check
    from photon_triage.tui.commands.terminal_checks import check_clipboard, check_pictures, check_terminal
    from photon_triage.tui.terminal.images.query import ask_terminal
    from photon_triage.tui.terminal.terminal import this_terminal

    if not sys.stdout.isatty():
        return [Check("terminal", "ok", "not looked at: the output goes elsewhere")]
    terminal = this_terminal()
    return [*check_terminal(terminal), check_pictures(terminal, ask_terminal()), check_clipboard(terminal)]


def _folders_of(path: Path) -> list[Path]:
    """The folders of a session's files, those of the latest files first."""
    from photon_triage.core.session.session import Session

    session = Session(path)
    if not session.results_path.exists():
        return []
    reader = session.results()
    try:
        files = sorted(reader.files(), key=lambda file: file.updated, reverse=True)
    finally:
        reader.close()
    return list(dict.fromkeys(Path(file.path).parent for file in files))[:MOST_FOLDERS]


def _healthy(checks: list[Check]) -> bool:
    return all(check.state != "problem" for check in checks)


def _tell(checks: list[Check]) -> None:
    margin = max(len(check.subject) for check in checks) + 11
    width = max(shutil.get_terminal_size((120, 24)).columns, margin + 30)
    for check in checks:
        head = f"{check.state:<9}{check.subject}".ljust(margin)
        for line in (check.finding, check.advice):
            # Names from the system are made safe before they are measured and cut into lines.
            parts = textwrap.wrap(safe_text(line), width - margin, break_on_hyphens=False) if line else []
            for part in parts:
                say(head + part)
                head = " " * margin
    counts = [sum(check.state == state for check in checks) for state in ("problem", "note")]
    named = (
        f"{count} {name}{'' if count == 1 else 's'}" for count, name in zip(counts, ("problem", "note"), strict=True)
    )
    say(f"{', '.join(named)}." if any(counts) else "All is well.")
