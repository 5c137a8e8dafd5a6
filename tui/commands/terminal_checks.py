"""What `photon-triage doctor` says of the terminal."""

from __future__ import annotations

from photon_triage.core.doctor.machine import Check
from photon_triage.tui.terminal.images.query import Graphics
from photon_triage.tui.terminal.terminal import UTF8_ADVICE, Terminal, tmux_option

LEAST_WIDTH, LEAST_HEIGHT = 80, 24


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
