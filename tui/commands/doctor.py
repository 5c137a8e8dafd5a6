"""Command `doctor`: checks of the machine, the folders and the terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.core.doctor.machine import Check
from photon_triage.tui.commands.output import say, say_json
from photon_triage.tui.commands.session import DeviceOption
from photon_triage.tui.terminal.images.query import Graphics
from photon_triage.tui.terminal.terminal import UTF8_ADVICE, Terminal, tmux_option
from photon_triage.tui.terminal.text import safe_text

if TYPE_CHECKING:
    from photon_triage.core.doctor.machine import Check


LEAST_WIDTH, LEAST_HEIGHT = 80, 24
MOST_FOLDERS = 5
"""Data folders of a session that are looked at when none is named."""


def check_terminal(terminal: Terminal) -> list[Check]:
    """Name, colours, size and encoding."""
    between = f" in {terminal.multiplexer}" if terminal.multiplexer else ""
    line = ", over SSH" if terminal.over_ssh else ""
    checks = [Check("terminal", "ok", f"{terminal.name or 'TERM is not set'}{between}{line}"), _colours(terminal)]
    size = f"{terminal.width} x {terminal.height}"
    if terminal.width < LEAST_WIDTH or terminal.height < LEAST_HEIGHT:
        checks.append(Check("size", "problem", size, f"Make it {LEAST_WIDTH} x {LEAST_HEIGHT} at least."))
    else:
        checks.append(Check("size", "ok", size))
    if terminal.is_utf8:
        checks.append(Check("encoding", "ok", terminal.encoding))
    else:
        checks.append(Check("encoding", "problem", terminal.encoding, UTF8_ADVICE))
    return checks


def check_pictures(terminal: Terminal, graphics: Graphics) -> Check:
    """Which bitmap protocols the terminal says that it knows; half-blocks need none."""
    known = [name for name in ("kitty", "sixel") if getattr(graphics, name)]
    if not graphics.answered:
        return Check("pictures", "ok", "half-blocks; the terminal was not asked, or did not answer")
    finding = f"half-blocks{''.join(f', {name}' for name in known)}"
    if known:
        return Check("pictures", "ok", finding, f"`--images {known[0]}` draws every pixel.")
    if terminal.multiplexer == "tmux" and tmux_option("allow-passthrough") not in ("on", "all"):
        return Check(
            "pictures",
            "ok",
            finding,
            "In kitty or Ghostty, tmux lets pictures through with `set -g allow-passthrough on`.",
        )
    return Check("pictures", "ok", finding)


def check_clipboard(terminal: Terminal) -> Check:
    """Whether what `y` copies (OSC 52) can get to the terminal's clipboard."""
    if terminal.multiplexer == "tmux":
        value = tmux_option("set-clipboard")
        if value == "on" or tmux_option("allow-passthrough") in ("on", "all"):
            return Check("clipboard", "ok", "OSC 52, through tmux")
        return Check(
            "clipboard",
            "note",
            f"tmux keeps what programs copy to itself (set-clipboard {value or 'unknown'})",
            "`tmux set -g set-clipboard on`. The screen shows what `y` copied in any case.",
        )
    if terminal.multiplexer == "screen":
        return Check("clipboard", "ok", "OSC 52, handed through screen")
    return Check(
        "clipboard",
        "ok",
        "OSC 52; terminals do not say whether they take it",
        "xterm: allowWindowOps; iTerm2: a setting.",
    )


def _colours(terminal: Terminal) -> Check:
    if terminal.colours == "true":
        return Check("colours", "ok", "true colour")
    if terminal.colours == "256":
        return Check("colours", "ok", "256", "If the terminal has true colour: `export COLORTERM=truecolor`.")
    if terminal.colours == "16":
        return Check(
            "colours", "note", "16", "Most terminals have more: `export TERM=xterm-256color` (tmux-256color in tmux)."
        )
    return Check(
        "colours", "note", "none: states are letters, pictures are made of characters", "NO_COLOR or TERM says so."
    )


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
